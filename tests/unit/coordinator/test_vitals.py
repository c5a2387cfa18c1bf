"""Does a running coordinator tell how it is: shards that are open, being taken over, stopped?"""

from __future__ import annotations

import asyncio

import pytest

from orchestra.health.judge import Health, Limits
from orchestra.health.watch import Watch
from orchestra.transport.port import Partition, Record
from tests.unit.coordinator.harness import NAMES, Process, World, world

pytestmark = pytest.mark.virtual_time


async def looked_at(process: Process, w: World, seconds: float = 30.0) -> Health:
    """The health after some seconds of looking."""
    watch = Watch(
        process.transport.topics,
        lambda: ([process.runtime.health()], []),
        limits=Limits(),
        timeout=10.0,
        clock=w.clock,
        on_stalled=lambda _: None,
    )
    watching = asyncio.create_task(watch.run())
    await asyncio.sleep(seconds)
    health = await watch.fresh_health(0.5)
    watching.cancel()
    await watch.aclose()
    return health


async def test_a_coordinator_whose_shards_are_open_is_ready_and_idle() -> None:
    async with world(partitions=2) as w:
        process = await w.process()
        await w.place("o1")
        await w.until(lambda: w.statuses()["completed"] == 1)

        health = await looked_at(process, w, 300.0)

        assert health.ready.problems == ()
        assert health.live.is_ok
        inbox = [lag for lag in health.lag if lag.topic == NAMES.inbox]
        assert [(lag.partition, lag.lag, lag.state) for lag in inbox] == [(0, 0, "idle"), (1, 0, "idle")]
        assert {lag.group for lag in health.lag} == {NAMES.group, NAMES.router_group}
        assert {lag.lag for lag in health.lag} == {0}


async def test_a_coordinator_without_shards_in_reserve_is_ready() -> None:
    async with world() as w:
        await w.process()
        spare = await w.process()

        assert (await looked_at(spare, w)).ready.problems == ()


async def test_a_shard_that_is_being_taken_over_is_paused_and_the_coordinator_not_ready() -> None:
    async with world() as w:
        process = await w.process()
        await w.until(lambda: any(keeper.is_open for keeper in process.runtime.keepers.values()))
        (keeper,) = process.runtime.keepers.values()
        keeper.is_open = False

        health = await looked_at(process, w, 0.0)

        assert health.ready.problems[-1].endswith("shard 0 is being taken over")
        (shard,) = [lag for lag in health.lag if lag.topic == NAMES.inbox]
        assert (shard.state, shard.why) == ("paused", "the shard is being taken over")
        assert health.live.is_ok
        keeper.is_open = True


async def test_a_shard_that_is_stopped_is_stuck_and_the_coordinator_not_ready_but_alive() -> None:
    async with world() as w:
        first = await w.process()
        await w.place("o1")
        await w.until(lambda: w.statuses()["completed"] == 1)
        await first.stop()
        for number in range(3):
            await w.put(Record("shop.orders", 0, number, 0, b"k", b"{}"))
        inbox = w.cluster.log(Partition(NAMES.inbox, 0))
        inbox.delete_before(inbox.end)

        health = await looked_at(await w.process(), w)

        (shard,) = [lag for lag in health.lag if lag.topic == NAMES.inbox]
        assert shard.state == "stuck"
        assert shard.why is not None
        assert "input was lost" in shard.why
        assert any("shard 0 is stopped" in problem for problem in health.ready.problems)
        assert health.live.is_ok
