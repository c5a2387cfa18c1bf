"""A lane's sequence numbers follow what the broker has stored, and a doubtful identity is never used again."""

from __future__ import annotations

import asyncio

from orchestra.transport.kafka.batch import BATCH_BYTES
from orchestra.transport.kafka.lane import Lane
from orchestra.transport.kafka.waiting import Waiting
from orchestra.transport.port import Identity, Outgoing, Partition

IDENTITY = Identity(1, 0)


def waiting(value: bytes = b"v", deadline: float = 30.0) -> Waiting:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    return Waiting(Outgoing("t", b"k", value), future, deadline, len(value))


def lane_with(*each: Waiting) -> Lane:
    lane = Lane(Partition("t", 0))
    lane.identity = IDENTITY
    lane.waiting.extend(each)
    return lane


def load(lane: Lane) -> list[bytes | None]:
    batch = lane.load(lambda _: None)
    return [each.record.value for each in batch.parts] if batch else []


async def test_sequence_moves_on_only_when_stored() -> None:
    lane = lane_with(waiting(b"1"), waiting(b"2"))
    load(lane)
    lane.refused()
    assert lane.sequence == 0

    lane.waiting.append(waiting(b"3"))
    load(lane)
    lane.stored()

    assert lane.sequence == 1
    assert lane.identity == IDENTITY


async def test_batch_under_way_is_loaded_again_as_it_is() -> None:
    lane = lane_with(waiting(b"1"))
    first = lane.load(lambda _: None)
    lane.waiting.append(waiting(b"2"))

    assert lane.load(lambda _: None) is first


async def test_nothing_is_loaded_without_an_identity() -> None:
    lane = lane_with(waiting())
    lane.identity = None

    assert load(lane) == []


async def test_records_put_back_come_first_and_one_by_one() -> None:
    lane = lane_with(waiting(b"1"), waiting(b"2"))
    load(lane)
    lane.waiting.append(waiting(b"3"))
    lane.put_back(singly=True)

    loaded: list[list[bytes | None]] = []
    for _ in range(3):
        loaded.append(load(lane))
        lane.stored()

    assert loaded == [[b"1"], [b"2"], [b"3"]]


async def test_what_the_broker_did_not_store_counts_as_not_sent_until_it_leaves_again() -> None:
    part = waiting(b"1")
    lane = lane_with(part)
    load(lane)
    lane.depart()
    assert (part.is_sent, lane.attempts) == (True, 1)

    lane.put_back(singly=False)
    assert not part.is_sent

    load(lane)
    lane.depart()
    lane.came_back()
    assert (part.is_sent, lane.attempts) == (False, 0)


async def test_burnt_identity_is_remembered_and_the_sequence_begins_anew() -> None:
    lane = lane_with(waiting(b"1"))
    load(lane)
    lane.stored()

    lane.burn()

    assert (lane.burnt, lane.identity, lane.sequence, lane.batch) == (IDENTITY, None, 0, None)


async def test_lingering_lane_is_due_when_its_oldest_has_waited_or_it_is_full() -> None:
    lane = lane_with(waiting(deadline=130.0))

    assert lane.due(linger=0.0, delivery_timeout=30.0) == 0.0
    assert lane.due(linger=5.0, delivery_timeout=30.0) == 105.0
    lane.waiting.append(waiting(b"x" * BATCH_BYTES))
    assert lane.due(linger=5.0, delivery_timeout=30.0) == 0.0


async def test_expired_are_those_whose_time_is_up_under_way_or_waiting() -> None:
    lane = lane_with(waiting(b"1", 10.0))
    load(lane)
    lane.waiting.extend([waiting(b"2", 11.0), waiting(b"3", 12.0)])

    assert [each.record.value for each in lane.expired(11.0)] == [b"1", b"2"]
