"""How fast, how small, how soon again? Run by hand: ``make bench``, or ``python -m bench --help``."""
