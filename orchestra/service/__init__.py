"""How is one record turned into one outcome, safely?"""
