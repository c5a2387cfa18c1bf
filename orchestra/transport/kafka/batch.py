"""How do records become one batch on the wire, and what does the broker say to it?

A batch is encoded once, with its producer id, epoch and first sequence number: repeated, it is the same bytes, and the
broker knows it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from orchestra.errors import TransportError
from orchestra.transport.port import Identity, Outgoing, Partition

BATCH_BYTES: Final = 256 * 1024
"""A batch holds about as much, or one record that is larger."""

_MAGIC, _NO_COMPRESSION, _NOT_TRANSACTIONAL = 2, 0, 0
_SEQUENCES = 1 << 31


class Waiting:
    """A record that is to be stored, and the future of its offset."""

    __slots__ = ("deadline", "future", "is_sent", "record", "size")

    def __init__(self, record: Outgoing, future: asyncio.Future[Any], deadline: float, size: int) -> None:
        self.record = record
        self.future = future
        self.deadline = deadline
        self.size = size
        self.is_sent = False
        """It may have reached a broker."""


class Batch:
    """Records that go to one partition together."""

    __slots__ = ("data", "records")

    def __init__(self, records: list[Waiting], data: bytes) -> None:
        self.records = records
        self.data = data

    def stored_at(self, base_offset: int) -> Iterable[tuple[Waiting, int]]:
        """Each record with its offset."""
        return zip(self.records, range(base_offset, base_offset + len(self.records)), strict=True)


def take_batch(
    waiting: deque[Waiting],
    identity: Identity,
    sequence: int,
    *,
    dropped: Callable[[Waiting], None],
    most_records: int = 1 << 20,
) -> Batch | None:
    """Take records from the left of ``waiting`` until a batch is full; None if none is left that anybody waits for.

    A record that cannot be encoded fails, and the others go on. ``dropped`` is told of each record that goes into no
    batch.
    """
    builder = DefaultRecordBatchBuilder(
        _MAGIC, _NO_COMPRESSION, _NOT_TRANSACTIONAL, identity.producer_id, identity.epoch, sequence, BATCH_BYTES
    )
    taken: list[Waiting] = []
    while waiting and len(taken) < most_records:
        each = waiting[0]
        record = each.record
        if each.future.done():  # it was given up before it left
            dropped(waiting.popleft())
            continue
        headers = record.headers if type(record.headers) is list else list(record.headers)
        try:
            fitted = builder.append(len(taken), record.timestamp_ms, record.key, record.value, headers)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            each.future.set_exception(TransportError(f"a record for {record.topic!r} cannot be encoded: {error}"))
            dropped(waiting.popleft())
            continue
        if fitted is None:
            break
        taken.append(waiting.popleft())
    return Batch(taken, bytes(builder.build())) if taken else None


def next_sequence(sequence: int, count: int) -> int:
    """The sequence number behind ``count`` records; it wraps as Kafka's does."""
    return (sequence + count) % _SEQUENCES


class Verdict(NamedTuple):
    """What the broker says to one batch: 0 and the first offset, or an error code."""

    code: int
    offset: int


def produce_request(batches: Iterable[tuple[Partition, Batch]], timeout: float) -> Any:
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
