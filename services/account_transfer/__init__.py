"""Money goes from an account of one bank to an account of another: a saga, in which none is made or lost."""
