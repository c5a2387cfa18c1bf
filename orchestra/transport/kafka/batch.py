"""How do records become one batch on the wire, and what does the broker say to it?

A batch is encoded once, with its producer id, epoch and first sequence number: repeated, it is the same bytes, and the
broker knows it again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from orchestra.transport.kafka.waiting import Parcel, Waiting
from orchestra.transport.port import Identity, Partition

BATCH_BYTES: Final = 256 * 1024
"""A batch holds about as much, or one record that is larger."""

_MAGIC, _NO_COMPRESSION, _NOT_TRANSACTIONAL = 2, 0, 0
_SEQUENCES = 1 << 31

W = TypeVar("W", bound=Waiting | Parcel)


class Batch(Generic[W]):
    """Records that go to one partition together."""

    __slots__ = ("count", "data", "parts")

    def __init__(self, parts: list[W], count: int, data: bytes) -> None:
        self.parts = parts
        self.count = count
        """Of records, in all parts."""
        self.data = data

    def stored_at(self, base_offset: int) -> Iterator[tuple[W, int]]:
        """Each part with the offset of its first record."""
        for part in self.parts:
            yield part, base_offset
            base_offset += part.count


def take_batch(
    waiting: deque[W],
    identity: Identity,
    sequence: int,
    *,
    dropped: Callable[[W], None],
    most_parts: int = 1 << 20,
) -> Batch[W] | None:
    """Take parts from the left of ``waiting`` until a batch is full; None if none is left that anybody waits for.

    A record that cannot be encoded fails, and the others go on. A parcel that does not fit is cut. ``dropped`` is told
    of each part that goes into no batch.
    """
    builder = DefaultRecordBatchBuilder(
        _MAGIC, _NO_COMPRESSION, _NOT_TRANSACTIONAL, identity.producer_id, identity.epoch, sequence, BATCH_BYTES
    )
    taken: list[W] = []
    count = 0
    while waiting and len(taken) < most_parts:
        part = waiting[0]
        if part.is_over:  # it was given up before it left
            dropped(waiting.popleft())
            continue
        written = part.write(builder, count)
        if written and written == part.count:
            taken.append(waiting.popleft())
        elif waiting[0].is_over:  # it cannot be encoded
            dropped(waiting.popleft())
        else:  # it does not fit
            if written:
                taken.append(cast("W", part.cut(written)))
            count += written
            break
        count += written
    return Batch(taken, count, bytes(builder.build())) if taken else None


def next_sequence(sequence: int, count: int) -> int:
    """The sequence number behind ``count`` records; it wraps as Kafka's does."""
    return (sequence + count) % _SEQUENCES


class Verdict(NamedTuple):
    """What the broker says to one batch: 0 and the first offset, or an error code."""

    code: int
    offset: int


def produce_request(batches: Iterable[tuple[Partition, Batch[Any]]], timeout: float) -> Any:
    """One acks=all request with a batch per partition."""
    topics: dict[str, list[tuple[int, bytes]]] = {}
    for partition, batch in batches:
        topics.setdefault(partition.topic, []).append((partition.number, batch.data))
    return ProduceRequest(None, required_acks=-1, timeout=int(timeout * 1000), topics=list(topics.items()))


def verdicts(answer: Any) -> dict[Partition, Verdict]:
    """The broker's word on each partition of a :func:`produce_request`."""
    return {
        Partition(topic, number): Verdict(code, offset)
        for topic, partitions in answer.topics
        for number, code, offset, *_ in partitions
    }
