"""A step over many items, through the coordinator: values on the log, flows that are called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Never

import pytest

import orchestra
from orchestra import (
    App,
    Command,
    Coordinator,
    Done,
    Event,
    Key,
    Saga,
    Service,
    for_each,
    on_completed,
    starts_on,
    step,
)
from orchestra.testing.memory import MemoryTransport, published, running_in_memory

pytestmark = pytest.mark.virtual_time


class Listed(Event, type="many.listed.v1", topic="many.events"):
    id: Key[str]
    count: int
    breaks_at: int = -1


class Ended(Event, type="many.ended.v1", topic="many.events"):
    id: Key[str]
    numbers: list[int]


class Made(Event, type="many.made.v1"):
    number: int


class Broken(Event, type="many.broken.v1"):
    number: int


class Make(Command[Made, Broken], type="many.make.v1", topic="many.commands"):
    id: Key[str]
    number: int
    breaks: bool


class Unmake(Command[Done, Never], type="many.unmake.v1", topic="many.commands"):
    id: Key[str]
    number: int


class Making(Saga, name="making", version=1):
    listed = starts_on(Listed)

    def numbers(self) -> range:
        return range(self.listed.count)

    @for_each(over=numbers, limit=7)
    def make(self, number: int) -> Make:
        return Make(id=self.listed.id, number=number, breaks=number == self.listed.breaks_at)

    @make.undo
    def unmake(self, number: int, made: Made | None) -> Unmake:
        return Unmake(id=self.listed.id, number=number)

    @on_completed(make)
    def ended(self, made: list[Made]) -> Ended:
        return Ended(id=self.listed.id, numbers=[one.number for one in made])


class PartAsked(Event, type="many.part-asked.v1", topic="many.parts"):
    id: Key[str]
    number: int
    breaks: bool


class PartMade(Event, type="many.part-made.v1", topic="many.parts"):
    id: Key[str]
    number: int


class MakePart(Saga, name="make-part", version=1):
    asked = starts_on(PartAsked)

    @step
    def make(self) -> Make:
        return Make(id=self.asked.id, number=self.asked.number, breaks=self.asked.breaks)

    @make.undo
    def unmake(self, made: Made | None) -> Unmake:
        return Unmake(id=self.asked.id, number=self.asked.number)

    @on_completed(make)
    def done(self, made: Made) -> PartMade:
        return PartMade(id=self.asked.id, number=made.number)


class WholeAsked(Event, type="many.whole-asked.v1", topic="many.events"):
    id: Key[str]
    count: int
    breaks_at: int = -1


class Whole(Saga, name="whole", version=1):
    """Each part is a flow of its own."""

    asked = starts_on(WholeAsked)

    def numbers(self) -> range:
        return range(self.asked.count)

    @for_each(over=numbers, limit=2, call=MakePart, yields=PartMade)
    def parts(self, number: int) -> PartAsked:
        name = f"{self.asked.id}-{number}"
        return PartAsked(id=name, number=number, breaks=number == self.asked.breaks_at)

    @on_completed(parts)
    def ended(self, parts: list[PartMade]) -> Ended:
        return Ended(id=self.asked.id, numbers=[one.number for one in parts])


workers = Service("workers")


@workers.handles(Make)
async def make(command: Make) -> Made | Broken:
    return Broken(number=command.number) if command.breaks else Made(number=command.number)


@workers.handles(Unmake)
async def unmake(command: Unmake) -> Done:
    return Done()


coordinator = Coordinator("many", flows=[Making, Whole, MakePart], partitions=1)
app = App(services=[workers], coordinators=[coordinator])


async def until(happens: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not happens():
            await asyncio.sleep(0.05)


def values_of(log: MemoryTransport) -> dict[str, bytes | None]:
    newest = {(each.key or b"").decode(): each.value for each in log.cluster.records("many.state")}
    return {key: value for key, value in newest.items() if key.startswith("!value/")}


async def test_many_items_end_in_order_and_leave_no_value() -> None:
    async with running_in_memory(app) as log, orchestra.connect(transport=log) as bus:
        await bus.publish(Listed(id="A", count=100))
        await until(lambda: published(log, Ended))

        assert published(log, Ended)[0].numbers == list(range(100))
        await until(lambda: len(values_of(log)) >= 99 and not any(values_of(log).values()))
        records = [each for each in log.cluster.records("many.state") if each.key == b"making/A"]
        assert max(len(each.value or b"") for each in records) < 16 * 1024


async def test_an_item_that_breaks_undoes_the_others() -> None:
    async with running_in_memory(app) as log, orchestra.connect(transport=log) as bus:
        await bus.publish(Listed(id="A", count=30, breaks_at=20))
        await until(lambda: _ended_as(log, "making/A") == "compensated")

        undone = [command.number for command in published(log, Unmake)]
        done = [command.number for command in published(log, Make) if not command.breaks]
        assert sorted(undone) == sorted(done)
        await until(lambda: not any(values_of(log).values()))


async def test_a_flow_for_each_item() -> None:
    async with running_in_memory(app) as log, orchestra.connect(transport=log) as bus:
        await bus.publish(WholeAsked(id="W", count=5))
        await until(lambda: published(log, Ended))

        assert published(log, Ended)[0].numbers == [0, 1, 2, 3, 4]
        assert {one.id for one in published(log, PartMade)} == {f"W-{number}" for number in range(5)}


async def test_flows_of_other_items_are_undone_when_one_fails() -> None:
    async with running_in_memory(app) as log, orchestra.connect(transport=log) as bus:
        await bus.publish(WholeAsked(id="W", count=5, breaks_at=3))
        await until(lambda: _ended_as(log, "whole/W") == "compensated")

        undone = [command.number for command in published(log, Unmake)]
        done = [command.number for command in published(log, Make) if not command.breaks]
        assert sorted(undone) == sorted(done)
        assert not published(log, Ended)


def _ended_as(log: MemoryTransport, instance: str) -> str | None:
    records = [each for each in log.cluster.records("many.state") if each.key == instance.encode() and each.value]
    statuses = [
        value.decode() for each in records for name, value in each.headers if name == "orchestra-status" and value
    ]
    return statuses[-1] if statuses else None
