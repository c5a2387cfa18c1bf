"""How does a record that belongs to nobody become a dead letter of the coordinator? Pure."""

from __future__ import annotations

from datetime import datetime

from orchestra.coordinator.names import Names
from orchestra.service.dead_letter import dead_letter, failure_of
from orchestra.transport.port import Outgoing, Record


def coordinator_letter(names: Names, record: Record, *, reason: str, error: Exception, now: datetime) -> Outgoing:
    """The record as it came, with the reason in headers; ``error`` says what is wrong with it."""
    failure = failure_of(error, reason, handler="coordinator", attempts=1, first=now, last=now)
    return dead_letter(record, failure, topic=names.dead_letters, group=names.group)
