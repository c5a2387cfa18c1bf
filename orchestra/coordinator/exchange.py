"""What goes into a shard, and what comes out? The values, and the rules that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple, Protocol

from orchestra.coordinator.inbox import Deflected
from orchestra.coordinator.record import Given, Instance, Marks, OutboxMessage
from orchestra.transport.port import Record


class Change(NamedTuple):
    """What an input did to an instance: its next record, the messages that this introduces, and the values that it
    refers to from now on; None: to which it no longer refers."""

    instance: Instance
    messages: tuple[OutboxMessage, ...] = ()
    values: Mapping[str, bytes | None] = MappingProxyType({})


class Rules(Protocol):
    """What inputs do to instances (:mod:`orchestra.coordinator.advance`); pure, but that an instance which is given
    may be changed: it was decoded for this."""

    def take(
        self, key: str, instance: Instance | None, given: Given, now: datetime, *, free: bool
    ) -> Change | Deflected | None:
        """``free``: there is room for one more running instance; for an event, for one more that has not started. None:
        the input changes nothing and says nothing."""
        ...

    def release(self, instance: Instance, now: datetime) -> Change:
        """Give the inputs that waited their turn."""
        ...

    def can_release(self, instance: Instance) -> bool:
        """Whether a parked instance need wait no longer, now that another process has the shard."""
        ...

    def is_outdated(self, flow: str | None) -> bool:
        """Whether instances of this version, as a header names it, may be taken over by a newer one."""
        ...

    def renew(self, instance: Instance, now: datetime) -> Change | None:
        """What becomes of an instance of an outdated version, without an input; None: nothing."""
        ...

    def shrink(self, key: str, instance: Instance | None, given: Given | None, now: datetime) -> Change:
        """The change to make instead of one whose record would be too large; ``instance`` as it was before."""
        ...


class Append(NamedTuple):
    """A record for the log. What it introduces leaves when it is acknowledged."""

    key: str
    value: bytes | None
    headers: list[tuple[str, bytes]]
    position: int
    introduces: tuple[OutboxMessage, ...] = ()


class Send(NamedTuple):
    """A message whose record is durable."""

    message: OutboxMessage


@dataclass(frozen=True, slots=True)
class Deflect:
    """An inbox record to be stored elsewhere; then comes :meth:`Shard.deflected`."""

    record: Record
    why: Deflected


Output = Append | Send | Deflect


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one shard takes on. ``remember``: the seconds that a finished instance leaves its small record.
    ``early``: the seconds that an event is kept whose instance has not started, for at most ``max_early`` instances."""

    max_running: int = 1000
    remember: float = 30 * 86400.0
    instance_bytes: int = 512 * 1024
    partitions: int = 8
    value_bytes: int = 64 * 1024
    early: float = 3600.0
    max_early: int = 10_000


class Restored(NamedTuple):
    """What the fold of a log gives (:mod:`orchestra.coordinator.restore`); ``records``: the newest, with its offset;
    ``values``: by key."""

    producer_id: int
    claim: int
    position: int
    emitted: int
    now: datetime
    records: Mapping[str, tuple[int, Marks, bytes]]
    values: Mapping[str, bytes] = MappingProxyType({})
