"""What does an instance's next record say? It is gathered here while inputs are taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from orchestra.coordinator.record import Given, Instance, Parked, Why
from orchestra.coordinator.wire import Make
from orchestra.errors import DecodeError
from orchestra.events.envelope import Envelope
from orchestra.flows.decision import Alert, JournalLine, Json

_CODES = {"version": "version.missing", "raised": "flow.raised", "too_large": "instance.too_large"}


class Letter(NamedTuple):
    """An input that goes to the dead letters, and why."""

    given: Given
    reason: str
    error: Exception


@dataclass(slots=True)
class Taking:
    """An instance while its inputs are taken, and what they say. ``silent``: nothing is to be stored."""

    instance: Instance
    now: datetime
    taken: list[Given] = field(default_factory=list[Given])
    emissions: list[Make] = field(default_factory=list[Make])
    sent: list[Json] = field(default_factory=list[Json])
    """A trace of what flows say, for the journal."""
    letters: list[Letter] = field(default_factory=list[Letter])
    lines: list[JournalLine] = field(default_factory=list[JournalLine])
    alerts: list[Alert] = field(default_factory=list[Alert])
    values: dict[str, bytes | None] = field(default_factory=dict[str, "bytes | None"])
    silent: bool = True
    end: Envelope | None = None
    """The event that tells its end, where it has just come to it."""

    def say(self, what: str, note: str = "") -> None:
        self.lines.append(JournalLine(what, note=note))
        self.silent = False

    def value(self, name: str) -> bytes:
        """What an earlier input of this run stored. Raises KeyError."""
        found = self.values[name] if name in self.values else self.instance.values[name]
        if found is None:
            raise KeyError(name)
        return found

    def alert(self, code: str, note: str) -> None:
        self.alerts.append(Alert(code, None, note))

    def reject(self, given: Given, error: Exception) -> None:
        """An input that is not what it should be: to the dead letters, and the instance goes on waiting."""
        self.letters.append(Letter(given, "CONTRACT", error))
        self.say("input.rejected", str(error))

    def give_up(self, given: Given, note: str) -> None:
        """An input that waited for what did not come."""
        self.letters.append(Letter(given, "UNKNOWN_INSTANCE", DecodeError("record", note)))

    def park(self, why: Why, note: str, given: Given | None = None) -> None:
        """Stop here. ``given`` goes back to the front of what waits."""
        self.instance.parked = Parked(why, note, self.now)
        if given is not None:
            self.instance.inputs = (given, *self.instance.inputs)
        self.say("instance.parked", note)
        self.alert(_CODES[why], note)
