"""What breaks, and who cares? ``python -m services.incident_management.make_incidents`` writes ``incidents.jsonl``.

Beside the alarm, a line says what people will do: at which level somebody heeds the page, to whom it is handed over,
and whether it comes back.
"""

import json
import random
from pathlib import Path
from typing import Any, NamedTuple

from services.incident_management.messages import AlarmRaised
from services.incident_management.roster import SYSTEMS

INCIDENTS = Path(__file__).parent / "incidents.jsonl"


class Case(NamedTuple):
    """An incident, and what people make of it."""

    alarm: AlarmRaised
    heeded_at: int
    handed_to: str | None
    comes_back: bool


def lines(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    found: list[str] = []
    for number in range(1, count + 1):
        incident = {
            "incident_id": f"incident-{number:04d}",
            "system": chance.choice(SYSTEMS),
            "severity": 1 if chance.random() < 0.4 else 2,
            "heeded_at": chance.choice((1, 1, 1, 1, 2, 2, 3)),
            "handed_to": "emil" if chance.random() < 0.2 else None,
            "comes_back": chance.random() < 0.15,
        }
        found.append(json.dumps(incident))
    return found


def cases() -> list[Case]:
    """What the lines of the file say."""
    return [_case(**json.loads(line)) for line in INCIDENTS.read_text().splitlines()]


def _case(heeded_at: int, handed_to: str | None, comes_back: bool, **alarm: Any) -> Case:
    return Case(AlarmRaised.model_validate(alarm), heeded_at, handed_to, comes_back)


if __name__ == "__main__":
    INCIDENTS.write_text("\n".join(lines(80, seed=4)) + "\n")
