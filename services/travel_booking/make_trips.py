"""Who wants to go where? ``python -m services.travel_booking.make_trips`` writes ``trips.jsonl``.

Everybody wants to go to a few places, so that seats, rooms and cars run out; some cards are declined.
"""

import json
import random
from pathlib import Path

from services.travel_booking.catalogue import AIRPORTS

TRIPS = Path(__file__).parent / "trips.jsonl"
POPULAR = ("MIA", "SFO", "JFK")


def lines(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    found: list[str] = []
    for number in range(1, count + 1):
        destination = chance.choice(POPULAR if chance.random() < 0.45 else sorted(AIRPORTS))
        trip = {
            "trip_id": f"trip-{number:04d}",
            "origin": chance.choice(sorted(AIRPORTS.keys() - {destination})),
            "destination": destination,
            "nights": chance.choice((1, 2, 2, 3, 5, 7)),
            "card": "card-empty" if chance.random() < 0.06 else f"card-{number:04d}",
        }
        found.append(json.dumps(trip))
    return found


if __name__ == "__main__":
    TRIPS.write_text("\n".join(lines(260, seed=11)) + "\n")
