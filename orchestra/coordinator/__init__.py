"""How does an instance advance, durably?"""
