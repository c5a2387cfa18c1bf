"""Services on a real Kafka: killed at every stage of a record, and rebalanced while they work. Effects happen once."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestra.events.cloudevents import decode, encode
from orchestra.events.envelope import compose
from orchestra.service.context import Context
from orchestra.service.runtime import ServiceRuntime
from orchestra.service.service import Service
from orchestra.settings import Settings
from orchestra.testing.plugin import Kafka
from orchestra.transport.kafka.transport import KafkaTransport
from orchestra.transport.port import Outgoing, Partition, Subscription, TopicSpec
from tests.integration.counting_service import STAGES, Count, Counted

pytestmark = pytest.mark.kafka

PARTITIONS = 4


class Place:
    """The topics of one service on the shared broker, under a name of their own."""

    def __init__(self, kafka: Kafka) -> None:
        self.name = f"counting-{uuid.uuid4().hex[:12]}"
        self.settings = Settings(
            bootstrap_servers=kafka.bootstrap_servers,
            session_timeout=6.0,
            heartbeat_interval=1.0,
            topics={"counting.commands": f"{self.name}.commands"},
        )
        self.transport = KafkaTransport(self.settings, name="test")
        self.answers = f"{self.name}.answers"

    async def __aenter__(self) -> Place:
        await self.transport.start()
        names = (f"{self.name}.commands", f"{self.name}.dead-letters", self.answers)
        await self.transport.topics.create([TopicSpec(name, PARTITIONS) for name in names])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.transport.aclose()

    async def command(self, *orders: str) -> None:
        publisher = self.transport.publisher()
        await publisher.start()
        await publisher.publish([self._command(order) for order in orders])
        await publisher.aclose()

    def _command(self, order: str) -> Outgoing:
        flow = f"test/{order}"
        extensions = {
            "flowid": flow,
            "effectid": f"{flow}/1/count/action/0",
            "replyto": self.answers,
            "replypartition": 0,
        }
        event = compose(
            Count(order_id=order), id=f"id-{order}", source="/test", time=datetime.now(UTC), extensions=extensions
        )
        headers, value = encode(event)
        return Outgoing(f"{self.name}.commands", order.encode(), value, headers)

    async def answered(self, count: int, timeout: float = 60.0) -> list[tuple[str, str]]:
        """Order and id of every answer, once ``count`` orders have one."""
        reader = await self.transport.reader(Partition(self.answers, 0))
        found: list[tuple[str, str]] = []
        async with asyncio.timeout(timeout):
            while len({order for order, _ in found}) < count:
                for record in await reader.fetch(max_records=1000, timeout=0.5):
                    event = decode(record.headers, record.value)
                    found.append((event.value(Counted).order_id, event.id))
        await reader.aclose()
        return found

    async def lag_is_gone(self, timeout: float = 30.0) -> None:
        """Return when the group has committed everything."""
        topic = f"{self.name}.commands"
        partitions = [Partition(topic, number) for number in range(PARTITIONS)]
        consumer = self.transport.consumer(Subscription(self.name, [topic]), _Nobody())
        async with asyncio.timeout(timeout):
            while True:
                bounds = await self.transport.topics.bounds(partitions)
                places = [await consumer.committed(partition) for partition in partitions]
                if all(
                    bound.end == (place.offset if place else 0)
                    for bound, place in zip((bounds[p] for p in partitions), places, strict=True)
                ):
                    return
                await asyncio.sleep(0.2)


class _Nobody:
    async def on_assigned(self, partitions: object) -> None: ...
    async def on_revoked(self, partitions: object) -> None: ...


async def start_process(place: Place, database: Path, stage: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.counting_service",
        place.settings.bootstrap_servers,
        place.name,
        str(database),
        stage,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )


@asynccontextmanager
async def running(place: Place, service: Service) -> AsyncIterator[ServiceRuntime]:
    transport = KafkaTransport(place.settings)
    await transport.start()
    runtime = ServiceRuntime(service, transport, place.settings)
    await runtime.start()
    task = asyncio.create_task(runtime.run())
    try:
        yield runtime
    finally:
        runtime.stop()
        await task
        await transport.aclose()


async def killed_at(stage: str, kafka: Kafka, folder: Path) -> None:
    orders = [f"order-{number}" for number in range(12)]
    database = folder / f"{stage}.db"
    async with Place(kafka) as place:
        await place.command(*orders)
        process = await start_process(place, database, stage)
        async with asyncio.timeout(60):
            assert await process.wait() == -9, f"{stage}: it did not die"

        process = await start_process(place, database, stage)
        try:
            answers = await place.answered(len(orders))
            await place.lag_is_gone()
        finally:
            process.terminate()
            async with asyncio.timeout(30):
                assert await process.wait() == 0

    done = Counter(row[0] for row in sqlite3.connect(database).execute("SELECT order_id FROM counts"))
    assert done == Counter(orders), f"{stage}: every effect once"
    assert len(set(answers)) == len(orders), f"{stage}: repeated answers repeat their ids"


@pytest.mark.timeout(180)
async def test_effects_happen_once_wherever_the_process_is_killed(kafka: Kafka, tmp_path: Path) -> None:
    for group in (STAGES[:4], STAGES[4:]):  # a few at once: each waits for its dead member's session to end
        async with asyncio.TaskGroup() as tasks:
            for stage in group:
                tasks.create_task(killed_at(stage, kafka, tmp_path))


async def test_rebalance_waits_for_a_slow_handler_and_hands_over_the_rest(kafka: Kafka) -> None:
    begun: list[str] = []
    ended: list[str] = []
    under_way: Counter[str] = Counter()

    async with Place(kafka) as place:
        service = Service(place.name, max_in_flight=4)

        @service.handles(Count)
        async def count(command: Count, ctx: Context) -> Counted:
            begun.append(command.order_id)
            under_way[command.order_id] += 1
            assert under_way[command.order_id] == 1, "two members handle one record at once"
            await asyncio.sleep(0.5)
            under_way[command.order_id] -= 1
            ended.append(command.order_id)
            return Counted(order_id=command.order_id)

        orders = [f"order-{number}" for number in range(40)]
        await place.command(*orders)
        async with running(place, service) as first:
            while len(begun) < 6:
                await asyncio.sleep(0.01)
            async with running(place, service) as second:  # joins while the first is in the middle
                answers = await place.answered(len(orders))
                assert first.statistics().partitions + second.statistics().partitions == PARTITIONS
                assert second.statistics().handled > 0
            await place.lag_is_gone()

    assert Counter(begun) == Counter(ended) == Counter(orders), "what was drained is not handled again"
    assert len(answers) == len(orders)


async def test_stop_finishes_what_is_under_way_and_leaves_the_rest_to_the_next(kafka: Kafka) -> None:
    ended: list[str] = []

    async with Place(kafka) as place:
        service = Service(place.name, max_in_flight=8)

        @service.handles(Count)
        async def count(command: Count) -> Counted:
            await asyncio.sleep(0.3)
            ended.append(command.order_id)
            return Counted(order_id=command.order_id)

        orders = [f"order-{number}" for number in range(60)]
        await place.command(*orders)
        async with running(place, service) as runtime:
            while not runtime.statistics().queued:
                await asyncio.sleep(0.01)
        after_stop = len(ended)
        async with running(place, service):
            answers = await place.answered(len(orders))
            await place.lag_is_gone()

    assert 0 < after_stop < len(orders)
    assert Counter(ended) == Counter(orders), "nothing lost, and nothing twice"
    assert len(answers) == len(orders)
