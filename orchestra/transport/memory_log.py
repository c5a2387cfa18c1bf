"""What does a broker keep for one partition? Records, their bounds, and the fence (pure: no asyncio, no clock).

The fence follows Kafka's: per producer id the newest epoch that has stored a record, its last sequence number, and
where its last five records stand. An older epoch is refused, a known sequence is acknowledged again
without being stored.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from orchestra.errors import FenceBreachedError, FencedError, OffsetLostError
from orchestra.transport.port import Bounds, Headers, Partition, Record

_REMEMBERED = 5
"""How many of a producer's newest records a broker knows again (Kafka: batches)."""


class Writer(NamedTuple):
    """Who writes, and which of its records on this partition this is."""

    producer_id: int
    epoch: int
    sequence: int


class _Producer:
    __slots__ = ("epoch", "recent")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.recent: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        """(sequence, offset), newest last."""


class PartitionLog:
    """The log of one partition. Not aware of time: whoever appends brings the timestamp."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.start = 0
        self.end = 0
        self._records: list[Record] = []
        self._offsets: list[int] = []
        self._producers: dict[int, _Producer] = {}
        self._watchers: dict[object, Callable[[], None]] = {}

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.start, self.end)

    @property
    def records(self) -> list[Record]:
        """Every record that is still there, in order."""
        return list(self._records)

    def append(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        *,
        append_time: bool = False,
        writer: Writer | None = None,
    ) -> int:
        """Store one record and give its offset; for a sequence that is known already, the offset it has.

        Raises:
            FencedError: a newer epoch of the same producer id has written here.
            FenceBreachedError: the sequence is not the next one.
        """
        if writer is not None and (known := self._admit(writer)) is not None:
            return known
        offset = self.end
        topic, number = self.partition
        self._records.append(
            Record(topic, number, offset, timestamp_ms, key, value, tuple(headers), append_time=append_time)
        )
        self._offsets.append(offset)
        self.end = offset + 1
        if writer is not None:
            self._producers[writer.producer_id].recent.append((writer.sequence, offset))
        for watcher in list(self._watchers.values()):
            watcher()
        return offset

    def _admit(self, writer: Writer) -> int | None:
        """The offset of a record that is stored already, or None: go on and store it."""
        producer = self._producers.get(writer.producer_id)
        if producer is None:  # also after the state expired: any epoch and sequence is taken then, as Kafka does
            self._producers[writer.producer_id] = _Producer(writer.epoch)
            return None
        if writer.epoch < producer.epoch:
            raise FencedError(f"{self._name}: epoch {producer.epoch} has written here, {writer.epoch} is older")
        if writer.epoch == producer.epoch:
            for sequence, offset in producer.recent:
                if sequence == writer.sequence:
                    return offset
            expected = producer.recent[-1][0] + 1
        else:
            expected = 0
        if writer.sequence != expected:
            raise FenceBreachedError(f"{self._name}: sequence {writer.sequence} came where {expected} was next")
        if writer.epoch > producer.epoch:
            self._producers[writer.producer_id] = _Producer(writer.epoch)
        return None

    @property
    def _name(self) -> str:
        return f"{self.partition.topic}[{self.partition.number}]"

    def read(self, offset: int, limit: int) -> tuple[list[Record], int]:
        """Up to ``limit`` records from ``offset`` on, and the offset to go on from.

        Raises:
            OffsetLostError: the offset lies outside the log.
        """
        if not self.start <= offset <= self.end:
            raise OffsetLostError(
                f"{self._name}: offset {offset} is not between {self.start} and {self.end}",
                lost={self.partition: offset},
            )
        first = bisect_left(self._offsets, offset)
        found = self._records[first : first + limit]
        if first + limit < len(self._records):
            return found, (found[-1].offset + 1 if found else offset)
        return found, self.end

    def delete_before(self, offset: int) -> None:
        """Delete every record below ``offset``; the log begins there from now on. Never moves back.

        Raises:
            OffsetLostError: the offset is beyond the end.
        """
        if offset > self.end:
            raise OffsetLostError(f"{self._name}: offset {offset} is beyond the end {self.end}")
        if offset > self.start:
            count = bisect_left(self._offsets, offset)
            del self._records[:count], self._offsets[:count]
            self.start = offset

    def compact(self, *, before: int | None = None, drop_nulls: bool = False) -> None:
        """Remove what a newer record of the same key supersedes, as Kafka's cleaner does. Offsets stay, the fence too.

        Args:
            before: clean only below this offset (the cleaner leaves the newest segment alone). Default: everything.
            drop_nulls: remove null values as well, as the cleaner does when ``delete.retention.ms`` has passed.
        """
        limit = self.end if before is None else before
        newest = {record.key: record.offset for record in self._records if record.offset < limit}
        self._records = [
            record
            for record in self._records
            if record.offset >= limit
            or (newest[record.key] == record.offset and not (drop_nulls and record.value is None))
        ]
        self._offsets = [record.offset for record in self._records]

    def expire_producers(self) -> None:
        """Forget who wrote here, as brokers do after a day without a write by a producer id."""
        self._producers.clear()

    def watch(self, key: object, call: Callable[[], None]) -> None:
        """Call ``call`` after each append, until :meth:`unwatch` of the same key."""
        self._watchers[key] = call

    def unwatch(self, key: object) -> None:
        self._watchers.pop(key, None)
