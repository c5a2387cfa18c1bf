"""A service running on the memory transport, and what one wants to ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any, Never

from orchestra.clock import Clock, LoopClock
from orchestra.events.cloudevents import decode, encode
from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Command, Event, Key, Message, record_key, spec_of
from orchestra.service.runtime import ServiceRuntime
from orchestra.service.service import Service
from orchestra.settings import Settings
from orchestra.transport.memory import MemoryCluster, MemoryTransport
from orchestra.transport.port import Outgoing, Partition, Record, TopicSpec

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)


class Placed(Event, type="shop.placed.v1", topic="shop.orders"):
    order_id: Key[str]
    note: str = ""


class Watched(Event, type="stock.watched.v1", topic="stock.watched"):
    order_id: Key[str]


class Reserved(Event, type="stock.reserved.v1"):
    order_id: Key[str]


class SoldOut(Event, type="stock.sold-out.v1"):
    order_id: Key[str]


class Reserve(Command[Reserved, SoldOut], type="stock.reserve.v1", topic="stock.commands"):
    order_id: Key[str]
    count: int = 1


class Released(Event, type="stock.released.v1", topic="stock.released"):
    order_id: Key[str]


class Release(Command[Released, Never], type="stock.release.v1", topic="stock.commands"):
    order_id: Key[str]


class Unload(Command[Released, SoldOut], type="stock.unload.v1", topic="stock.commands"):
    """A compensation that can be rejected."""

    order_id: Key[str]


class Counted(Event, type="stock.counted.v1", topic="stock.counted"):
    order_id: Key[str]


class Count(Command[Counted, Never], type="stock.count.v1", topic="stock.commands"):
    order_id: Key[str]


class Rig:
    """One cluster, and as many processes of a service as a test wants."""

    def __init__(self, *, partitions: int = 4, clock: Clock | None = None, **settings: Any) -> None:
        self.clock = clock or LoopClock(EPOCH)
        self.settings = Settings(env="test", **settings)
        self.cluster = MemoryCluster(clock=self.clock, partitions=partitions)
        self.cluster.create(TopicSpec("food.inbox"))
        self.cluster.create(TopicSpec("stock.watched"))
        self._outside = MemoryTransport(self.cluster, self.settings)
        self._ids = count(1)

    def process(self, service: Service, **options: Any) -> Process:
        return Process(self, service, **options)

    @asynccontextmanager
    async def running(self, service: Service, **options: Any) -> AsyncIterator[Process]:
        process = self.process(service, **options)
        await process.start()
        try:
            yield process
        finally:
            await process.stop()

    # ---- what goes in

    async def put(self, *records: Outgoing) -> None:
        publisher = self._outside.publisher()
        await publisher.start()
        await publisher.publish(records)
        await publisher.aclose()

    async def send(self, *messages: Message, **extensions: Any) -> list[Envelope]:
        """Send messages to their topics as plain events, and give them."""
        events = [self.event(message, **extensions) for message in messages]
        await self.put(*(self.outgoing(event, message) for event, message in zip(events, messages, strict=True)))
        return events

    async def command(
        self, message: Message, *, step: str = "reserve", phase: str = "action", flow: str = "food/1", **more: Any
    ) -> Envelope:
        """Send a command as a coordinator does."""
        extensions = {
            "flowid": flow,
            "effectid": f"{flow}/1/{step}/{phase}/0",
            "correlationid": "the-order",
            "replyto": "food.inbox",
            "replypartition": 2,
            **more,
        }
        return (await self.send(message, **extensions))[0]

    def event(self, message: Message, **extensions: Any) -> Envelope:
        return compose(
            message, id=f"id-{next(self._ids)}", source="/test", time=self.clock.now(), extensions=extensions
        )

    def outgoing(self, event: Envelope, message: Message) -> Outgoing:
        headers, value = encode(event)
        topic = spec_of(type(message)).topic
        assert topic is not None
        return Outgoing(self.settings.topic(topic), record_key(message), value, headers)

    # ---- what came out

    def records(self, topic: str) -> list[Record]:
        return self.cluster.records(topic)

    def events(self, topic: str) -> list[Envelope]:
        return [decode(record.headers, record.value) for record in self.records(topic)]

    def answers(self) -> list[Envelope]:
        return self.events("food.inbox")

    def letters(self, service: str = "stock") -> list[dict[str, str]]:
        """The ``orchestra-dlq-*`` headers of each dead letter, in the order they were written."""
        prefix = "orchestra-dlq-"
        letters = [
            {name[len(prefix) :]: (value or b"").decode() for name, value in record.headers if name.startswith(prefix)}
            for record in self.records(f"{service}.dead-letters")
        ]
        return sorted(letters, key=lambda letter: letter["last-failure"])

    def committed(self, group: str = "stock") -> dict[Partition, int]:
        return {place: committed.offset for place, committed in self.cluster.group(group).committed.items()}

    def lag(self, *topics: str, group: str = "stock") -> int:
        """Records of these topics at or above the group's place."""
        places = self.committed(group)
        return sum(
            record.offset >= places.get(Partition(topic, record.partition), 0)
            for topic in topics
            for record in self.records(topic)
        )


class Process:
    """One process of a service."""

    def __init__(self, rig: Rig, service: Service, **options: Any) -> None:
        self.transport = MemoryTransport(rig.cluster, rig.settings)
        self.runtime = ServiceRuntime(
            service, self.transport, rig.settings, clock=rig.clock, **{"jitter": lambda: 0.5, **options}
        )
        self._rig = rig
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        for spec in self.runtime.needed_topics():
            self._rig.cluster.create(spec)
        await self.transport.start()
        await self.runtime.start()
        self.task = asyncio.create_task(self.runtime.run())
        await until(lambda: bool(self.runtime.statistics().partitions))

    async def stop(self) -> None:
        assert self.task is not None
        if not self.task.done():
            self.runtime.stop()
        await self.task
        await self.transport.aclose()

    async def crash(self) -> None:
        """Die as with kill -9: nothing is finished, committed or said any more."""
        assert self.task is not None
        self.transport.crash()
        for worker in self.runtime._lanes.workers:
            assert worker.task is not None
            worker.task.cancel()
        self.task.cancel()
        await asyncio.wait({self.task})

    async def idle(self) -> None:
        """Return when nothing is queued and everything that was published before is handled."""
        statistics = self.runtime.statistics
        still = 0
        while still < 3:
            await asyncio.sleep(0.01)
            still = 0 if statistics().queued else still + 1


async def until(condition: Any, *, timeout: float = 60.0) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)
