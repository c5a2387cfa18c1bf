"""Where can one go, and what is there to book? Distances are real, and so are prices that grow with them."""

import csv
from itertools import permutations
from math import asin, cos, radians, sin, sqrt
from pathlib import Path
from typing import NamedTuple


class Airport(NamedTuple):
    latitude: float
    longitude: float
    city: str


def _read(path: Path) -> dict[str, Airport]:
    with path.open(newline="") as file:
        return {
            row["iata"]: Airport(float(row["latitude"]), float(row["longitude"]), row["city"])
            for row in csv.DictReader(file)
        }


AIRPORTS = _read(Path(__file__).parent / "airports.csv")

SEATS: dict[str, int] = {f"{one}-{other}": 6 for one, other in permutations(AIRPORTS, 2)}
ROOMS: dict[str, int] = dict.fromkeys(AIRPORTS, 22)
CARS: dict[str, int] = dict.fromkeys(AIRPORTS, 18)

ROOM_CENTS_A_NIGHT = 14_900
CAR_CENTS_A_DAY = 4_900
DECLINED_CARDS: frozenset[str] = frozenset({"card-empty"})


def kilometres(origin: str, destination: str) -> float:
    """Along the great circle."""
    here, there = AIRPORTS[origin], AIRPORTS[destination]
    lat1, lat2 = radians(here.latitude), radians(there.latitude)
    half = sin((lat2 - lat1) / 2) ** 2
    half += cos(lat1) * cos(lat2) * sin(radians(there.longitude - here.longitude) / 2) ** 2
    return 2 * 6371 * asin(sqrt(half))


def fare_cents(origin: str, destination: str) -> int:
    return 3_900 + round(kilometres(origin, destination) * 6)
