"""Something is down: who is called meanwhile, and how does it go on?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestra.errors import DefinitionError, PermanentError
from orchestra.retry import Retry
from orchestra.service.context import Context
from orchestra.service.service import Service
from tests.unit.service.rig import Placed, Process, Reserve, Reserved, Rig, SoldOut, until

pytestmark = pytest.mark.virtual_time


class Broken(Exception):
    """What a client of ours says when its server is away."""


class Warehouse:
    """A dependency that can be switched off, and counts who calls it."""

    def __init__(self) -> None:
        self.is_down = False
        self.calls: list[tuple[float, bool]] = []
        self.under_way = self.most = 0

    async def call(self) -> None:
        self.calls.append((asyncio.get_running_loop().time(), self.is_down))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(0.01)
        finally:
            self.under_way -= 1
        if self.is_down:
            raise Broken("connection refused")

    @property
    def probes(self) -> list[float]:
        return [time for time, was_down in self.calls if was_down]


def stocked(warehouse: Warehouse, **options: Any) -> Service:
    """Commands need the warehouse; events do not."""
    service = Service("stock", **options)

    @service.resource(down_on=Broken)
    async def the_warehouse() -> AsyncIterator[Warehouse]:
        yield warehouse

    @service.handles(Reserve, retry=Retry(attempts=1))
    async def reserve(command: Reserve, ctx: Context, stock: Warehouse) -> Reserved | SoldOut:
        assert ctx.attempt == 1
        await stock.call()
        return Reserved(order_id=command.order_id)

    @service.on(Placed)
    async def watch(event: Placed) -> None: ...

    return service


def parked_for(process: Process) -> set[str]:
    shares = process.runtime._assignment.shares.values()
    return {lane.progress.why for share in shares for lane in share.parked if lane.progress is not None}


async def test_while_a_resource_is_down_one_probe_at_a_time_is_all_that_is_called() -> None:
    warehouse, rig = Warehouse(), Rig()
    async with rig.running(stocked(warehouse)) as process:
        warehouse.is_down = True
        for number in range(300):
            await rig.command(Reserve(order_id=f"{number}"), flow=f"food/{number}")
        await asyncio.sleep(0.1)
        first = len(warehouse.calls)
        warehouse.most = 0
        await asyncio.sleep(60)

        assert first <= 257, "what was under way, and perhaps a probe"
        assert 12 <= len(warehouse.calls) - first <= 25
        assert warehouse.most == 1
        assert max(b - a for a, b in zip(warehouse.probes, warehouse.probes[1:], strict=False)) <= 5.1
        assert parked_for(process) == {"waits for resource stocked.<locals>.the_warehouse: Broken: connection refused"}
        assert process.runtime.statistics().down == (
            "resource stocked.<locals>.the_warehouse: Broken: connection refused",
        )
        warehouse.is_down = False
        await process.idle()

    assert len(rig.answers()) == 300
    assert rig.letters() == []
    assert rig.lag("stock.commands") == 0
    assert process.runtime.statistics().down == ()


async def test_what_comes_back_is_not_run_over_by_everything_that_waited() -> None:
    warehouse, rig = Warehouse(), Rig()
    async with rig.running(stocked(warehouse)) as process:
        warehouse.is_down = True
        await rig.command(Reserve(order_id="first"), flow="food/first")
        await until(lambda: process.runtime.statistics().down)
        for number in range(200):
            await rig.command(Reserve(order_id=f"{number}"), flow=f"food/{number}")
        await asyncio.sleep(20)
        at_once: list[int] = []
        warehouse.is_down, warehouse.calls, warehouse.most = False, [], 0
        while len(rig.answers()) < 201:
            await asyncio.sleep(0.005)
            at_once.append(warehouse.under_way)

    steps = [count for index, count in enumerate(at_once) if count and count not in at_once[:index]]
    assert steps[:4] == [1, 2, 4, 8]


async def test_other_handlers_go_on_while_a_resource_is_down() -> None:
    warehouse, rig = Warehouse(), Rig()
    async with rig.running(stocked(warehouse)) as process:
        warehouse.is_down = True
        await rig.command(Reserve(order_id="1"))
        await until(lambda: process.runtime.statistics().down)
        await rig.send(*(Placed(order_id=f"{number}") for number in range(50)))
        await asyncio.sleep(5)

        assert rig.lag("shop.orders") == 0
        assert rig.lag("stock.commands") == 1
        warehouse.is_down = False


async def test_a_backlog_larger_than_the_window_is_worked_off_and_nothing_is_dead_lettered() -> None:
    warehouse, rig = Warehouse(), Rig()
    async with rig.running(stocked(warehouse)) as process:
        warehouse.is_down = True
        for number in range(3000):
            await rig.command(Reserve(order_id=f"{number % 700}"), flow=f"food/{number}")
        await asyncio.sleep(60)
        warehouse.is_down = False
        await until(lambda: rig.lag("stock.commands") == 0)

        assert process.runtime.statistics().handled == 3000
    assert rig.letters() == []


async def test_an_error_of_infrastructure_opens_the_circuit_of_its_handler_alone() -> None:
    service, rig, calls = Service("stock"), Rig(), list[str]()
    down = True

    @service.on(Placed)
    async def one(event: Placed) -> None:
        calls.append("one")
        if down:
            raise ConnectionRefusedError

    @service.on(Placed)
    async def other(event: Placed) -> None:
        calls.append("other")

    async with rig.running(service) as process:
        await rig.send(*(Placed(order_id=f"{number}") for number in range(40)))
        await asyncio.sleep(30)
        assert calls.count("other") == 40
        assert calls.count("one") < 55
        assert parked_for(process) == {"waits for handler stock.one: ConnectionRefusedError: "}
        down = False
        await process.idle()

    assert calls.count("other") == 40
    assert rig.letters() == []


async def test_one_record_whose_own_dependency_is_down_does_not_keep_the_others_for_long() -> None:
    service, rig, done = Service("stock"), Rig(), list[str]()

    @service.handles(Reserve)
    async def reserve(command: Reserve) -> Reserved | SoldOut:
        if command.order_id == "bad":
            raise ConnectionRefusedError
        done.append(command.order_id)
        return Reserved(order_id=command.order_id)

    async with rig.running(service):
        await rig.command(Reserve(order_id="bad"))
        for number in range(100):
            await rig.command(Reserve(order_id=f"{number}"), flow=f"food/{number}")
            await asyncio.sleep(0.5)
        await asyncio.sleep(1)

        assert len(done) == 100


async def test_an_answer_of_another_kind_proves_that_the_resource_is_back() -> None:
    warehouse, rig = Warehouse(), Rig()
    service = Service("stock")

    @service.resource(down_on=(Broken,))
    async def the_warehouse() -> AsyncIterator[Warehouse]:
        yield warehouse

    @service.handles(Reserve)
    async def reserve(command: Reserve, stock: Warehouse) -> Reserved | SoldOut:
        await stock.call()
        raise PermanentError("no such article")

    async with rig.running(service) as process:
        warehouse.is_down = True
        await rig.command(Reserve(order_id="1"))
        await asyncio.sleep(10)
        warehouse.is_down = False
        await process.idle()

        assert process.runtime.statistics().down == ()
    assert [letter["reason"] for letter in rig.letters()] == ["PERMANENT"]


async def test_the_policy_of_a_handler_says_last_what_an_error_means() -> None:
    warehouse, rig = Warehouse(), Rig()
    warehouse.is_down = True
    service = Service("stock")

    @service.resource(down_on=(Broken,))
    async def the_warehouse() -> AsyncIterator[Warehouse]:
        yield warehouse

    @service.handles(Reserve, retry=Retry(errors={Broken: "permanent"}))
    async def reserve(command: Reserve, stock: Warehouse) -> Reserved | SoldOut:
        await stock.call()
        return Reserved(order_id="1")

    async with rig.running(service) as process:
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    assert [letter["reason"] for letter in rig.letters()] == ["PERMANENT"]


async def test_a_probe_that_never_ends_is_followed_by_another() -> None:
    service, rig, calls = Service("stock"), Rig(), list[str]()
    hangs = False

    @service.handles(Reserve, timeout="1s")
    async def reserve(command: Reserve) -> Reserved | SoldOut:
        calls.append(command.order_id)
        if len(calls) == 1:
            raise ConnectionRefusedError
        if hangs and len(calls) == 2:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                await asyncio.sleep(3600)
        return Reserved(order_id=command.order_id)

    async with rig.running(service, grace=1.0) as process:
        hangs = True
        await rig.command(Reserve(order_id="a"))
        await until(lambda: calls)
        await rig.command(Reserve(order_id="b"), flow="food/2")
        await asyncio.sleep(60)

        assert process.runtime.statistics().down == ()
        assert process.runtime.statistics().abandoned == 1
    assert len(rig.letters()) == 1


async def test_a_partition_that_waits_for_what_is_down_is_given_up_at_once() -> None:
    warehouse, rig = Warehouse(), Rig()
    async with rig.running(stocked(warehouse)) as process:
        warehouse.is_down = True
        for number in range(20):
            await rig.command(Reserve(order_id=f"{number}"), flow=f"food/{number}")
        await asyncio.sleep(10)
        before = asyncio.get_running_loop().time()
        await process.stop()
        assert asyncio.get_running_loop().time() - before < 2

        warehouse.is_down = False
        async with rig.running(stocked(warehouse)) as after:
            await after.idle()
    assert len(rig.answers()) == 20


@pytest.mark.parametrize("wrong", ["Broken", (Broken, "x"), BaseException])
def test_what_a_resource_is_down_on_are_exception_classes(wrong: Any) -> None:
    service = Service("stock")

    async def the_warehouse() -> AsyncIterator[Warehouse]:
        yield Warehouse()

    with pytest.raises(DefinitionError, match="exception classes"):
        service.resource(down_on=wrong)(the_warehouse)
