"""A bus on a cluster in memory, some services for it, and what came out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Never

from orchestra.bus.bus import Bus, connect
from orchestra.clock import LoopClock
from orchestra.errors import PermanentError
from orchestra.events.cloudevents import decode, encode
from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Command, Done, Event, Key, Message
from orchestra.retry import Retry
from orchestra.service.service import Service
from orchestra.settings import Settings
from orchestra.transport.memory import MemoryCluster, MemoryTransport
from orchestra.transport.port import Outgoing, Partition, Record, TopicSpec

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)


class Placed(Event, type="shop.placed.v1", topic="shop.orders"):
    order_id: Key[str]
    note: Any = ""


class Noted(Event, type="shop.noted.v1", topic="shop.notes"):
    text: str


class Homeless(Event, type="shop.homeless.v1"):
    text: str = ""


class Reserved(Event, type="stock.reserved.v1"):
    count: int


class SoldOut(Event, type="stock.sold-out.v1"):
    pass


class Reserve(Command[Reserved, SoldOut], type="stock.reserve.v1", topic="stock.commands"):
    item: Key[str]
    count: int = 1


class Forget(Command[Done, Never], type="stock.forget.v1", topic="stock.commands"):
    item: Key[str]


def stock() -> Service:
    """Reserves what there is, is sold out of some things, and breaks at others."""
    service = Service("stock")

    @service.handles(Reserve, retry=Retry(attempts=1))
    async def reserve(command: Reserve) -> Reserved | SoldOut:
        if command.item == "poison":
            raise PermanentError("it is poison")
        return SoldOut() if command.item == "none" else Reserved(count=command.count)

    return service


class BusRig:
    """One cluster in memory. Time is the event loop's."""

    def __init__(self, **settings: Any) -> None:
        self.clock = LoopClock(EPOCH)
        self.settings = Settings(env="test", **settings)
        self.cluster = MemoryCluster(clock=self.clock, partitions=4)
        for topic in ("shop.orders", "shop.notes", "stock.commands"):
            self.cluster.create(TopicSpec(self.settings.topic(topic)))

    @asynccontextmanager
    async def bus(self, **options: Any) -> AsyncGenerator[Bus]:
        transport = MemoryTransport(self.cluster, self.settings)
        try:
            async with connect(self.settings, transport=transport, clock=self.clock, **options) as bus:
                yield bus
        finally:
            await transport.aclose()

    def records(self, topic: str) -> list[Record]:
        return self.cluster.records(topic)

    def events(self, topic: str) -> list[Envelope]:
        return [decode(record.headers, record.value) for record in self.records(topic)]

    def answer(self, command: Envelope, message: Message, **changes: Any) -> None:
        """Answer a command as a participant does that knows nothing of orchestra: headers are copied."""
        copied = {name: command.extensions[name] for name in ("effectid",)}
        event = compose(message, id="answer", source="/other", time=EPOCH, extensions={**copied, **changes})
        headers, value = encode(event)
        self.put(command, headers, value)

    def put(self, command: Envelope, headers: Any, value: bytes | None) -> None:
        """Any record, where the answer to a command goes."""
        topic, number = str(command.extensions["replyto"]), command.extensions["replypartition"]
        assert isinstance(number, int)
        self.cluster.append(Outgoing(topic, None, value, headers), Partition(topic, number))
