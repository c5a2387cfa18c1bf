"""How do records get in and out of Kafka?"""
