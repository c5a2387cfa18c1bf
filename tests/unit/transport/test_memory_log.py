"""A partition in memory: offsets, bounds, compaction, and the fence of a Kafka broker."""

from __future__ import annotations

import pytest

from orchestra.errors import FenceBreachedError, FencedError, OffsetLostError
from orchestra.transport.memory_log import PartitionLog, Writer
from orchestra.transport.port import Bounds, Partition

OLD, NEW = 3, 4


def put(log: PartitionLog, key: bytes, value: bytes | None = b"v", writer: Writer | None = None) -> int:
    return log.append(key, value, [], 0, writer=writer)


@pytest.fixture
def log() -> PartitionLog:
    return PartitionLog(Partition("t", 0))


def kept(log: PartitionLog) -> list[tuple[int, bytes | None]]:
    return [(record.offset, record.value) for record in log.records]


def test_offsets_count_from_zero(log: PartitionLog) -> None:
    assert [put(log, b"k") for _ in range(3)] == [0, 1, 2]
    assert log.bounds == Bounds(0, 3)


def test_read_goes_on_where_it_ended(log: PartitionLog) -> None:
    for number in range(5):
        put(log, b"k", b"%d" % number)

    first, place = log.read(0, 3)
    rest, end = log.read(place, 3)

    assert [record.offset for record in first] == [0, 1, 2]
    assert [record.offset for record in rest] == [3, 4]
    assert end == 5


def test_deleting_moves_the_start_and_never_back(log: PartitionLog) -> None:
    for _ in range(5):
        put(log, b"k")

    log.delete_before(3)
    log.delete_before(1)

    assert log.bounds == Bounds(3, 5)
    with pytest.raises(OffsetLostError) as caught:
        log.read(2, 1)
    assert caught.value.lost == {("t", 0): 2}


def test_nothing_is_read_or_deleted_beyond_the_end(log: PartitionLog) -> None:
    put(log, b"k")

    with pytest.raises(OffsetLostError):
        log.read(2, 1)
    with pytest.raises(OffsetLostError):
        log.delete_before(2)


def test_compaction_keeps_the_newest_of_a_key_and_its_offset(log: PartitionLog) -> None:
    for key, value in ((b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"b", None)):
        put(log, key, value)

    log.compact()

    assert kept(log) == [(2, b"3"), (3, None)]
    assert log.bounds == Bounds(0, 4)


def test_nulls_go_only_when_asked_for(log: PartitionLog) -> None:
    put(log, b"a", None)
    put(log, b"b", b"1")

    log.compact(drop_nulls=True)

    assert kept(log) == [(1, b"1")]
    assert log.read(0, 10)[1] == 2


def test_compaction_leaves_what_is_not_yet_to_be_cleaned(log: PartitionLog) -> None:
    for value in (b"1", b"2", b"3", b"4"):
        put(log, b"a", value)

    log.compact(before=2)

    assert kept(log) == [(1, b"2"), (2, b"3"), (3, b"4")]


def test_older_epoch_is_refused_after_a_record_of_a_newer_one(log: PartitionLog) -> None:
    put(log, b"k", writer=Writer(7, OLD, 0))
    put(log, b"k", writer=Writer(7, NEW, 0))

    with pytest.raises(FencedError):
        put(log, b"k", writer=Writer(7, OLD, 1))
    assert log.end == 2


def test_another_producer_id_is_not_concerned(log: PartitionLog) -> None:
    put(log, b"k", writer=Writer(7, NEW, 0))

    assert put(log, b"k", writer=Writer(8, 0, 0)) == 1


def test_known_sequence_is_acknowledged_and_not_stored(log: PartitionLog) -> None:
    for sequence in range(3):
        put(log, b"k", writer=Writer(7, OLD, sequence))

    assert put(log, b"lost", writer=Writer(7, OLD, 0)) == 0
    assert log.end == 3


def test_sequence_that_was_forgotten_or_skipped_is_refused(log: PartitionLog) -> None:
    for sequence in range(10):
        put(log, b"k", writer=Writer(7, OLD, sequence))

    for sequence in (0, 11):
        with pytest.raises(FenceBreachedError):
            put(log, b"k", writer=Writer(7, OLD, sequence))


def test_new_epoch_begins_at_sequence_zero(log: PartitionLog) -> None:
    put(log, b"k", writer=Writer(7, OLD, 0))

    with pytest.raises(FenceBreachedError):
        put(log, b"k", writer=Writer(7, NEW, 1))


def test_fence_outlives_compaction_and_deletion(log: PartitionLog) -> None:
    put(log, b"k", writer=Writer(7, OLD, 0))
    put(log, b"k", writer=Writer(7, NEW, 0))
    log.compact(drop_nulls=True)
    log.delete_before(2)

    with pytest.raises(FencedError):
        put(log, b"k", writer=Writer(7, OLD, 1))


def test_zombie_is_let_in_when_the_broker_has_forgotten_and_the_owner_notices(log: PartitionLog) -> None:
    put(log, b"k", writer=Writer(7, OLD, 0))
    put(log, b"k", writer=Writer(7, NEW, 0))

    log.expire_producers()

    assert put(log, b"zombie", writer=Writer(7, OLD, 1)) == 2
    with pytest.raises(FenceBreachedError):
        put(log, b"k", writer=Writer(7, NEW, 1))


def test_watchers_are_told_until_they_stop(log: PartitionLog) -> None:
    calls: list[int] = []
    log.watch("me", lambda: calls.append(log.end))
    put(log, b"k")
    log.unwatch("me")
    put(log, b"k")

    assert calls == [1]
