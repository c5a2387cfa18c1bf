"""What can a log do? The one port that Kafka and memory both implement.

Everything above this port is written against these names only. The contract suite in ``orchestra.testing`` says in
tests what the docstrings here say in words; both transports pass it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from orchestra.errors import TransportError

Headers = Sequence[tuple[str, bytes | None]]
"""Kafka record headers: ordered, names may repeat, a value may be null. Bytes are never interpreted here."""


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


class Record:
    """What a log stores, exactly as it came: bytes, headers, position. Treat as immutable."""

    __slots__ = ("append_time", "headers", "key", "offset", "partition", "timestamp_ms", "topic", "value")

    def __init__(
        self,
        topic: str,
        partition: int,
        offset: int,
        timestamp_ms: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        append_time: bool = False,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.timestamp_ms = timestamp_ms
        self.key = key
        self.value = value
        self.headers = headers
        self.append_time = append_time
        """True where the broker set the timestamp (LogAppendTime)."""

    def header(self, name: str) -> bytes | None:
        """The last header of that name, or None."""
        for key, value in reversed(self.headers):
            if key == name:
                return value
        return None

    def __repr__(self) -> str:
        return f"Record({self.topic}[{self.partition}]@{self.offset} key={self.key!r})"


@dataclass(slots=True)  # not frozen: that would make it thrice as dear, and every record that is sent is one
class Outgoing:
    """A record to be stored. Treat as immutable.

    ``partition`` None: chosen from the key as Java's murmur2 partitioner does (a null key: any partition).
    ``timestamp_ms`` None: the time of sending.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None
    timestamp_ms: int | None = None


class Position(NamedTuple):
    """Where an acknowledged record stands."""

    topic: str
    partition: int
    offset: int


class Committed(NamedTuple):
    """A group's place in a partition: the next offset to handle, and a note kept with it (at most 4 KiB)."""

    offset: int
    metadata: str = ""


class AssignmentListener(Protocol):
    """Told when partitions come and go. Rebalances are eager: everything is revoked, then a new set is assigned.

    The transport awaits both calls, and heartbeats go on meanwhile. A call that raises is logged, and counts as
    returned. Neither is called with nothing: a member without partitions hears nothing. Never call
    ``fetch`` from here, nor share a lock with the loop that does.
    """

    async def on_assigned(self, partitions: Collection[Partition]) -> None:
        """These are ours now. No record of theirs is returned by ``fetch`` before this returns.

        ``seek``, ``pause``, ``committed`` may be used here. A partition without a committed offset stands at the
        subscription's ``start``. A revocation that comes meanwhile waits for this to return, at most half the settings'
        ``rebalance_timeout``; then it cancels it.
        """
        ...

    async def on_revoked(self, partitions: Collection[Partition]) -> None:
        """These will be somebody else's when this returns: finish, commit, forget. No record of theirs is returned by
        ``fetch`` after this began. Cancelled after the settings' ``rebalance_timeout``. Also called by ``aclose``, and
        when the member was put out of the group: then a commit raises CommitFailedError."""
        ...


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a consumer group reads.

    Attributes:
        group: the group's id.
        topics: names of topics; each must exist.
        start: where a partition without a committed offset is begun.
        batch_bytes: the most bytes fetched from one partition at a time.
        together: topics of these whose partitions of one number are always one member's.
    """

    group: str
    topics: Collection[str]
    start: Literal["earliest", "latest"] = "earliest"
    batch_bytes: int = 1 << 20
    together: Collection[str] = ()


class Consumer(Protocol):
    """One member of one group. Not safe to share between tasks, except ``commit``, ``pause``, ``resume``, ``seek``."""

    async def start(self) -> None:
        """Join the group. Raises UnreachableError, TopicError (a topic is missing), AccessDeniedError."""
        ...

    async def fetch(self, *, max_records: int, timeout: float) -> list[Record]:
        """Up to ``max_records`` records of assigned, unpaused partitions; an empty list after ``timeout`` seconds
        (later during a rebalance). In offset order per partition. Call it always, also with everything paused: it is
        the sign of life. Never cancel it from outside; leave the loop instead.

        Raises OffsetLostError when a position is no longer in the log (never jumps silently), AccessDeniedError, and
        ClosedError when the consumer is not open; a fetch under way while it is closed ends empty. Brokers that are
        away raise nothing: the list is empty until they are back.
        """
        ...

    async def commit(self, offsets: Mapping[Partition, Committed]) -> None:
        """Store the group's place. Returns once the broker has it. Raises CommitFailedError (assignment moved),
        UnreachableError (no answer within the request timeout: it may or may not be stored)."""
        ...

    async def committed(self, partition: Partition) -> Committed | None:
        """The group's stored place, or None. Raises UnreachableError."""
        ...

    def position(self, partition: Partition) -> int | None:
        """The next offset that ``fetch`` would return, where known. Passes over offsets that hold no record."""
        ...

    def assignment(self) -> frozenset[Partition]:
        """What is ours now."""
        ...

    @property
    def is_member(self) -> bool:
        """Whether the group has given us partitions, or deliberately none: False before that and in a rebalance."""
        ...

    def pause(self, partitions: Collection[Partition]) -> None:
        """Fetch nothing of these until resumed. A rebalance does not end a pause of a partition that stays, but a
        partition that is newly assigned is not paused. Unassigned partitions are passed over."""
        ...

    def resume(self, partitions: Collection[Partition]) -> None: ...

    def paused(self) -> frozenset[Partition]:
        """What is ours and paused."""
        ...

    def seek(self, partition: Partition, offset: int) -> None:
        """The next ``fetch`` goes on from ``offset``."""
        ...

    async def aclose(self) -> None:
        """``on_revoked`` for what is ours, then leave the group within the request timeout. Idempotent."""
        ...


class Delivery(Protocol):
    """Records that were handed over together: which of them are stored?"""

    @property
    def failures(self) -> Mapping[int, TransportError]:
        """What is known by now: the place of a record among them -> why it was not, or may not be, stored."""
        ...

    @property
    def is_done(self) -> bool:
        """Every record has ended: those that ``failures`` does not name are stored."""
        ...

    async def wait(self) -> Mapping[int, TransportError]:
        """``failures``, once every record has ended. Safe to cancel."""
        ...

    def give_up(self) -> None:
        """Do not send what has not left yet: it fails, surely not stored. The rest ends as it may."""
        ...


class Publisher(Protocol):
    """Puts records on topics: acks=all, idempotent, in order per partition.

    A failed or late record is never repeated behind the caller's back under another sequence: the underlying producer
    is replaced and the record's future fails.
    """

    async def start(self) -> None: ...

    async def send(self, record: Outgoing) -> asyncio.Future[Position]:
        """Hand one record over. Returns when it is accepted in order (waits for space: buffers are bounded); the future
        has its position once all replicas have it, or a TransportError within the delivery timeout:
        OutcomeUnknownError, UnreachableError (surely not stored), TopicError, RecordTooLargeError, AccessDeniedError.
        Records of one partition are stored in the order of the calls, unless one of them fails. Raises ClosedError."""
        ...

    async def send_many(self, records: Sequence[Outgoing]) -> Delivery:
        """``send`` all, at a fraction of the cost, and with one word on them: they are encoded and acknowledged by the
        batch. Returns when all are accepted in order (waits for space). Records may fail one by one, with the same
        errors; a topic that is missing fails its own records only. Raises ClosedError."""
        ...

    async def publish(self, records: Sequence[Outgoing]) -> list[Position]:
        """``send`` all, then wait for all. Raises the first failure, after all have ended."""
        ...

    async def aclose(self) -> None:
        """Flush within the request timeout, then close. What is unacknowledged then fails as unknown. Idempotent."""
        ...


class Identity(NamedTuple):
    """Who writes a fenced log: Kafka's producer id and epoch. A later owner has a higher epoch, or another id."""

    producer_id: int
    epoch: int


BARRIER_EPOCH = 32767
"""The highest epoch there is: a record written with (producer id, 32767) shuts that id out for good."""


class FencedLog(Protocol):
    """One partition, writable by its newest owner only (design section 9).

    Opening takes a new identity. It fences nothing by itself: only this identity's *first stored record* (the claim)
    shuts out every older epoch of the same producer id. One object per identity, for ever: after any failure the object
    is dead, and the next one is opened with a new identity. An identity is never used by a second object.
    """

    @property
    def identity(self) -> Identity: ...

    @property
    def failure(self) -> Exception | None:
        """Why this log is dead, or None."""
        ...

    async def append(self, key: bytes, value: bytes | None, headers: Headers = ()) -> asyncio.Future[int]:
        """Hand one record over; appends are pipelined and stored in the order of the calls. The future has the record's
        offset once all replicas have it. It fails with FencedError (a newer owner: nothing stored), OutcomeUnknownError
        (no answer within the delivery timeout), RecordTooLargeError, AccessDeniedError, UnreachableError, or
        FenceBreachedError (an acknowledged offset did not exceed the one before). After the first failure the log is
        dead: what is under way fails as unknown (or as fenced) and may be stored, in order and without holes, but
        nothing behind it; what is appended later fails as closed (or as fenced) and is surely not stored."""
        ...

    async def aclose(self) -> None:
        """Give the log up. Waits for nothing; never raises. Idempotent."""
        ...


class Reader(Protocol):
    """Reads one partition from a given offset, with no group."""

    async def fetch(self, *, max_records: int, timeout: float) -> list[Record]:
        """The next records in order, also nulls; an empty list after ``timeout`` seconds without any. Raises
        OffsetLostError, UnreachableError (brokers away longer than the request timeout)."""
        ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it must be.

    Attributes:
        name: on the cluster.
        partitions: exactly so many; None: any number, and the settings' default where it is created.
        config: Kafka's own names and values.
        takes_from: topics whose records may be moved to this one as they are: it must have as many partitions as the
            largest of them, and take records as large as theirs.
        record_bytes: records of that size must be taken.
    """

    name: str
    partitions: int | None = None
    config: Mapping[str, str] = field(default_factory=dict[str, str])
    takes_from: frozenset[str] = frozenset()
    record_bytes: int = 0


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is. ``topic_id``: changes when a topic is deleted and made anew; "" where it cannot be known."""

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]
    topic_id: str = ""


class Bounds(NamedTuple):
    """A partition's first offset that is still there, and the offset that its next record will get."""

    start: int
    end: int


class Topics(Protocol):
    """What an operator can do to topics. Every call has the request timeout and raises UnreachableError after it."""

    async def describe(self, names: Collection[str]) -> dict[str, TopicState]:
        """The topics that exist, by name."""
        ...

    async def create(self, specs: Sequence[TopicSpec]) -> None:
        """Create those that are missing, and return when their leaders are known. One that exists is left as it is."""
        ...

    async def delete(self, names: Collection[str]) -> None:
        """Delete topics with everything in them. Missing ones are passed over."""
        ...

    async def bounds(self, partitions: Collection[Partition], *, stable: bool = False) -> dict[Partition, Bounds]:
        """Where each partition begins and ends. ``stable``: the end is where consumers get to, which is before the
        first record of a transaction that is still open. Raises TopicError: one is not there."""
        ...

    async def delete_records(self, before: Mapping[Partition, int]) -> None:
        """Delete all records below the offsets."""
        ...


class Transport(Protocol):
    """A cluster, as one process sees it."""

    @property
    def topics(self) -> Topics: ...

    async def start(self) -> None:
        """Raises UnreachableError, AccessDeniedError."""
        ...

    async def aclose(self) -> None:
        """Close what was opened here and is not closed yet. Idempotent."""
        ...

    def consumer(self, subscription: Subscription, listener: AssignmentListener) -> Consumer: ...

    def publisher(self, *, linger: float = 0.0) -> Publisher:
        """``linger``: seconds to wait for more before a batch leaves. 0 for commands, outcomes and state."""
        ...

    async def fenced_log(self, transactional_id: str, partition: Partition) -> FencedLog:
        """Take a new identity for ``transactional_id`` (Kafka's InitProducerId): one epoch above the last.
        Raises UnreachableError, AccessDeniedError, TopicError."""
        ...

    async def shut_out(self, producer_id: int, partition: Partition, key: bytes, headers: Headers = ()) -> int:
        """Append a null-valued barrier with (``producer_id``, 32767), after which that id can never write there again.
        Gives its offset. Idempotent: a second barrier for the same id returns the sentinel -1 when the first holds."""
        ...

    async def reader(self, partition: Partition, *, offset: int | None = None) -> Reader:
        """Reads from ``offset``; None: from the first record that is still there."""
        ...
