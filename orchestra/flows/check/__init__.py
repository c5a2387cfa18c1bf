"""Can a flow end in a way that it must not, whatever happens? The search behind ``orchestra check``."""
