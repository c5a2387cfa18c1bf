"""What can be known about what runs here? Plain values, taken at one moment; nothing here judges.

Moments are seconds of the process's clock (:meth:`orchestra.clock.Clock.elapsed`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestra.transport.port import Partition


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """One partition that is ours.

    Attributes:
        partition: which.
        committed: the group's stored place: the next offset to go on from; None: not known, or none yet.
        position: the next offset that would be fetched; None: not known yet.
        window: records fetched and not done.
        busy: how many of them are being handled.
        oldest_ms: the timestamp of the oldest record that is not done; None: there is none here.
        waiting: why -> how many records wait for it, without being handled.
        paused: why nothing more is fetched, or None.
        overdue: the handler that ignores its cancellation, or None.
        stopped: why nothing goes on until a person has looked, or None.
        is_open_ended: a handler without a timeout is at work.
    """

    partition: Partition
    committed: int | None = None
    position: int | None = None
    window: int = 0
    busy: int = 0
    oldest_ms: int | None = None
    waiting: Mapping[str, int] = field(default_factory=dict[str, int])
    paused: str | None = None
    overdue: str | None = None
    stopped: str | None = None
    is_open_ended: bool = False


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """This process as a member of one consumer group.

    Attributes:
        group: its id.
        topics: what it reads.
        is_member: the group has given it partitions, or deliberately none.
        fetched: when the last fetch returned.
        received: when a fetch last gave something, or could not have: no room.
        partitions: those that are ours.
    """

    group: str
    topics: tuple[str, ...]
    is_member: bool
    fetched: float
    received: float
    partitions: tuple[PartitionFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class LostHandler:
    """A handler that was given up, because it ignored its cancellation, and still runs. ``since``: when it was."""

    name: str
    since: float


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """One service or coordinator.

    Attributes:
        name: of the service or coordinator.
        groups: a service has one, a coordinator one for its inbox and one for its router.
        lost: handlers that cannot be ended.
        unready: what is not as it will be: shards that are being taken over, for instance.
        is_stopping: it drains.
    """

    name: str
    groups: tuple[GroupFacts, ...] = ()
    lost: tuple[LostHandler, ...] = ()
    unready: tuple[str, ...] = ()
    is_stopping: bool = False


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """What the brokers said last.

    Attributes:
        answered: when they last answered; None: never.
        error: what went wrong since, or None.
        ends: how far each partition reaches: the offset that its next record will get.
    """

    answered: float | None = None
    error: str | None = None
    ends: Mapping[Partition, int] = field(default_factory=dict[Partition, int])


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """All of it.

    Attributes:
        units: those that run.
        starting: names of those that do not run yet, or start again.
        brokers: what they said.
    """

    units: tuple[UnitFacts, ...]
    starting: tuple[str, ...]
    brokers: BrokerFacts
