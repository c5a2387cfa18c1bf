"""Seeds of trouble for retry topics: crashes, rebalances, freezes, lost acknowledgements and outages, at random.

Nothing is lost and nothing is early; with ``divert_key`` the records of a key are handled for the first time in their
order, whatever happens to the processes in between.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from random import Random

import pytest

from orchestra.errors import PermanentError, TransientError
from orchestra.retry import Order, Retry
from orchestra.service.context import Context
from orchestra.service.service import Service
from orchestra.transport.memory import Fate
from tests.unit.service.rig import Process, Reserve, Reserved, Rig, SoldOut

pytestmark = pytest.mark.virtual_time

RECORDS, KEYS = 90, 9


class World:
    """A service whose handler often fails, and the processes that run it."""

    def __init__(self, seed: int, order: Order) -> None:
        self.random = Random(seed)
        self.rig = Rig(session_timeout=10.0, drain_timeout=5.0, delivery_timeout=5.0, request_timeout=5.0)
        self.ended: dict[str, list[int]] = defaultdict(list)
        self.poison = {self.random.randrange(RECORDS) for _ in range(3)}
        self.stubborn = {number: self.random.randrange(1, 4) for number in self.random.sample(range(RECORDS), 12)}
        self.alive: list[Process] = []
        self.service = Service("stock", max_in_flight=8, dead_letter_budget=None)
        later = ("5s", "30s")

        @self.service.handles(Reserve, retry=Retry(attempts=2, first="100ms", later=later, order=order), timeout="30s")
        async def reserve(command: Reserve, ctx: Context) -> Reserved | SoldOut:
            await asyncio.sleep(self.random.random())
            if command.count in self.poison:
                raise PermanentError("poison")
            if ctx.attempt <= self.stubborn.get(command.count, 0):
                raise TransientError("not now")
            self.ended[command.order_id].append(command.count)
            return Reserved(order_id=f"{command.order_id}/{command.count}")

    async def start(self) -> None:
        process = self.rig.process(self.service, grace=1.0)
        self.alive.append(process)
        for spec in process.runtime.needed_topics():
            self.rig.cluster.create(spec)
        await process.transport.start()
        await process.runtime.start()
        process.task = asyncio.create_task(process.runtime.run())

    async def trouble(self) -> None:
        kind = self.random.choice(("crash", "crash", "stop", "join", "freeze", "commit", "lose", "away"))
        victim = self.random.choice(self.alive)
        if kind == "join" or (kind in ("crash", "stop") and len(self.alive) == 1):
            await self.start()
        elif kind == "crash":
            self.alive.remove(victim)
            await victim.crash()
        elif kind == "stop":
            self.alive.remove(victim)
            await victim.stop()
        elif kind == "freeze":
            victim.transport.freeze()
            await asyncio.sleep(self.random.choice((1, 30)))
            victim.transport.thaw()
        elif kind == "commit":
            self.rig.cluster.fail_commits += 1
        elif kind == "lose":
            self.rig.cluster.next_writes(
                Fate(acknowledged=False), topic=f"stock.retry.{self.random.choice(('5s', '30s'))}"
            )
        else:
            self.rig.cluster.go_down()
            await asyncio.sleep(self.random.uniform(1, 20))
            self.rig.cluster.come_back()

    def lag(self) -> int:
        return self.rig.lag("stock.commands", "stock.retry.5s", "stock.retry.30s")

    def answered(self) -> int:
        return len({answer.get("flowid") for answer in self.rig.answers()})


async def run(world: World) -> None:
    await world.start()
    for number in range(RECORDS):
        await world.rig.command(Reserve(order_id=f"key-{number % KEYS}", count=number), flow=f"food/{number}")
        if number % 10 == 0:
            await asyncio.sleep(world.random.uniform(0, 4))
    for _ in range(8):
        await asyncio.sleep(world.random.uniform(0, 12))
        await world.trouble()
    async with asyncio.timeout(5000):
        while world.answered() < RECORDS or world.lag():
            await asyncio.sleep(1)
    for process in world.alive:
        await process.stop()


def check(world: World) -> None:
    said: dict[str | None, set[str]] = defaultdict(set)
    for answer in world.rig.answers():
        said[answer.get("flowid")].add(answer.type)
    failed = {flow for flow, types in said.items() if "orchestra.step.failed.v1" in types}
    assert failed == {f"food/{number}" for number in world.poison}
    assert all(len(types) == 1 for types in said.values())
    replies = [answer for answer in world.rig.answers() if answer.type == "stock.reserved.v1"]
    assert len({answer.id for answer in replies}) == len({answer.data for answer in replies}), "one id for one answer"


@pytest.mark.parametrize("seed", range(25))
async def test_a_diverted_key_keeps_its_order_and_nothing_is_lost(seed: int) -> None:
    world = World(seed, "divert_key")
    await run(world)

    check(world)
    for key, numbers in world.ended.items():
        first_times = list(dict.fromkeys(numbers))
        assert first_times == sorted(first_times), f"{key}: out of order"


@pytest.mark.parametrize("seed", range(10))
async def test_without_order_nothing_is_lost_either(seed: int) -> None:
    world = World(seed, "unordered")
    await run(world)

    check(world)
    assert {number for numbers in world.ended.values() for number in numbers} == set(range(RECORDS)) - world.poison
