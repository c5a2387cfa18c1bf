"""How does a program that is no service put events on topics, and ask a service something?"""
