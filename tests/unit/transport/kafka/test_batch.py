"""Records are encoded once, with the pair that fences them, and come out as they went in."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from aiokafka.record.memory_records import MemoryRecords

from orchestra.errors import TransportError
from orchestra.transport.kafka.batch import BATCH_BYTES, Batch, next_sequence, take_batch, verdicts
from orchestra.transport.kafka.waiting import Waiting
from orchestra.transport.port import Headers, Identity, Outgoing, Partition

IDENTITY = Identity(4711, 12)


def waiting(value: bytes | None = b"v", headers: Headers = (), key: Any = b"k") -> Waiting:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    return Waiting(Outgoing("t", key, value, headers, 0, timestamp_ms=123), future, 10.0, 1)


def take(queue: deque[Waiting], dropped: list[Waiting] | None = None, **options: int) -> Batch | None:
    gone = [] if dropped is None else dropped
    return take_batch(queue, IDENTITY, 7, dropped=gone.append, **options)


def unpacked(batch: Batch) -> Any:
    memory = MemoryRecords(batch.data)
    read = memory.next_batch()
    assert read is not None
    assert read.validate_crc()
    return read


async def test_batch_carries_the_pair_and_its_sequence() -> None:
    batch = take(deque([waiting(), waiting()]))

    assert batch is not None
    read = unpacked(batch)
    assert (read.producer_id, read.producer_epoch, read.base_sequence) == (4711, 12, 7)
    assert not read.is_transactional
    assert len(list(read)) == 2


async def test_records_come_out_as_they_went_in() -> None:
    headers = (("a", None), ("a", b""), ("\u00fc", b"\xff"))

    batch = take(deque([waiting(None, headers), waiting(b"", key=None)]))

    assert batch is not None
    first, second = unpacked(batch)
    assert (first.key, first.value, tuple(first.headers), first.timestamp) == (b"k", None, headers, 123)
    assert (second.key, second.value, tuple(second.headers)) == (None, b"", ())


async def test_full_batch_leaves_the_rest_waiting() -> None:
    queue = deque(waiting(b"x" * 1000) for _ in range(1000))

    batch = take(queue)

    assert batch is not None
    assert len(batch.parts) + len(queue) == 1000
    assert BATCH_BYTES - 2000 < len(batch.data) <= BATCH_BYTES


async def test_record_larger_than_a_batch_goes_alone() -> None:
    queue = deque([waiting(b"x" * 2 * BATCH_BYTES), waiting()])

    batch = take(queue)

    assert batch is not None
    assert len(batch.parts) == 1
    assert len(queue) == 1


async def test_no_more_are_taken_than_asked_for() -> None:
    queue = deque(waiting() for _ in range(3))

    batch = take(queue, most_parts=1)

    assert batch is not None
    assert len(batch.parts) == 1


async def test_what_was_given_up_is_dropped() -> None:
    queue, dropped = deque([waiting(b"1"), waiting(b"2")]), list[Waiting]()
    queue[0].future.cancel()

    batch = take(queue, dropped)

    assert batch is not None
    assert [each.record.value for each in batch.parts] == [b"2"]
    assert [each.record.value for each in dropped] == [b"1"]


async def test_record_that_cannot_be_encoded_fails_alone() -> None:
    bad: list[Waiting] = [waiting(headers=[("\ud800", b"x")]), waiting(key="text"), waiting(headers=[("a", "text")])]  # type: ignore[list-item]
    queue, dropped = deque([waiting(b"1"), *bad, waiting(b"2")]), list[Waiting]()

    batch = take(queue, dropped)

    assert batch is not None
    assert [record.value for record in unpacked(batch)] == [b"1", b"2"]
    assert dropped == bad
    assert {type(each.future.exception()) for each in bad} == {TransportError}


async def test_nothing_to_take_is_no_batch() -> None:
    given_up = waiting()
    given_up.future.cancel()

    assert take(deque([given_up])) is None


def test_sequence_wraps_as_kafkas_does() -> None:
    assert next_sequence(2**31 - 2, 3) == 1


def test_verdict_is_read_from_every_version_of_the_answer() -> None:
    class Answer:
        topics = (("t", [(0, 0, 17, -1, 0), (1, 10, -1, -1)]),)

    assert verdicts(Answer()) == {Partition("t", 0): (0, 17), Partition("t", 1): (10, -1)}
