"""Do instances get through an upgrade, and back, while orders keep coming? Many of them, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestra.coordinator.coordinator import Coordinator
from orchestra.events.cloudevents import decode, encode
from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Done, Event
from orchestra.flows.decision import Definition
from orchestra.flows.saga import definition_of
from orchestra.transport.port import Outgoing, Subscription
from tests.unit.coordinator.harness import NAMES, SETTINGS, Process, World
from tests.unit.flows.shop import (
    CardDeclined,
    Charged,
    DriverAssigned,
    FoodOrder,
    Item,
    ItemsReleased,
    ItemsReserved,
    OrderPlaced,
    Refunded,
)
from tests.unit.flows.shop_versions import FoodOrderV2

pytestmark = pytest.mark.virtual_time

V1, V2 = definition_of(FoodOrder), definition_of(FoodOrderV2)


class Following(FoodOrderV2, name="food-order", version=2, migrates=(FoodOrder,)):
    """Version 2, which takes over what runs on version 1."""


FOLLOWING = definition_of(Following)


class Shop(World):
    """Services that take their time, and a counter at which orders keep coming."""

    def __init__(self, partitions: int = 2) -> None:
        super().__init__(partitions)
        self.services: set[asyncio.Task[None]] = set()
        self.placed = 0
        for spec in Coordinator("t", flows=[V1, V2], partitions=partitions).needed_topics(SETTINGS):
            if not spec.name.startswith("t."):
                self.cluster.create(spec)

    async def _participate(self) -> None:
        topics = sorted({*V1.topics, *V2.topics} - {"shop.orders"})
        consumer = self.transport.consumer(Subscription("participant", topics), self)
        await consumer.start()
        while True:
            for record in await consumer.fetch(max_records=100, timeout=5.0):
                command = decode(record.headers, record.value)
                self.commands.append(command)
                task = asyncio.create_task(self._serve(command))
                self.services.add(task)
                task.add_done_callback(self.services.discard)

    async def _serve(self, command: Envelope) -> None:
        number = int(json.loads(command.data or b"{}")["order_id"])
        await asyncio.sleep(0.2 + number % 7 / 3)
        answer = answer_to(command.type, str(number))
        extensions: dict[str, Any] = {name: command.get(name) or "" for name in ("flowid", "effectid")}
        event = compose(answer, id=f"re-{command.id}", source="/s", time=self.clock.now(), extensions=extensions)
        headers, value = encode(event)
        key = str(command.get("flowid")).encode()
        shard = int(command.get("replypartition") or 0)
        await self.send(Outgoing(NAMES.inbox, key, value, headers, shard))

    async def take_orders(self, count: int, every: float = 0.1) -> None:
        for _ in range(count):
            self.placed += 1
            key = str(self.placed)
            order = OrderPlaced(order_id=key, items=[Item(sku="ramen", quantity=1)], total_cents=100)
            headers, value = encode(compose(order, id=f"e-{key}", source="/shop", time=self.clock.now()))
            await self.send(Outgoing("shop.orders", key.encode(), value, headers))
            await asyncio.sleep(every)

    def gaps(self) -> list[str]:
        """Instances whose journal lacks a version."""
        found: dict[str, list[int]] = {}
        for entry in self.journal():
            found.setdefault(entry["instance"], []).append(entry["version"])
        return [one for one, numbers in found.items() if numbers != list(range(1, len(numbers) + 1))]

    async def replace(self, process: Process, *flows: Definition) -> Process:
        """A rolling deploy: the new process is there before the old one goes."""
        new = await self.process(*flows)
        await asyncio.sleep(1.0)
        await process.stop()
        return new

    def effects(self) -> dict[str, set[str]]:
        """The effects that services were asked for, by instance: ``charge/action``, ..."""
        found: dict[str, set[str]] = {}
        for command in self.commands:
            step, phase = command.get("flowstep"), command.get("flowphase")
            found.setdefault(command.get("flowid") or "", set()).add(f"{step}/{phase}")
        return found

    def versions(self) -> Counter[int | None]:
        """How many instances ended on each version."""
        last = {entry["instance"]: entry["flow_version"] for entry in self.journal()}
        return Counter(last.values())


def answer_to(kind: str, order: str) -> Event:
    match kind.split(".")[-2]:
        case "reserve":
            return ItemsReserved(order_id=order)
        case "release":
            return ItemsReleased(order_id=order)
        case "charge" if int(order) % 10 == 0:
            return CardDeclined(order_id=order, reason="no money")
        case "charge":
            return Charged(order_id=order, amount_cents=100)
        case "refund":
            return Refunded(order_id=order)
        case "assign":
            return DriverAssigned(order_id=order, driver_id="d")
        case "send":
            return Done()
    raise AssertionError(kind)


@contextlib.asynccontextmanager
async def shop() -> AsyncIterator[Shop]:
    made = Shop()
    await made.start()
    try:
        yield made
    finally:
        await made.aclose()
        for task in list(made.services):
            task.cancel()


FORWARD = {"reserve/action", "charge/action", "assign/action"}
DECLINED = {"reserve/action", "charge/action", "reserve/undo"}


def of_version(w: Shop, version: int) -> list[set[str]]:
    last = {entry["instance"]: entry["flow_version"] for entry in w.journal()}
    return [steps for instance, steps in w.effects().items() if last[instance] == version]


async def over(w: Shop, seconds: float = 120.0) -> None:
    """Wait until every order has ended. Looked at now and then: it counts all records."""
    async with asyncio.timeout(seconds):
        while not is_over(w):
            await asyncio.sleep(1.0)


def is_over(w: Shop) -> bool:
    statuses = w.statuses()
    return statuses["completed"] + statuses["compensated"] == w.placed


async def test_hazard_20_forward_and_back_under_load_and_each_instance_ends_as_it_began() -> None:
    async with shop() as w:
        first, second = await w.process(V1), await w.process(V1)
        orders = asyncio.create_task(w.take_orders(200))
        await asyncio.sleep(4.0)

        first = await w.replace(first, V1, V2)
        second = await w.replace(second, V1, V2)
        await asyncio.sleep(2.0)
        assert w.versions()[2] > 10

        first = await w.replace(first, V1)
        second = await w.replace(second, V1)
        await asyncio.sleep(2.0)
        assert w.statuses()["parked"] > 5
        waiting = w.statuses()["parked"]
        await asyncio.sleep(2.0)
        assert w.statuses()["parked"] >= waiting
        assert "version.missing" in w.alerts()

        first = await w.replace(first, V1, V2)
        second = await w.replace(second, V1, V2)
        await orders
        await over(w)

        assert w.statuses()["completed"] == 180
        assert min(w.versions()[1], w.versions()[2]) > 30
        assert all(steps in (FORWARD, DECLINED) for steps in of_version(w, 1))
        assert all(steps in ({*FORWARD, "mail/action"}, DECLINED) for steps in of_version(w, 2))
        assert not w.gaps()
        assert not w.dead_letters()


async def test_a_crash_in_the_middle_of_the_upgrade_changes_nothing() -> None:
    async with shop() as w:
        first, second = await w.process(V1), await w.process(V1)
        orders = asyncio.create_task(w.take_orders(100))
        await asyncio.sleep(3.0)
        await first.crash()
        first = await w.process(V1, V2)
        await asyncio.sleep(3.0)
        await second.crash()
        await orders
        await over(w)

        assert all(steps in (FORWARD, DECLINED) for steps in of_version(w, 1))
        assert all(steps in ({*FORWARD, "mail/action"}, DECLINED) for steps in of_version(w, 2))


async def test_running_instances_follow_the_version_that_takes_them_over() -> None:
    async with shop() as w:
        old = await w.process(V1)
        orders = asyncio.create_task(w.take_orders(100))
        await asyncio.sleep(5.0)

        await w.replace(old, FOLLOWING)
        await orders
        await over(w)

        journal, effects = w.journal(), w.effects()
        migrated = {
            entry["instance"] for entry in journal for line in entry["lines"] if line["what"] == "flow.migrated"
        }
        last = {entry["instance"]: entry["flow_version"] for entry in journal}
        assert len(migrated) > 5
        assert {last[one] for one in migrated} == {2}
        assert all(effects[one] in ({*FORWARD, "mail/action"}, DECLINED) for one in migrated)
        ended_on_the_old = of_version(w, 1)
        assert DECLINED in ended_on_the_old
        assert all("mail/action" not in steps for steps in ended_on_the_old)
        assert w.statuses()["parked"] == 0
        assert not w.dead_letters()


async def test_an_instance_that_gets_no_input_follows_when_the_process_starts() -> None:
    async with shop() as w:
        old = await w.process(V1)
        await w.take_orders(1)
        await w.until(lambda: len(w.commands) == 1)
        await old.stop()
        w.services.pop().cancel()

        await w.process(FOLLOWING)
        await w.until(lambda: "flow.migrated" in w.said("food-order/1"))

        instance = w.instance("food-order/1")
        assert instance is not None
        assert (instance.version, instance.digest) == (2, FOLLOWING.digest)
        assert [timer.due for timer in instance.timers if timer.due is not None]  # the old step's timeout runs on
        await over(w)
        assert w.effects()["food-order/1"] == {"reserve/action", "reserve/undo"}
