"""An outbox with its relay on the memory transport, and a publisher that fails where it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from orchestra.clock import SystemClock
from orchestra.events.cloudevents import decode
from orchestra.events.envelope import Envelope
from orchestra.events.message import Event, Key
from orchestra.outbox.outbox import Outbox
from orchestra.outbox.relay import Relay
from orchestra.settings import Settings
from orchestra.transport.memory import MemoryCluster, MemoryTransport
from orchestra.transport.port import Outgoing, Position, Publisher, TopicSpec

TOPIC = "shop.orders"


class Changed(Event, type="shop.changed.v1", topic=TOPIC):
    order_id: Key[str]
    n: int = 0
    note: str = ""


class Elsewhere(Event, type="shop.elsewhere.v1", topic="shop.elsewhere"):
    order_id: Key[str]
    n: int = 0


class FailingPublisher:
    """A publisher that refuses a record where ``refuse`` gives an error, and waits at ``gate`` before each."""

    def __init__(self, real: Publisher) -> None:
        self._real = real
        self.refuse: Callable[[Outgoing], Exception | None] = lambda record: None
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = 0

    async def start(self) -> None:
        await self._real.start()

    async def send(self, record: Outgoing) -> asyncio.Future[Position]:
        self.asked += 1
        await self.gate.wait()
        if (error := self.refuse(record)) is not None:
            failed: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            return failed
        return await self._real.send(record)

    async def publish(self, records: Sequence[Outgoing]) -> list[Position]:
        return await self._real.publish(records)

    async def aclose(self) -> None:
        await self._real.aclose()


class World:
    """A database, a cluster, and as many relays as a test wants."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.clock = SystemClock()
        self.cluster = MemoryCluster(clock=self.clock, partitions=4)
        self.cluster.create(TopicSpec(TOPIC))
        self.outbox = Outbox("/test")

    async def add(self, *events: Event) -> None:
        """Each in a transaction of its own."""
        for event in events:
            async with AsyncSession(self.engine) as session, session.begin():
                await self.outbox.add(session, event)

    @asynccontextmanager
    async def relaying(self, **options: Any) -> AsyncIterator[Running]:
        transport = MemoryTransport(self.cluster, Settings(env="test"))
        await transport.start()
        publisher = FailingPublisher(transport.publisher())
        await publisher.start()
        relay = Relay(self.engine, publisher, **{"jitter": lambda: 0.0, **options})
        stopping = asyncio.Event()
        task = asyncio.create_task(relay.run(stopping))
        running = Running(relay, publisher, stopping, task)
        try:
            yield running
        finally:
            stopping.set()
            publisher.gate.set()
            await asyncio.wait({task})
            await transport.aclose()
        if not task.cancelled():
            task.result()

    def events(self, topic: str = TOPIC) -> list[Envelope]:
        """What was published, in order per partition."""
        return [decode(record.headers, record.value) for record in self.cluster.records(topic)]

    def numbers(self, key: str, topic: str = TOPIC) -> list[int]:
        """The numbers in the events of a key, in the order they were stored."""
        return [
            event.value(Changed).n
            for event, record in zip(self.events(topic), self.cluster.records(topic), strict=True)
            if record.key == key.encode()
        ]

    async def count(self, where: str = "1 = 1") -> int:
        async with self.engine.connect() as connection:
            counted = await connection.execute(text(f"SELECT count(*) FROM orchestra_outbox WHERE {where}"))
            found: int = counted.scalar_one()
            return found

    async def empty(self) -> None:
        """Return when nothing waits to be sent."""
        await eventually(self._is_empty)

    async def _is_empty(self) -> bool:
        return await self.count("sent_ms IS NULL AND failed_ms IS NULL") == 0


class Running:
    """A relay under way."""

    def __init__(
        self, relay: Relay, publisher: FailingPublisher, stopping: asyncio.Event, task: asyncio.Task[None]
    ) -> None:
        self.relay = relay
        self.publisher = publisher
        self.stopping = stopping
        self.task = task

    @property
    def is_sending(self) -> bool:
        return self.relay._lease.is_held


async def eventually(condition: Any, *, timeout: float = 20.0) -> None:
    """Wait until a condition, plain or async, holds."""
    async with asyncio.timeout(timeout):
        while True:
            held = condition()
            if await held if asyncio.iscoroutine(held) else held:
                return
            await asyncio.sleep(0.01)
