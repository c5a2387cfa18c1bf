"""What is so, whatever anybody knows of it? Depots, parcels that are gone for good, and how long a search takes."""

DEPOTS = ("Hamburg", "Berlin", "Leipzig", "Kassel", "Köln", "Mainz", "Stuttgart", "München")

GONE: frozenset[str] = frozenset(f"parcel-{number:04d}" for number in range(7, 150, 12))
"""They fell off a lorry. No scanner sees them any more, and no search finds them."""

SEARCH_SECONDS = 0.5
