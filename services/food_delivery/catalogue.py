"""What do we have? The stock, cards and drivers that the services' databases begin with."""

STOCK: dict[str, int] = {
    "margherita": 400,
    "ramen": 400,
    "falafel": 400,
    "green-curry": 200,
    "lobster-roll": 12,  # sold out soon
}

PRICE_CENTS: dict[str, int] = {
    "margherita": 950,
    "ramen": 1250,
    "falafel": 780,
    "green-curry": 1190,
    "lobster-roll": 2890,
}

# Cards that the bank declines; every other card is good.
DECLINED_CARDS: frozenset[str] = frozenset({"card-stolen", "card-empty"})

# Drivers by zone, each with the orders that one can carry.
DRIVERS: dict[str, dict[str, int]] = {
    "centre": {"ana": 60, "ben": 60},
    "north": {"chi": 60, "dan": 60},
    "south": {"eva": 60, "fox": 60},
    "harbour": {"gus": 8},  # free drivers run out
}
