"""What is there to sell, and which cards are blocked until their owners have spoken with the bank?"""

STOCK: dict[str, int] = {"bookcase": 400, "desk": 400, "chair": 600, "lamp": 600}
PRICE_CENTS: dict[str, int] = {"bookcase": 12900, "desk": 24900, "chair": 7900, "lamp": 3900}

BLOCKED_CARDS: frozenset[str] = frozenset(f"card-blocked-{number}" for number in range(1, 6))

CITIES = ("Berlin", "Lyon", "Porto", "Malmö", "Brno")
BEYOND_REACH = "Tristan da Cunha"

SHIPPING_SECONDS = 2.0
"""What the carrier takes to fetch a parcel."""
