"""Who publishes, and who reacts, across services and flows? What is missing, and what could go round for ever?"""
