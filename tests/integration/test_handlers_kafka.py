"""Every kind of handler at once, on a real Kafka: batches, plain functions, patterns, several handlers of one event."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from orchestra.bus.bus import connect
from orchestra.errors import PermanentError
from orchestra.events.cloudevents import decode
from orchestra.events.envelope import Envelope
from orchestra.events.message import Event, Key
from orchestra.ids import new_id
from orchestra.retry import Retry
from orchestra.service.batch import Batch
from orchestra.service.batch_context import BatchContext
from orchestra.service.context import Context
from orchestra.service.service import Service
from orchestra.settings import Settings
from orchestra.supervisor import Supervisor
from orchestra.testing.plugin import Kafka
from orchestra.transport.kafka.transport import KafkaTransport
from orchestra.transport.port import Partition, TopicSpec
from tests.integration.running import running

pytestmark = pytest.mark.kafka

PARTITIONS = 4
KEYS = 40
EACH = 25


class Ticked(Event, type="many.ticked.v1", topic="many.ticks"):
    key: Key[str]
    number: int


class Stopped(Event, type="many.stopped.v1", topic="many.ticks"):
    key: Key[str]


class Copied(Event, type="many.copied.v1", topic="many.copies"):
    key: Key[str]
    number: int


Numbers = dict[str, list[int]]


def numbers() -> Numbers:
    return defaultdict(list)


class Many:
    """One service that reads event by event, and one that reads batches."""

    def __init__(self) -> None:
        self.single = Service("single", threads=4)
        self.batched = Service("batched")
        self.in_coroutine, self.in_thread, self.by_pattern, self.in_batch = (numbers() for _ in range(4))
        self.threads: set[str] = set()
        self.sizes: list[int] = []
        self.stopped = 0

        @self.single.on(Ticked, Stopped)
        async def coroutine(event: Ticked | Stopped) -> list[Copied]:
            if isinstance(event, Stopped):
                self.stopped += 1
                return []
            self.in_coroutine[event.key].append(event.number)
            return [Copied(key=event.key, number=event.number)]

        @self.single.on(Ticked)
        def thread(event: Ticked, ctx: Context) -> None:
            self.threads.add(threading.current_thread().name)
            self.in_thread[event.key].append(event.number)

        @self.single.on("many.t*", topic="many.ticks", where={"type": "*.v1"})
        async def pattern(event: Envelope) -> None:
            ticked = event.value(Ticked)
            self.by_pattern[ticked.key].append(ticked.number)

        @self.batched.on(Ticked, batch=Batch(size=100, within="300ms"), retry=Retry(attempts=2, first="10ms"))
        async def batch(events: list[Ticked], ctx: BatchContext) -> None:
            if len(events) > 1 and any(event.key == "poison" for event in events):
                raise ValueError("poison")
            self.sizes.append(len(events))
            for event in events:
                if event.key == "poison":
                    ctx.fail(event, PermanentError("poison"))
                elif event.number not in self.in_batch[event.key]:
                    self.in_batch[event.key].append(event.number)


async def until(condition: Callable[[], bool], supervisor: Supervisor) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)


async def records_of(settings: Settings, topic: str) -> list[Any]:
    transport = KafkaTransport(settings)
    await transport.start()
    found = []
    try:
        for number in range(PARTITIONS):
            partition = Partition(settings.topic(topic), number)
            end = (await transport.topics.bounds([partition]))[partition].end
            reader = await transport.reader(partition, offset=0)
            records: list[Any] = []
            while len(records) < end:
                records += await reader.fetch(max_records=1000, timeout=1.0)
            await reader.aclose()
            found += records
    finally:
        await transport.aclose()
    return found


async def test_every_kind_of_handler_handles_everything_in_order_per_key(kafka: Kafka) -> None:
    settings = Settings(bootstrap_servers=kafka.bootstrap_servers, namespace=f"many-{new_id()}")
    transport = KafkaTransport(settings)
    await transport.start()
    topics = ("many.ticks", "many.copies")
    await transport.topics.create([TopicSpec(settings.topic(topic), PARTITIONS) for topic in topics])
    await transport.aclose()
    many = Many()
    wanted = {f"key-{key}": list(range(EACH)) for key in range(KEYS)}
    everything = [wanted | {"poison": [0]}, wanted | {"poison": [0]}, wanted | {"poison": [0]}, wanted]

    async with running(settings, many.single, many.batched) as supervisor, connect(settings) as bus:
        ticks = [Ticked(key=f"key-{key}", number=number) for number in range(EACH) for key in range(KEYS)]
        ticks.insert(len(ticks) // 2, Ticked(key="poison", number=0))
        await bus.publish(ticks)
        await bus.publish(Stopped(key="key-1"))
        seen = (many.in_coroutine, many.in_thread, many.by_pattern, many.in_batch)
        await until(lambda: all(dict(got) == all_ for got, all_ in zip(seen, everything, strict=True)), supervisor)
        await until(lambda: many.stopped == 1, supervisor)
        await asyncio.sleep(1)

    assert [dict(got) for got in seen] == everything
    assert 1 <= len(many.threads) <= 4
    assert max(many.sizes) > 1
    copies = [decode(record.headers, record.value) for record in await records_of(settings, "many.copies")]
    assert len({copy.id for copy in copies}) == len(copies) == KEYS * EACH + 1
    [letter] = await records_of(settings, "batched.dead-letters")
    assert letter.key == b"poison"


async def test_batches_go_on_where_they_were_after_a_stop_and_lose_nothing(kafka: Kafka) -> None:
    settings = Settings(bootstrap_servers=kafka.bootstrap_servers, namespace=f"many-{new_id()}")
    seen: list[int] = []
    service = Service("batched")

    @service.on(Ticked, batch=Batch(size=64, within="200ms"))
    async def store(events: list[Ticked]) -> None:
        await asyncio.sleep(0.02)
        seen.extend(event.number for event in events)

    transport = KafkaTransport(settings)
    await transport.start()
    await transport.topics.create([TopicSpec(settings.topic("many.ticks"), PARTITIONS)])
    await transport.aclose()
    async with connect(settings) as bus:
        await bus.publish([Ticked(key=str(number % 97), number=number) for number in range(3000)])
    for part in range(1, 5):
        async with running(settings, service) as supervisor:
            await until(lambda enough=part * 700: len(seen) >= enough, supervisor)
    async with running(settings, service) as supervisor:
        await until(lambda: len(set(seen)) == 3000, supervisor)

    assert sorted(seen) == list(range(3000))  # a stop drains, so nothing came twice either
