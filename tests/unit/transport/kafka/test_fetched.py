"""Records taken from aiokafka's fetcher are those that aiokafka would give, and none is lost when something fails."""

from __future__ import annotations

import gc
import struct
import weakref
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, FetchError, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import CorruptRecordException, OffsetOutOfRangeError
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra.transport.kafka.fetched import Fetched, Unpacked, unpack
from orchestra.transport.kafka.odd_names import OddNamesError, readable
from orchestra.transport.port import Record
from tests.unit.transport.kafka.stored_batches import APPEND_TIME, CONTROL, TRANSACTIONAL, batch, with_names

P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)
_ABORT, _COMMIT = 0, 1


def marker(offset: int, kind: int, producer: int) -> bytes:
    return batch(offset, producer=producer, flags=TRANSACTIONAL | CONTROL, key=struct.pack(">hh", 0, kind))


def damaged(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


def theirs(raw: bytes, *, first: int = 0, aborted: Sequence[tuple[int, int]] = (), place: Any = P0) -> Any:
    return PartitionRecords(place, MemoryRecords(raw), list(aborted), first, None, None, True, READ_COMMITTED)


def offsets(records: Sequence[Record]) -> list[int]:
    return [record.offset for record in records]


class Reading:
    """A fetcher of aiokafka's, into which tests put what a broker would have answered."""

    def __init__(self) -> None:
        self.subscriptions = SubscriptionState()
        self.subscriptions.assign_from_user({P0, P1})
        self.assignment = self.subscriptions.subscription.assignment
        self.fetcher = Fetcher(AIOKafkaClient(), self.subscriptions, isolation_level="read_committed")
        self.fetcher._fetch_task.cancel()
        coordinator = SimpleNamespace(check_errors=lambda: None)
        client = SimpleNamespace(_fetcher=self.fetcher, _coordinator=coordinator, _subscription=self.subscriptions)
        self.fetched = Fetched(client)

    def put(self, place: TopicPartition, raw: bytes, *, at: int = 0) -> None:
        self.subscriptions.seek(place, at)
        self.fetcher._records[place] = FetchResult(
            place, assignment=self.assignment, partition_records=theirs(raw, first=at, place=place), backoff=0
        )

    def fail(self, place: TopicPartition, error: Exception) -> None:
        self.fetcher._records[place] = FetchError(error=error, backoff=0)

    def position(self, place: TopicPartition) -> int:
        return int(self.assignment.state_value(place).position)


@pytest.fixture
async def reading() -> AsyncIterator[Reading]:
    made = Reading()
    yield made
    await made.fetcher.close()


async def test_records_come_in_order_and_no_more_than_wanted(reading: Reading) -> None:
    reading.put(P0, batch(0, 3) + batch(3, 2))

    assert offsets(reading.fetched.take(2)) == [0, 1]
    assert reading.position(P0) == 2
    assert offsets(reading.fetched.take(2)) == [2, 3]
    assert offsets(reading.fetched.take(2)) == [4]
    assert reading.fetched.take(2) == []
    assert reading.position(P0) == 5


async def test_record_is_whole(reading: Reading) -> None:
    reading.put(P0, batch(7, flags=APPEND_TIME), at=7)

    (record,) = reading.fetched.take(10)

    assert (record.topic, record.partition, record.offset) == ("t", 0, 7)
    assert (record.key, record.value, list(record.headers)) == (b"k", b"7", [("hh", b"1")])
    assert (record.timestamp_ms, record.append_time) == (1000, True)


async def test_batch_that_began_before_the_place_is_read_from_the_place_on(reading: Reading) -> None:
    reading.put(P0, batch(0, 5), at=3)
    assert offsets(reading.fetched.take(10)) == [3, 4]


async def test_position_passes_over_offsets_that_compaction_took(reading: Reading) -> None:
    reading.put(P0, batch(0, 2, deltas=10))

    assert offsets(reading.fetched.take(2)) == [0, 1]
    assert reading.position(P0) == 10


async def test_fetcher_may_ask_for_more_when_all_is_taken(reading: Reading) -> None:
    reading.put(P0, batch(0, 2))

    reading.fetched.take(1)
    assert P0 in reading.fetcher._records
    reading.fetched.take(1)
    assert P0 not in reading.fetcher._records


async def test_paused_partition_gives_nothing_and_keeps_what_was_fetched(reading: Reading) -> None:
    reading.put(P0, batch(0, 4))
    reading.put(P1, batch(0, 1))
    reading.fetched.take(1)
    reading.subscriptions.pause(P0)

    assert [record.partition for record in reading.fetched.take(10)] == [1]

    waiter = reading.fetched.more()
    reading.subscriptions.resume(P0)
    reading.fetched.wake()
    assert waiter.done()
    assert offsets(reading.fetched.take(10)) == [1, 2, 3]


async def test_what_was_fetched_before_a_seek_is_thrown_away(reading: Reading) -> None:
    reading.put(P0, batch(0, 4))
    reading.fetched.take(1)
    reading.subscriptions.seek(P0, 3)

    assert reading.fetched.take(10) == []
    assert P0 not in reading.fetcher._records


async def test_nothing_of_an_assignment_that_is_over_is_given(reading: Reading) -> None:
    reading.put(P0, batch(0, 4))
    reading.assignment._unassign()

    assert reading.fetched.take(10) == []


async def test_failed_partition_costs_no_record_of_another(reading: Reading) -> None:
    reading.put(P0, batch(0, 2))
    reading.fail(P1, OffsetOutOfRangeError({P1: 5}))

    assert offsets(reading.fetched.take(10)) == [0, 1]
    with pytest.raises(OffsetOutOfRangeError):
        reading.fetched.take(10)
    assert reading.fetched.take(10) == []


async def test_records_before_a_damaged_batch_are_given_and_the_rest_is_fetched_again(reading: Reading) -> None:
    reading.put(P0, batch(0, 2) + damaged(batch(2, 2)))

    assert offsets(reading.fetched.take(10)) == [0, 1]
    with pytest.raises(CorruptRecordException):
        reading.fetched.take(10)
    assert reading.position(P0) == 2
    assert P0 not in reading.fetcher._records


async def test_failure_of_the_group_is_raised(reading: Reading) -> None:
    def refuse() -> None:
        raise CorruptRecordException

    reading.fetched._coordinator.check_errors = refuse
    with pytest.raises(CorruptRecordException):
        reading.fetched.take(1)


def test_records_of_the_old_format_are_read() -> None:
    builder = LegacyRecordBatchBuilder(1, 0, 1 << 20)
    builder.append(0, 1234, b"k", b"v")

    (record,) = unpack(MemoryRecords(bytes(builder.build())).next_batch(), "t", 0, 0)

    assert (record.key, record.value, record.headers, record.timestamp_ms) == (b"k", b"v", (), 1234)
    assert not record.append_time


# ---- names of headers that are no UTF-8


async def test_batch_with_an_odd_name_is_asked_for_in_another_form_and_nothing_is_lost(reading: Reading) -> None:
    odd = with_names(batch(2, 2), b"h\xfc")
    reading.put(P0, batch(0, 2) + odd + batch(4, 1))

    assert offsets(reading.fetched.take(10)) == [0, 1]
    with pytest.raises(OddNamesError) as caught:
        reading.fetched.take(10)
    assert (caught.value.partition, caught.value.base_offset) == (P0, 2)
    reading.fetched.mend(caught.value, readable(odd, 2))

    records = reading.fetched.take(10)
    assert offsets(records) == [2, 3, 4]
    assert list(records[0].headers) == [("h?", b"1")]
    assert reading.position(P0) == 5


async def test_batch_that_cannot_be_had_in_another_form_is_fetched_again(reading: Reading) -> None:
    reading.put(P0, with_names(batch(0, 2), b"h\xfc"))

    with pytest.raises(OddNamesError) as caught:
        reading.fetched.take(10)
    reading.fetched.mend(caught.value, None)

    assert reading.position(P0) == 0
    assert P0 not in reading.fetcher._records


async def test_what_comes_too_late_is_passed_over(reading: Reading) -> None:
    odd = with_names(batch(0, 2), b"h\xfc")
    reading.put(P0, odd)
    with pytest.raises(OddNamesError) as caught:
        reading.fetched.take(10)
    reading.put(P0, batch(7, 1), at=7)

    reading.fetched.mend(caught.value, readable(odd, 0))

    assert offsets(reading.fetched.take(10)) == [7]


# ---- aiokafka's own opinion


@st.composite
def logs(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int]]]:
    """Batches of plain and transactional producers with their markers, and the aborted transactions among them."""
    raw, offset, aborted, running = b"", 0, [], dict[int, int]()
    for _ in range(draw(st.integers(1, 8))):
        producer = draw(st.sampled_from([-1, 7, 8]))
        kind = draw(st.sampled_from(["records", "records", "abort", "commit"]))
        if kind == "records" or producer not in running:
            count = draw(st.integers(1, 4))
            if producer >= 0:
                running.setdefault(producer, offset)
            gap = draw(st.integers(0, 2))
            flags = 0 if producer < 0 else TRANSACTIONAL
            raw += batch(offset, count, producer=producer, flags=flags, deltas=count + gap)
            offset += count + gap
        else:
            began = running.pop(producer)
            if kind == "abort":
                aborted.append((producer, began))
            raw += marker(offset, _ABORT if kind == "abort" else _COMMIT, producer)
            offset += 1
    return raw, aborted


@settings(max_examples=150, deadline=None)
@given(logs(), st.integers(0, 10), st.integers(1, 5))
def test_agrees_with_aiokafka_on_any_log(log: tuple[bytes, list[tuple[int, int]]], first: int, most: int) -> None:
    raw, aborted = log
    reference = theirs(raw, first=first, aborted=aborted)
    expected = [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in reference]

    ours = Unpacked(theirs(raw, first=first, aborted=aborted))
    found = list[Record]()
    while ours.has_more:
        some = ours.take(most)
        assert len(some) <= most
        assert not some or ours.next_fetch_offset > some[-1].offset
        found += some

    assert [(r.offset, r.timestamp_ms, r.key, r.value, tuple(r.headers)) for r in found] == expected
    assert ours.next_fetch_offset == reference.next_fetch_offset


def test_what_was_fetched_is_freed_when_it_is_used_up_and_not_when_the_collector_comes_by() -> None:
    chunk = theirs(batch(0) + batch(1))
    unpacked = Unpacked(chunk)
    assert offsets(unpacked.take(10)) == [0, 1]
    kept = weakref.ref(chunk)
    gc.disable()
    try:
        del chunk, unpacked
        assert kept() is None
    finally:
        gc.enable()
