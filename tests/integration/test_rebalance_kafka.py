"""Is every record handed out, to somebody, while members come and go?"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from orchestra.settings import Settings
from orchestra.testing.plugin import Kafka
from orchestra.transport.kafka.transport import KafkaTransport
from orchestra.transport.port import Committed, Consumer, Outgoing, Partition, Subscription, TopicSpec, Transport

pytestmark = pytest.mark.kafka


class Member:
    """Commits, when it is told to give partitions up, exactly what ``fetch`` gave it: a record passed over is lost."""

    def __init__(self, transport: Transport, topic: str) -> None:
        self.seen: list[int] = []
        self._next: dict[Partition, int] = {}
        self._consumer: Consumer = transport.consumer(Subscription("rebalance-stress", [topic]), self)
        self._task: asyncio.Task[None] | None = None

    async def on_assigned(self, partitions: Collection[Partition]) -> None:
        self._next.clear()

    async def on_revoked(self, partitions: Collection[Partition]) -> None:
        await self._consumer.commit({partition: Committed(offset) for partition, offset in self._next.items()})

    async def start(self) -> None:
        await self._consumer.start()
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            for record in await self._consumer.fetch(max_records=50, timeout=0.5):
                self._next[Partition(record.topic, record.partition)] = record.offset + 1
                self.seen.append(int(record.value or b"-1"))

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._consumer.aclose()


async def test_a_fetch_that_spans_a_rebalance_loses_no_record(kafka: Kafka) -> None:
    topic = "rebalance.stress"
    settings = Settings(bootstrap_servers=kafka.bootstrap_servers, session_timeout=6, heartbeat_interval=0.2)
    transport = KafkaTransport(settings)
    await transport.start()
    await transport.topics.create([TopicSpec(topic, partitions=4)])
    publisher = transport.publisher()
    await publisher.start()
    steady = Member(transport, topic)
    await steady.start()
    members, sent = [steady], 0

    async def produce() -> None:
        nonlocal sent
        while True:
            await publisher.publish([Outgoing(topic, str(sent + i).encode(), b"%d" % (sent + i)) for i in range(5)])
            sent += 5
            await asyncio.sleep(0.01)

    producing = asyncio.create_task(produce())
    for _ in range(5):
        guest = Member(transport, topic)
        members.append(guest)
        await guest.start()
        await asyncio.sleep(1.0)
        await guest.stop()
        await asyncio.sleep(0.7)
    producing.cancel()
    await asyncio.wait({producing})

    def missing() -> set[int]:
        return set(range(sent)) - {number for member in members for number in member.seen}

    for _ in range(50):
        if not missing():
            break
        await asyncio.sleep(0.2)
    lost = missing()
    await steady.stop()
    await publisher.aclose()
    await transport.aclose()

    assert sent > 500
    assert lost == set()
