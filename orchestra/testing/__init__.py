"""How do I test my service?"""
