"""Does a process look after itself, and does who asks get an answer also while brokers give none?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from orchestra.clock import LoopClock
from orchestra.health.facts import GroupFacts, PartitionFacts, UnitFacts
from orchestra.health.judge import Limits
from orchestra.health.watch import Watch
from orchestra.settings import Settings
from orchestra.transport.memory import MemoryTransport
from orchestra.transport.memory_cluster import MemoryCluster
from orchestra.transport.port import Outgoing, Partition, TopicSpec

pytestmark = pytest.mark.virtual_time

ORDERS = Partition("orders", 0)


class Rig:
    """One unit that reads ``orders[0]``, and a memory cluster."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.cluster.create(TopicSpec("orders", 1))
        self.transport = MemoryTransport(self.cluster, Settings(env="test"))
        self.clock = LoopClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.partitions: tuple[PartitionFacts, ...] = (PartitionFacts(ORDERS, committed=0, position=0),)
        self.stalled: list[Mapping[str, str]] = []
        self.watch = Watch(
            self.transport.topics,
            self.look,
            limits=Limits(),
            timeout=10.0,
            clock=self.clock,
            on_stalled=self.stalled.append,
        )

    def look(self) -> tuple[list[UnitFacts], list[str]]:
        now = self.clock.elapsed()
        return [UnitFacts("shop", (GroupFacts("shop", ("orders",), True, now, 0.0, self.partitions),))], []

    async def publish(self, count: int) -> None:
        publisher = self.transport.publisher()
        await publisher.start()
        await publisher.publish([Outgoing("orders", None, b"x") for _ in range(count)])


@pytest.fixture
async def rig() -> Rig:
    rig = Rig()
    await rig.transport.start()
    return rig


async def test_lag_is_as_fresh_as_a_second(rig: Rig) -> None:
    assert (await rig.watch.fresh_health(0.5)).lag[0].lag == 0

    await rig.publish(7)
    soon = (await rig.watch.fresh_health(0.5)).lag[0].lag
    await asyncio.sleep(1.1)
    later = (await rig.watch.fresh_health(0.5)).lag[0].lag

    assert (soon, later) == (0, 7)


async def test_who_asks_while_brokers_are_away_gets_an_answer_without_ends(rig: Rig) -> None:
    await rig.watch.fresh_health(0.5)
    await asyncio.sleep(5)
    rig.cluster.go_down()
    assert (await rig.watch.fresh_health(0.5)).lag[0].lag == 0
    await asyncio.sleep(5)
    asked = rig.clock.elapsed()

    health = await rig.watch.fresh_health(0.5)

    assert rig.clock.elapsed() - asked == pytest.approx(0.5)
    assert (health.lag[0].end, health.lag[0].lag) == (None, None)
    assert rig.watch.health().live.is_ok
    await rig.watch.aclose()


async def test_many_who_ask_at_once_are_one_question_to_the_brokers(rig: Rig) -> None:
    asked = 0
    bounds = rig.transport.topics.bounds

    async def counted(*args: object, **options: object) -> object:
        nonlocal asked
        asked += 1
        return await bounds(*args, **options)  # type: ignore[arg-type]

    rig.transport.topics.bounds = counted  # type: ignore[method-assign, assignment]

    await asyncio.gather(*(rig.watch.fresh_health(0.5) for _ in range(20)))

    assert asked == 1


async def test_a_group_without_partitions_still_learns_whether_brokers_answer(rig: Rig) -> None:
    rig.partitions = ()
    assert rig.watch.health().ready.problems == ("brokers have not been reached yet",)

    health = await rig.watch.fresh_health(0.5)

    assert health.ready.is_ok


async def test_a_stall_is_told_while_nobody_asks(rig: Rig) -> None:
    await rig.publish(1)
    watching = asyncio.create_task(rig.watch.run())

    await asyncio.sleep(60)
    before = list(rig.stalled)
    await asyncio.sleep(10)
    watching.cancel()

    assert before == []
    assert rig.stalled[0]["shop"].startswith("orders[0]: nothing is fetched for")


async def test_a_mistake_in_looking_does_not_end_the_looking(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    await rig.publish(1)
    good, rig.partitions = rig.partitions, (None,)  # type: ignore[assignment]
    watching = asyncio.create_task(rig.watch.run())

    await asyncio.sleep(10)
    rig.partitions = good
    await asyncio.sleep(80)
    watching.cancel()

    assert "could not look after itself" in caplog.text
    assert rig.stalled
