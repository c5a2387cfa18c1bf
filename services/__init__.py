"""Services that run: orchestra's first users, written against its public names only."""
