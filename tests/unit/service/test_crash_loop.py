"""A record that ends its process is found after a few deaths, and nothing else is blamed."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from orchestra.service.context import Context
from orchestra.service.crash_loop import ALONE, MARKED, Suspicion
from orchestra.service.offsets import Place, read_place
from orchestra.service.service import Service
from orchestra.transport.partitioner import partition_for
from orchestra.transport.port import Partition
from tests.unit.service.rig import Placed, Rig

# ---- on plain values


def test_each_owner_writes_one_death_more_than_it_found() -> None:
    assert [Suspicion(Place(7, restarts=found), 1024).restarts for found in range(5)] == [1, 2, 3, 4, 5]


def test_fewer_records_are_begun_ahead_the_more_owners_died() -> None:
    gates = [Suspicion(Place(100, restarts=found), 1024).gate(100) for found in range(6)]

    assert gates == [None, 164, 116, 104, 100, 100]


def test_place_that_moves_clears_the_suspicion_once_it_is_beyond_what_was_begun_before_the_last_death() -> None:
    unsuspected = Suspicion(Place(100, restarts=0), 1024)
    unsuspected.moved(101)
    assert unsuspected.restarts == 0

    careful = Suspicion(Place(100, restarts=2), 1024)  # the last owner had begun 64
    careful.moved(163)
    assert careful.restarts == 3
    careful.moved(164)
    assert careful.restarts == 0


def test_owner_that_gives_its_partition_up_alive_counts_for_nothing() -> None:
    assert [Suspicion(Place(7, restarts=found), 1024).left() for found in range(7)] == [0, 1, 2, 3, 4, ALONE, ALONE]


def test_mark_means_that_the_record_at_the_place_ran_alone() -> None:
    assert Suspicion(Place(7, restarts=MARKED), 1024).condemned == 7
    assert Suspicion(Place(7, restarts=ALONE), 1024).condemned is None


def test_mark_is_about_one_record_and_no_other() -> None:
    suspicion = Suspicion(Place(7, restarts=ALONE), 1024)

    suspicion.runs_alone(7)
    assert [suspicion.word(7), suspicion.word(8)] == [MARKED, ALONE]
    suspicion.runs_alone(None)
    assert suspicion.word(7) == ALONE


# ---- in a service


def orders(count: int, *, partitions: int, only: int) -> list[Placed]:
    """Orders of one partition, each with a key of its own."""
    found: list[Placed] = []
    number = 0
    while len(found) < count:
        if partition_for(str(number).encode(), partitions) == only:
            found.append(Placed(order_id=str(number)))
        number += 1
    return found


@pytest.mark.virtual_time
@pytest.mark.parametrize("place", [0, 37, 299])
async def test_record_that_kills_every_process_is_dead_lettered_after_a_few_restarts_and_all_others_are_handled(
    place: int,
) -> None:
    rig = Rig()
    records = orders(300, partitions=4, only=1)
    killer = records[place].order_id
    others = orders(100, partitions=4, only=2)
    handled: Counter[str] = Counter()
    died = asyncio.Event()

    def service() -> Service:
        stock = Service("stock")

        @stock.on(Placed)
        async def placed(event: Placed, ctx: Context) -> None:
            if event.order_id == killer:
                died.set()
                await asyncio.Event().wait()
            await asyncio.sleep(0.001)
            handled[event.order_id] += 1

        return stock

    deaths = 0
    waiting = [*records, *others]
    while True:
        died.clear()
        process = rig.process(service())
        await process.start()
        if waiting:
            await rig.send(*waiting)
            waiting = []
        ends = asyncio.create_task(process.idle())
        dies = asyncio.create_task(died.wait())
        await asyncio.wait({ends, dies}, return_when=asyncio.FIRST_COMPLETED)
        ends.cancel()
        dies.cancel()
        if not died.is_set():
            break
        await process.crash()
        deaths += 1
        assert deaths < 20
        await asyncio.sleep(60)  # its session ends

    assert deaths <= 9
    [letter] = rig.letters()
    assert letter["reason"] == "CRASH_LOOP"
    assert rig.records("stock.dead-letters")[0].key == killer.encode()
    assert set(handled) == {order.order_id for order in (*records, *others)} - {killer}
    await asyncio.sleep(90)
    await process.stop()
    assert rig.lag("shop.orders") == 0
    assert all(read_place(c.offset, c.metadata).restarts == 0 for c in rig.cluster.group("stock").committed.values())


@pytest.mark.virtual_time
async def test_process_that_is_killed_while_it_has_nothing_to_do_makes_nobody_suspect() -> None:
    rig = Rig()
    service = Service("stock")

    @service.on(Placed)
    async def placed(event: Placed) -> None: ...

    for _ in range(8):
        process = rig.process(service)
        await process.start()
        await asyncio.sleep(90)
        await process.crash()
        await asyncio.sleep(60)
    async with rig.running(service) as process:
        assert all(share.suspicion.restarts == 1 for share in process.runtime._assignment.shares.values())
        await rig.send(*orders(10, partitions=4, only=1))
        await process.idle()
    assert rig.letters() == []


@pytest.mark.virtual_time
async def test_restarts_in_good_order_make_nobody_suspect_however_long_a_record_takes() -> None:
    rig = Rig()
    service = Service("stock")

    @service.on(Placed)
    async def placed(event: Placed) -> None:
        await asyncio.sleep(40)  # longer than a stop waits

    for round_ in range(8):
        async with rig.running(service):
            if not round_:
                await rig.send(*orders(2, partitions=4, only=1))
            await asyncio.sleep(5)
    place = rig.cluster.group("stock").committed[Partition("shop.orders", 1)]
    assert read_place(place.offset, place.metadata).restarts == 0


@pytest.mark.virtual_time
async def test_what_comes_behind_a_killer_under_its_key_and_beside_it_is_not_blamed() -> None:
    rig = Rig()
    keys = [order.order_id for partition in range(4) for order in orders(3, partitions=4, only=partition)]
    records = [Placed(order_id=key, note=str(number)) for number in range(12) for key in keys]
    killer = records[len(keys) * 5]
    handled: set[tuple[str, str]] = set()
    died = asyncio.Event()
    deaths = 0

    while deaths < 20:
        service = Service("stock")

        @service.on(Placed)
        async def placed(event: Placed) -> None:
            if event == killer:
                died.set()
                await asyncio.Event().wait()
            await asyncio.sleep(0.01)
            handled.add((event.order_id, event.note))

        died.clear()
        process = rig.process(service)
        await process.start()
        if not deaths:
            await rig.send(*records)
        ends, dies = asyncio.create_task(process.idle()), asyncio.create_task(died.wait())
        await asyncio.wait({ends, dies}, return_when=asyncio.FIRST_COMPLETED)
        ends.cancel()
        dies.cancel()
        if not died.is_set():
            break
        await process.crash()
        deaths += 1
        await asyncio.sleep(60)
    await process.stop()

    assert [letter["reason"] for letter in rig.letters()] == ["CRASH_LOOP"]
    assert handled == {(record.order_id, record.note) for record in records if record != killer}
