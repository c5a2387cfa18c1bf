"""Who is on call for what?"""

SYSTEMS = ("shop", "search", "billing", "login", "mail")
FIRST_LINE = {"shop": "ann", "search": "bea", "login": "carl", "mail": "dora"}
"""Nobody looks after billing at night."""
SECOND_LINE, MANAGEMENT = "max", "zoe"


def on_call(system: str, level: int) -> str | None:
    return {1: FIRST_LINE.get(system), 2: SECOND_LINE, 3: MANAGEMENT}.get(level)
