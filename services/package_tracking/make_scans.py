"""What do the scanners say? ``python -m services.package_tracking.make_scans`` writes ``scans.jsonl``.

A month of parcels, an event a line, in the order in which they reach us. Some come late and out of order, also before
the registration; some come twice. Some parcels lie in a corner for ten days, and some are never seen again.
"""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from services.package_tracking.messages import DeliveryRefused, ParcelHandedOver, ParcelRegistered, ParcelScanned
from services.package_tracking.world import DEPOTS, GONE

SCANS = Path(__file__).parent / "scans.jsonl"
Told = ParcelRegistered | ParcelScanned | DeliveryRefused | ParcelHandedOver
KINDS: dict[str, type[Told]] = {
    "registered": ParcelRegistered,
    "scanned": ParcelScanned,
    "refused": DeliveryRefused,
    "handed over": ParcelHandedOver,
}
FIRST = datetime(2026, 3, 2, 6, tzinfo=UTC)
SHOPS = ("Radhaus", "Buch & Blatt", "Lampenladen", "Teekontor")
REASONS = ("nobody knows the name", "the box is crushed", "not what was ordered")

Line = dict[str, Any]


def lines(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    arrivals = [one for number in range(1, count + 1) for one in _parcel(number, count, chance)]
    return [json.dumps(line, ensure_ascii=False) for _, line in sorted(arrivals, key=lambda one: one[0])]


def events(path: Path = SCANS) -> list[Told]:
    """What the lines of the file say."""
    return [_event(**json.loads(line)) for line in path.read_text().splitlines()]


def _event(event: str, **fields: Any) -> Told:
    return KINDS[event].model_validate(fields)


def _parcel(number: int, count: int, chance: random.Random) -> Iterator[tuple[datetime, Line]]:
    """The events of one parcel, each with the moment at which it reaches us."""
    parcel = f"parcel-{number:04d}"
    now = FIRST + timedelta(days=24 * number / count)
    for line in _journey(parcel, chance):
        now += timedelta(hours=chance.uniform(8, 22))
        if line == "a corner":
            now += timedelta(days=10)
            continue
        said = {"event": line["event"], "parcel_id": parcel, **line}
        if said["event"] == "scanned":
            said["at"] = now.isoformat(timespec="seconds")
        yield now + timedelta(hours=30 if chance.random() < 0.06 else 0), said
        if chance.random() < 0.04:  # the scanner was not sure that it got through
            yield now + timedelta(hours=2), said


def _journey(parcel: str, chance: random.Random) -> Iterator[Any]:
    way = chance.sample(DEPOTS, chance.randrange(2, 5))
    yield {"event": "registered", "sender": chance.choice(SHOPS), "recipient": f"{chance.randrange(1, 90)} Ringstraße"}
    yield {"event": "scanned", "depot": way[0]}
    if parcel in GONE:
        return
    if chance.random() < 0.1:
        yield "a corner"
    for depot in way[1:]:
        yield {"event": "scanned", "depot": depot}
    if chance.random() < 0.15:
        yield {"event": "refused", "reason": chance.choice(REASONS)}
        for depot in reversed(way):
            yield {"event": "scanned", "depot": depot}
        yield {"event": "handed over", "to": "sender"}
    else:
        yield {"event": "handed over", "to": "recipient"}


if __name__ == "__main__":
    SCANS.write_text("\n".join(lines(150, seed=3)) + "\n")
