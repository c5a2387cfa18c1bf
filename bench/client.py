"""Who starts sagas and sees them end? One plain client, in the process of the bench."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer, ConsumerRecord

from bench.plain import event, following, producer

ENDED_WITHIN = 120.0


class Client:
    """Sends start events and notes when each key's end came.

    Attributes:
        sent_at, ended_at: seconds of one steady clock, by key. Only the first end of a key counts.
        repeats: ends that came again.
    """

    def __init__(self, out: AIOKafkaProducer, topic: str, kind: str, end: str) -> None:
        self.out = out
        self.topic = topic
        self.kind = kind
        self.end = end.encode()
        self.sent_at: dict[str, float] = {}
        self.ended_at: dict[str, float] = {}
        self.repeats = 0
        self._waiting: dict[str, asyncio.Event] = {}

    def take(self, record: ConsumerRecord) -> None:
        if dict(record.headers).get("ce_type") != self.end:
            return
        key = record.key.decode()
        if key in self.ended_at:
            self.repeats += 1
            return
        self.ended_at[key] = time.perf_counter()
        if waiting := self._waiting.pop(key, None):
            waiting.set()

    async def start(self, key: str, data: bytes) -> None:
        """Send a start event; returns before it is acknowledged."""
        headers, value = event(self.kind, f"start-{key}", data, datetime.now(UTC).isoformat())
        self.sent_at[key] = time.perf_counter()
        await self.out.send(self.topic, value, key=key.encode(), headers=headers)

    async def run(self, key: str, data: bytes) -> float:
        """Send a start event and wait for its end. Gives the seconds it took."""
        self._waiting[key] = ended = asyncio.Event()
        await self.start(key, data)
        async with asyncio.timeout(ENDED_WITHIN):
            await ended.wait()
        return self.ended_at[key] - self.sent_at[key]

    async def run_all(self, keys: Iterable[tuple[str, bytes]], in_flight: int) -> float:
        """Run them, never more than ``in_flight`` at once. Gives the seconds it took in all."""
        queue = iter(keys)

        async def work() -> None:
            for key, data in queue:
                await self.run(key, data)

        begun = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(in_flight):
                tasks.create_task(work())
        return time.perf_counter() - begun

    async def wait_for(self, keys: Iterable[str], within: float = ENDED_WITHIN) -> None:
        """Return when every key has ended."""
        open_keys = set(keys)
        async with asyncio.timeout(within):
            while open_keys := open_keys - self.ended_at.keys():
                await asyncio.sleep(0.02)

    def latencies(self, keys: Iterable[str]) -> list[float]:
        return [self.ended_at[key] - self.sent_at[key] for key in keys]


@asynccontextmanager
async def client(servers: str, *, start: tuple[str, str], end: tuple[str, str]) -> AsyncIterator[Client]:
    """A client for start events and ends of these topics and types."""
    async with producer(servers) as out:
        made = Client(out, *start, end[1])
        async with following(servers, end[0], made.take):
            yield made
