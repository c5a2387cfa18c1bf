"""What is an event, and how is it encoded?"""
