"""Seeds of trouble: crashes, rebalances, freezes, lost commits and acknowledgements, at random.

Nothing is lost, order is kept per key, and whatever is answered twice is answered alike.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from random import Random

import pytest

from orchestra.errors import PermanentError, TransientError
from orchestra.retry import Retry
from orchestra.service.context import Context
from orchestra.service.service import Service
from orchestra.transport.memory import Fate
from tests.unit.service.rig import Process, Reserve, Reserved, Rig, SoldOut, until

pytestmark = pytest.mark.virtual_time

RECORDS, KEYS = 120, 12


class World:
    """A service whose handler takes its time and fails at random, and the processes that run it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.rig = Rig(session_timeout=10.0, drain_timeout=5.0, delivery_timeout=5.0, request_timeout=5.0)
        self.ended: dict[str, list[int]] = defaultdict(list)
        self.poison = {self.random.randrange(RECORDS) for _ in range(5)}
        self.alive: list[Process] = []
        self.service = Service("stock", max_in_flight=8)

        @self.service.handles(Reserve, retry=Retry(attempts=20, first="100ms", cap="1s"), timeout="30s")
        async def reserve(command: Reserve, ctx: Context) -> Reserved | SoldOut:
            chance = self.random.random()
            await asyncio.sleep(chance * 2)
            if command.count in self.poison:
                raise PermanentError("poison")
            if chance < 0.1:
                raise TransientError("not now")
            if chance > 0.95:
                raise ConnectionResetError
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
        kind = self.random.choice(("crash", "stop", "join", "freeze", "commit", "lose", "away"))
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
            self.rig.cluster.next_writes(Fate(acknowledged=False), topic="food.inbox")
        else:
            self.rig.cluster.go_down()
            await asyncio.sleep(self.random.uniform(1, 20))
            self.rig.cluster.come_back()


@pytest.mark.parametrize("seed", range(25))
async def test_nothing_is_lost_and_order_is_kept_per_key(seed: int) -> None:
    world = World(seed)
    rig = world.rig
    await world.start()
    for number in range(RECORDS):
        await rig.command(Reserve(order_id=f"key-{number % KEYS}", count=number), flow=f"food/{number}")

    for _ in range(8):
        await asyncio.sleep(world.random.uniform(0, 8))
        await world.trouble()
    await until(lambda: len({answer.get("flowid") for answer in rig.answers()}) == RECORDS, timeout=2000)
    await until(lambda: rig.lag("stock.commands") == 0, timeout=200)
    for process in world.alive:
        await process.stop()

    for key, numbers in world.ended.items():
        first_times = list(dict.fromkeys(numbers))
        assert first_times == sorted(first_times), f"{key}: out of order"
    said: dict[str | None, set[str]] = defaultdict(set)
    for answer in rig.answers():
        said[answer.get("flowid")].add(answer.type)
    assert {flow for flow, types in said.items() if "orchestra.step.failed.v1" in types} == {
        f"food/{number}" for number in world.poison
    }
    assert all(len(types) == 1 for types in said.values())
    replies = [answer for answer in rig.answers() if answer.type == "stock.reserved.v1"]
    assert len({answer.id for answer in replies}) == len({answer.data for answer in replies}), "one id for one answer"
    assert {letter["error-message"] for letter in rig.letters()} == {"poison"}
