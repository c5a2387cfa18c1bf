"""What do the services go by? Stock, cards and risks, and how long each takes to answer."""

STOCK: dict[str, int] = {"kettle": 500, "lamp": 500, "rug": 500, "clock": 500, "gramophone": 0}

BLOCKED_CARDS: frozenset[str] = frozenset({"card-stolen", "card-empty"})

RISK_BY_COUNTRY: dict[str, int] = {"DE": 5, "FR": 5, "GB": 10, "US": 15, "XX": 60}
HIGHEST_RISK = 70


def risk(country: str, amount_cents: int) -> int:
    """From 0 to 100: where it goes, and how much is at stake."""
    return min(100, RISK_BY_COUNTRY.get(country, 40) + amount_cents // 2000)


SHELF_SECONDS, BANK_SECONDS, MODEL_SECONDS = 0.15, 0.3, 0.45
"""What a look at the shelves, a question to the bank and a run of the model take."""
