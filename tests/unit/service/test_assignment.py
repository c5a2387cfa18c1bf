"""Shares come and go; what is paused, and what a position may be believed for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from orchestra.errors import UnreachableError
from orchestra.service.assignment import Assignment
from orchestra.service.offsets import Place
from orchestra.service.share import Share
from orchestra.transport.port import Committed, Partition

ONE, TWO = Partition("orders", 0), Partition("orders", 1)


class Consumer:
    """What an assignment asks of a consumer."""

    def __init__(self, **places: Committed | None) -> None:
        self.places = places
        self.paused: set[Partition] = set()
        self.positions: dict[Partition, int] = {}
        self.is_away = False

    async def committed(self, partition: Partition) -> Committed | None:
        if self.is_away:
            raise UnreachableError("away")
        return self.places.get(f"p{partition.number}")

    def position(self, partition: Partition) -> int | None:
        return self.positions.get(partition)

    def pause(self, partitions: Collection[Partition]) -> None:
        self.paused |= set(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        self.paused -= set(partitions)


async def nothing(shares: Collection[Share]) -> None: ...


async def assigned(consumer: Any) -> Assignment:
    assignment = Assignment(nothing, nothing, high_water=8, ahead=32)
    assignment.consumer = consumer
    await assignment.on_assigned([ONE, TWO])
    return assignment


async def test_share_begins_at_the_committed_place_with_what_is_done_above_it() -> None:
    note = Place(5, frozenset({7})).note()
    assignment = await assigned(Consumer(p0=Committed(5, note)))

    tracker = assignment.shares[ONE].tracker
    assert tracker.admit(5)
    assert tracker.admit(6)
    assert not tracker.admit(7)
    assert assignment.shares[TWO].tracker.place() is None


async def test_place_that_cannot_be_read_costs_repeats_and_loses_nothing() -> None:
    consumer = Consumer(p0=Committed(5, Place(5, frozenset({7})).note()))
    consumer.is_away = True
    assignment = await assigned(consumer)

    assert all(assignment.shares[ONE].tracker.admit(offset) for offset in (5, 6, 7))


async def test_pause_does_not_outlive_the_share_that_asked_for_it() -> None:
    consumer = Consumer()
    assignment = await assigned(consumer)
    assignment.pause_hogs()
    assert consumer.paused == {ONE, TWO}

    await assignment.on_revoked([ONE, TWO])
    await assignment.on_assigned([ONE])

    assert consumer.paused == {TWO}


async def test_only_hogs_are_paused_where_that_makes_room() -> None:
    consumer = Consumer()
    assignment = await assigned(consumer)
    assignment.shares[ONE].queued = 8

    assignment.pause_hogs()
    assert consumer.paused == {ONE}
    assert assignment.paused_queued() == 8

    assignment.shares[ONE].queued = 5
    assignment.resume_emptied()
    assert consumer.paused == {ONE}
    assignment.shares[ONE].queued = 4
    assignment.resume_emptied()
    assert consumer.paused == set()


async def test_partition_far_ahead_of_its_base_is_paused_until_the_base_follows() -> None:
    consumer = Consumer()
    assignment = await assigned(consumer)
    tracker = assignment.shares[ONE].tracker
    for offset in range(20_000):
        tracker.admit(offset)
        if offset:
            tracker.done(offset)

    assignment.pause_far([assignment.shares[ONE]])
    assert consumer.paused == {ONE}
    assignment.resume_emptied()
    assert consumer.paused == {ONE}

    tracker.done(0)
    assignment.resume_emptied()
    assert consumer.paused == set()


async def test_position_is_passed_over_where_all_is_done() -> None:
    consumer = Consumer(p0=Committed(5))
    assignment = await assigned(consumer)
    consumer.positions = {ONE: 9}

    assignment.pass_over_idle()

    assert assignment.shares[ONE].tracker.base == 9


async def test_position_of_a_draining_share_is_not_believed_because_its_records_are_thrown_away() -> None:
    consumer = Consumer(p0=Committed(5))
    assignment = await assigned(consumer)
    consumer.positions = {ONE: 9}
    assignment.shares[ONE].is_draining = True

    assignment.pass_over_idle()

    assert assignment.shares[ONE].tracker.base == 5


async def test_share_that_came_back_meanwhile_is_not_forgotten_with_the_old_one() -> None:
    consumer = Consumer()
    assignment = await assigned(consumer)

    async def reassigned_meanwhile(shares: Collection[Share]) -> None:
        await assignment.on_assigned([ONE])

    assignment._leave = reassigned_meanwhile
    old = assignment.shares[ONE]
    await assignment.on_revoked([ONE])

    assert assignment.shares[ONE] is not old
