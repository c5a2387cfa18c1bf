"""Does a running service tell idle from busy, paused and stuck? From its own facts to the row of ``/lag``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from orchestra.health.judge import Health, Limits
from orchestra.health.watch import Watch
from orchestra.retry import Retry
from orchestra.service.service import Service
from tests.unit.service.rig import Placed, Process, Rig

pytestmark = pytest.mark.virtual_time


class Looked:
    """A service in one process, and somebody who looks at it."""

    def __init__(self, rig: Rig, process: Process) -> None:
        self.process = process
        self._watch = Watch(
            process.transport.topics,
            lambda: ([process.runtime.health()], []),
            limits=Limits(),
            timeout=10.0,
            clock=rig.clock,
            on_stalled=lambda _: None,
        )
        self.watching = asyncio.create_task(self._watch.run())

    async def health(self) -> Health:
        await asyncio.sleep(1.1)  # so that the ends are asked for again
        return await self._watch.fresh_health(0.5)

    async def row(self) -> tuple[str, str | None]:
        """State and reason of the one partition."""
        (lag,) = (await self.health()).lag
        return lag.state, lag.why


@asynccontextmanager
async def looked_at(rig: Rig, service: Service) -> AsyncIterator[Looked]:
    async with rig.running(service, grace=1.0) as process:
        looked = Looked(rig, process)
        try:
            yield looked
        finally:
            looked.watching.cancel()


async def test_a_service_with_nothing_to_do_is_idle_alive_and_ready() -> None:
    rig, service = Rig(partitions=1), Service("stock")

    @service.on(Placed)
    async def placed(event: Placed) -> None:
        pass

    async with looked_at(rig, service) as looked:
        await rig.send(*(Placed(order_id=f"o{i}") for i in range(20)))
        await asyncio.sleep(600)
        health = await looked.health()

        (lag,) = health.lag
        assert (lag.state, lag.lag, lag.committed, lag.end, lag.age, lag.window) == ("idle", 0, 20, 20, None, 0)
        assert health.live.is_ok
        assert health.ready.is_ok


async def test_a_service_at_work_is_busy_and_the_age_is_that_of_its_oldest_record() -> None:
    rig, service = Rig(partitions=1), Service("stock")

    @service.on(Placed)
    async def placed(event: Placed) -> None:
        await asyncio.sleep(100 if event.note else 0)

    async with looked_at(rig, service) as looked:
        await rig.send(Placed(order_id="slow", note="slow"), Placed(order_id="quick"))
        await asyncio.sleep(30)
        (lag,) = (await looked.health()).lag

        assert (lag.state, lag.window, lag.lag) == ("busy", 1, 2)
        assert lag.age == pytest.approx(31, abs=1)


async def test_a_service_whose_dependency_is_down_is_paused_and_says_for_what_it_waits() -> None:
    rig, service = Rig(partitions=1), Service("stock")

    @service.on(Placed)
    async def placed(event: Placed) -> None:
        raise ConnectionRefusedError("stock database")

    async with looked_at(rig, service) as looked:
        await rig.send(*(Placed(order_id=f"o{i}") for i in range(5)))
        await asyncio.sleep(20)
        health = await looked.health()

        (lag,) = health.lag
        assert lag.state == "paused"
        assert lag.why is not None
        assert "stock database" in lag.why
        assert "5 records" in lag.why
        assert health.live.is_ok


async def test_a_record_that_waits_for_its_next_try_is_paused() -> None:
    rig, service = Rig(partitions=1), Service("stock")

    @service.on(Placed, retry=Retry(attempts=5, first="1h", cap="1h"))
    async def placed(event: Placed) -> None:
        raise ValueError("not now")

    async with looked_at(rig, service) as looked:
        await rig.send(Placed(order_id="o1"), Placed(order_id="o1"))
        await asyncio.sleep(10)
        state, why = await looked.row()

        assert state == "paused"
        assert why is not None
        assert "(2 records)" in why


async def test_a_partition_with_too_much_queued_is_paused_as_full() -> None:
    rig, service = Rig(partitions=1), Service("stock", max_in_flight=4)

    @service.on(Placed)
    async def placed(event: Placed) -> None:
        await asyncio.sleep(60)

    async with looked_at(rig, service) as looked:
        await rig.send(*(Placed(order_id=f"o{i}") for i in range(1500)))
        await asyncio.sleep(20)
        state, why = await looked.row()

        assert state == "paused"
        assert why is not None
        assert why.startswith("full: ")


async def test_a_handler_that_ignores_its_cancellation_is_stuck_and_later_makes_the_process_dead() -> None:
    rig, service = Rig(partitions=1), Service("stock")
    freed = asyncio.Event()

    @service.on(Placed, timeout="5s")
    async def placed(event: Placed) -> None:
        while not freed.is_set():
            try:
                await freed.wait()
            except asyncio.CancelledError:
                continue

    rig.settings = rig.settings.model_copy(update={"drain_timeout": 1.0})
    async with rig.running(service, grace=20.0) as process:
        looked = Looked(rig, process)
        await rig.send(Placed(order_id="o1"))
        await asyncio.sleep(10)
        assert await looked.row() == ("stuck", "handler stock.placed ignores its cancellation")
        await asyncio.sleep(60)
        given_up = await looked.health()
        await asyncio.sleep(60)
        dead = await looked.health()
        freed.set()
        await asyncio.sleep(10)
        ended = await looked.health()
        looked.watching.cancel()

    assert given_up.live.is_ok
    assert "handler stock.placed was given up" in dead.live.problems[0]
    assert ended.live.is_ok


async def test_a_service_that_drains_is_not_ready() -> None:
    rig, service = Rig(partitions=1), Service("stock")

    @service.on(Placed)
    async def placed(event: Placed) -> None:
        await asyncio.sleep(15)

    async with looked_at(rig, service) as looked:
        await rig.send(Placed(order_id="o1"))
        await asyncio.sleep(1)
        looked.process.runtime.stop()
        health = await looked.health()

        assert health.ready.problems == ("stock drains",)
        assert health.live.is_ok


async def test_brokers_that_are_away_for_minutes_leave_it_alive_and_it_is_ready_when_they_are_back() -> None:
    rig, service = Rig(partitions=1), Service("stock")

    @service.on(Placed)
    async def placed(event: Placed) -> None:
        pass

    async with looked_at(rig, service) as looked:
        await asyncio.sleep(10)
        rig.cluster.go_down()
        await asyncio.sleep(300)
        away = await looked.health()
        rig.cluster.come_back()
        await asyncio.sleep(60)
        back = await looked.health()

        assert away.live.is_ok
        assert "waiting for them" in away.live.notes[0]
        assert not away.ready.is_ok
        assert back.ready.is_ok
        assert back.live == type(back.live)()


async def test_a_partition_that_something_else_has_paused_is_paused_and_not_stalled() -> None:
    rig, service = Rig(partitions=1), Service("stock")

    @service.on(Placed)
    async def placed(event: Placed) -> None:
        pass

    async with looked_at(rig, service) as looked:
        await asyncio.sleep(1)
        consumer = looked.process.runtime._consumer
        consumer.pause(consumer.assignment())
        await rig.send(Placed(order_id="o1"))
        await asyncio.sleep(600)
        health = await looked.health()

        assert health.stalled == {}
        assert (health.lag[0].state, health.lag[0].why) == ("paused", "nothing is fetched for now")
