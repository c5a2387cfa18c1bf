"""What is the broker of the memory transport? Topics, groups, identities, and faults on request."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from orchestra.clock import Clock, SystemClock
from orchestra.errors import RecordTooLargeError, TopicError, TransportError
from orchestra.ids import derived_id
from orchestra.transport.memory_group import Group
from orchestra.transport.memory_line import Valve
from orchestra.transport.memory_log import PartitionLog, Writer
from orchestra.transport.port import (
    BARRIER_EPOCH,
    Headers,
    Identity,
    Outgoing,
    Partition,
    Record,
    TopicSpec,
    TopicState,
)

_DEFAULT_CONFIG = {
    "cleanup.policy": "delete",
    "max.message.bytes": "1048588",
    "message.timestamp.type": "CreateTime",
    "retention.ms": "604800000",
}
_RECORD_OVERHEAD_BYTES = 70
_LEGAL_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")


@dataclass(frozen=True, slots=True)
class Write:
    """A record on its way to the broker, as a rule for faults sees it."""

    client: str
    partition: Partition
    key: bytes | None
    value: bytes | None
    headers: Headers
    identity: Identity | None
    """Of a fenced write, else None."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a write.

    Attributes:
        stored: False: the record is lost on its way.
        acknowledged: False: its sender never hears of it, and learns "unknown" after its delivery timeout.
        request_delay: seconds until it is stored; may exceed the sender's delivery timeout: it lands late.
        reply_delay: seconds from there until the sender hears of it.
        error: the broker refuses it with this error.
    """

    stored: bool = True
    acknowledged: bool = True
    request_delay: float = 0.0
    reply_delay: float = 0.0
    error: TransportError | None = None


_FINE = Fate()
Rule = Callable[[Write], Fate | None]
"""Decides over one write; None: no opinion."""


@dataclass(slots=True)
class _Topic:
    state: TopicState
    logs: list[PartitionLog]


@dataclass(slots=True)
class _Ids:
    """Producer ids and epochs by transactional id."""

    last: dict[str, Identity] = field(default_factory=dict[str, Identity])
    next_producer_id: int = 1000

    def take(self, transactional_id: str) -> Identity:
        known = self.last.get(transactional_id)
        if known is None or known.epoch >= BARRIER_EPOCH - 1:  # used up: a new id begins at epoch 0, as in Kafka
            identity = Identity(self.next_producer_id, 0)
            self.next_producer_id += 1
        else:
            identity = Identity(known.producer_id, known.epoch + 1)
        self.last[transactional_id] = identity
        return identity


class MemoryCluster:
    """A Kafka in memory, for one event loop: what transports of several "processes" share.

    Time is the loop's (delays, timeouts) and the clock's (timestamps), so both may be virtual.

    Args:
        clock: gives records their timestamps. Default: the machine's.
        partitions: of topics created without a number.
    """

    def __init__(self, *, clock: Clock | None = None, partitions: int = 8) -> None:
        self.clock = clock or SystemClock()
        self.rules: list[Rule] = []
        """Asked in order about each write until one has an opinion. Users may add and remove rules at any time."""
        self.available = Valve()
        """Shut while the brokers are away; see :meth:`go_down`."""
        self.groups: dict[str, Group] = {}
        self.fail_commits: int = 0
        """So many of the next commits are stored but not answered."""
        self._partitions = partitions
        self._topics: dict[str, _Topic] = {}
        self._generations = 0
        self._ids = _Ids()

    # ---- topics

    def create(self, spec: TopicSpec) -> None:
        """Create a topic, unless it exists.

        Raises:
            TopicError: it can have no such name.
        """
        if not _LEGAL_NAME.fullmatch(spec.name):
            raise TopicError(f"creating topic {spec.name!r}: letters, digits, '.', '_' and '-' make a legal name")
        if spec.name in self._topics:
            return
        self._generations += 1
        count = spec.partitions or self._partitions
        state = TopicState(
            name=spec.name,
            partitions=count,
            replication_factor=1,
            config=_DEFAULT_CONFIG | dict(spec.config),
            topic_id=derived_id("memory-topic", spec.name, self._generations),
        )
        self._topics[spec.name] = _Topic(state, [PartitionLog(Partition(spec.name, i)) for i in range(count)])

    def delete(self, name: str) -> None:
        """Delete a topic and the groups' places in it. A missing one is passed over."""
        if self._topics.pop(name, None) is not None:
            for group in self.groups.values():
                group.committed = {p: c for p, c in group.committed.items() if p.topic != name}

    def describe(self, names: Collection[str] | None = None) -> dict[str, TopicState]:
        """Topics that exist, by name; all without ``names``."""
        return {name: topic.state for name, topic in self._topics.items() if names is None or name in names}

    def partitions_of(self, topic: str) -> int:
        """How many partitions a topic has; 0 if it is missing."""
        found = self._topics.get(topic)
        return len(found.logs) if found else 0

    def log(self, partition: Partition) -> PartitionLog:
        """The log of a partition.

        Raises:
            TopicError: there is no such topic or partition.
        """
        topic = self._topics.get(partition.topic)
        if topic is None:
            raise TopicError(f"topic {partition.topic!r} does not exist")
        if not 0 <= partition.number < len(topic.logs):
            raise TopicError(f"topic {partition.topic!r} has no partition {partition.number}")
        return topic.logs[partition.number]

    def records(self, topic: str) -> list[Record]:
        """All that a topic holds, by partition and offset: for assertions in tests."""
        return [record for log in self._logs(topic) for record in log.records]

    def compact(self, topic: str, *, drop_nulls: bool = False) -> None:
        """Clean all partitions of a topic now; see :meth:`PartitionLog.compact`."""
        for log in self._logs(topic):
            log.compact(drop_nulls=drop_nulls)

    def _logs(self, topic: str) -> Iterator[PartitionLog]:
        return iter(self._topics[topic].logs)

    # ---- writing

    def append(self, record: Outgoing, partition: Partition, writer: Writer | None = None) -> int:
        """Store a record as a broker does, and give its offset.

        Raises:
            TopicError: no such topic or partition, or a compacted topic and no key.
            RecordTooLargeError: larger than the topic allows.
            FencedError, FenceBreachedError: see :class:`PartitionLog`.
        """
        log = self.log(partition)
        config = self._topics[partition.topic].state.config
        if "compact" in config["cleanup.policy"] and record.key is None:
            raise TopicError(f"topic {partition.topic!r} is compacted: a record needs a key")
        if (size := record_size(record)) > int(config["max.message.bytes"]):
            raise RecordTooLargeError(f"{size} bytes are more than {partition.topic!r} allows: max.message.bytes")
        now_ms = int(self.clock.now().timestamp() * 1000)
        append_time = config["message.timestamp.type"] == "LogAppendTime"
        sent_ms = now_ms if record.timestamp_ms is None else record.timestamp_ms
        return log.append(
            record.key,
            record.value,
            record.headers,
            now_ms if append_time else sent_ms,
            append_time=append_time,
            writer=writer,
        )

    def fate(self, write: Write) -> Fate:
        """What becomes of a write, by the rules."""
        for rule in list(self.rules):
            if (fate := rule(write)) is not None:
                return fate
        return _FINE

    def take_identity(self, transactional_id: str) -> Identity:
        """The next (producer id, epoch): one epoch above the last."""
        return self._ids.take(transactional_id)

    def expire_identity(self, transactional_id: str) -> None:
        """Forget a transactional id, as brokers do after a week: the next identity has another producer id."""
        self._ids.last.pop(transactional_id, None)

    def exhaust_identity(self, transactional_id: str) -> None:
        """Use up the epochs of a transactional id: the next identity has another producer id."""
        known = self._ids.take(transactional_id)
        self._ids.last[transactional_id] = Identity(known.producer_id, BARRIER_EPOCH - 1)

    def group(self, name: str) -> Group:
        """A consumer group; made when it is first asked for."""
        return self.groups.setdefault(name, Group(name, self.partitions_of))

    # ---- faults

    def go_down(self) -> None:
        """The brokers are away: calls wait, and fail as unreachable when their time is up; nothing is lost."""
        self.available.shut()

    def come_back(self) -> None:
        """The brokers are there again."""
        self.available.open()

    def next_writes(self, fate: Fate, *, count: int = 1, topic: str | None = None, client: str | None = None) -> None:
        """Give the next ``count`` writes (to a topic, of a client) this fate."""
        left = count

        def rule(write: Write) -> Fate | None:
            nonlocal left
            if topic not in (None, write.partition.topic) or client not in (None, write.client):
                return None
            left -= 1
            if left == 0:
                self.rules.remove(rule)
            return fate

        self.rules.append(rule)

    def commits(self, group: str) -> Mapping[Partition, int]:
        """The committed offsets of a group: for assertions in tests."""
        return {partition: committed.offset for partition, committed in self.group(group).committed.items()}


def record_size(record: Outgoing) -> int:
    """About what a record takes on the wire, alone in its batch, in bytes."""
    headers = sum(len(name.encode()) + len(value or b"") + 4 for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers + _RECORD_OVERHEAD_BYTES
