"""What does one run of a machine know about itself? Its state, to and from compact JSON.

Times are microseconds since 1970. What is known about a state of the chart is a small JSON object under its name; a
command, a flow or a question that a state began has one under its own name.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestra.events.envelope import Envelope
from orchestra.flows.decision import Json, Status
from orchestra.flows.instance import Started

FORMAT = 1
"""Of the state. A reader of a newer orchestra must still take it."""
REMEMBERED = 32
"""Events whose duplicates are recognised, the newest ones."""
MAX_DEFERRED = 20

_MARK = 8
"""Characters of an event's fingerprint: 48 bits."""


@dataclass(slots=True)
class MachineInstance(Started):
    """One run of a machine."""

    data: str
    """The typed data, as JSON text."""
    status: Status = Status.RUNNING
    generation: int = 0
    """Of the newest timer."""
    nodes: dict[str, Json] = field(default_factory=dict[str, Json])
    recent: str = ""
    """Fingerprints of the newest events, one behind the other."""
    deferred: list[list[str | None]] = field(default_factory=list[list[str | None]])
    """Type and data of each event that is kept for later."""
    published: int = 0
    """How many events it has published: numbers them."""
    final: str | None = None
    """The final state that it reached; it is over when all that it owes is done."""
    cancelled: str | None = None
    """Who cancelled it, and why."""
    answer: list[str | None] | None = None
    """Type and data of the event for whoever called it."""
    ended: int | None = None

    def next_generation(self) -> int:
        self.generation += 1
        return self.generation

    def is_active(self, state: str) -> bool:
        node = self.nodes.get(state)
        return node is not None and node["s"] == "active"

    @property
    def is_over(self) -> bool:
        """No state is active any more, or none that could be left."""
        return self.final is not None or self.cancelled is not None

    def has_seen(self, event: Envelope) -> bool:
        """Whether it is one of the newest events. Remembers it otherwise."""
        mark = _fingerprint(event)
        recent = self.recent
        at = recent.find(mark)
        while at > 0 and at % _MARK:
            at = recent.find(mark, at + 1)
        if at >= 0:
            return True
        self.recent = (recent + mark)[-REMEMBERED * _MARK :]
        return False

    def dump(self) -> Json:
        raw: Json = {
            "format": FORMAT,
            "id": self.id,
            "run": self.run,
            "at": self.started,
            "status": self.status.value,
            "gen": self.generation,
            "event": self.start_raw,
            "data": self.data,
            "nodes": self.nodes,
            "recent": self.recent,
        }
        for name in _OPTIONAL:
            if value := getattr(self, name):
                raw[name] = value
        return raw


_OPTIONAL = ("deferred", "published", "final", "cancelled", "answer", "ended")


def load_machine(state: Mapping[str, Any]) -> MachineInstance:
    """The instance that ``dump`` made this state of. The nodes are shared until they are replaced."""
    return MachineInstance(
        id=state["id"],
        run=state["run"],
        started=state["at"],
        start_raw=state["event"],
        data=state["data"],
        status=Status(state["status"]),
        generation=state["gen"],
        nodes=dict(state["nodes"]),
        recent=state["recent"],
        deferred=list(state.get("deferred", ())),
        published=state.get("published", 0),
        final=state.get("final"),
        cancelled=state.get("cancelled"),
        answer=state.get("answer"),
        ended=state.get("ended"),
    )


def _fingerprint(event: Envelope) -> str:
    # A false likeness would lose an event: of 48 bits it happens once in 10^13 events.
    digest = hashlib.blake2b(f"{event.source}\x1f{event.id}".encode(), digest_size=6).digest()
    return b64encode(digest).decode()
