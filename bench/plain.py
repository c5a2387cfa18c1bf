"""How does a program that knows nothing of orchestra write and read? With aiokafka alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

Headers = list[tuple[str, bytes]]
READY_SECONDS = 90.0


@asynccontextmanager
async def producer(servers: str) -> AsyncIterator[AIOKafkaProducer]:
    opened = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True, linger_ms=0)
    await opened.start()
    try:
        yield opened
    finally:
        await opened.stop()


@asynccontextmanager
async def reader(servers: str, *topics: str, start: str = "latest") -> AsyncIterator[AIOKafkaConsumer]:
    """Reads every partition of the topics, with no group; positions are fixed when this is entered."""
    opened = AIOKafkaConsumer(*topics, bootstrap_servers=servers, auto_offset_reset=start, fetch_max_wait_ms=100)
    await opened.start()
    try:
        for partition in opened.assignment():
            await opened.position(partition)
        yield opened
    finally:
        await opened.stop()


@asynccontextmanager
async def following(servers: str, topic: str, take: Callable[[ConsumerRecord], None]) -> AsyncIterator[None]:
    """Calls ``take`` with every record that comes from now on. A failure of it is raised on leaving."""
    async with reader(servers, topic) as consumer:
        task = asyncio.create_task(_follow(consumer, take))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _follow(consumer: AIOKafkaConsumer, take: Callable[[ConsumerRecord], None]) -> None:
    while True:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            for record in records:
                take(record)


@asynccontextmanager
async def admin(servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    opened = AIOKafkaAdminClient(bootstrap_servers=servers)
    await opened.start()
    try:
        yield opened
    finally:
        await opened.close()


async def create_topics(servers: str, names: Collection[str], partitions: int = 1) -> None:
    async with admin(servers) as client:
        await client.create_topics([NewTopic(name, partitions, 1) for name in names])


async def wait_for_groups(servers: str, groups: Collection[str], alive: Callable[[], None]) -> None:
    """Return when every group has members and each has its partitions. ``alive`` raises when waiting is in vain."""
    deadline = time.monotonic() + READY_SECONDS
    async with admin(servers) as client:
        while True:
            states: dict[str, str] = {}
            with suppress(KafkaError):  # a new broker does not know at once who coordinates a group
                for name in groups:  # one at a time: aiokafka 0.14 reads the answer for several wrongly
                    [described] = await client.describe_consumer_groups([name])
                    states |= {group[1]: group[2] for group in described.groups}
            if all(states.get(group) == "Stable" for group in groups):
                return
            alive()
            if time.monotonic() > deadline:
                raise RuntimeError(f"the groups were not ready within {READY_SECONDS:.0f} s: {states}")
            await asyncio.sleep(0.1)


async def committed(servers: str, group: str) -> int:
    """The sum of a group's committed offsets."""
    async with admin(servers) as client:
        offsets = await client.list_consumer_group_offsets(group)
    return sum(max(0, entry.offset) for entry in offsets.values())


async def end_of(servers: str, topic: str) -> int:
    """The sum of the end offsets of a topic: how many records were ever written, compaction aside."""
    async with reader(servers, topic) as consumer:
        return sum((await consumer.end_offsets(list(consumer.assignment()))).values())


async def everything_in(servers: str, topic: str) -> list[ConsumerRecord]:
    """All records of a topic that are there now."""
    found: list[ConsumerRecord] = []
    async with reader(servers, topic, start="earliest") as consumer:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        async with asyncio.timeout(READY_SECONDS):
            while any([await consumer.position(each) < end for each, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += records
    return found


def event(kind: str, number: str, data: bytes, at: str) -> tuple[Headers, bytes]:
    """A CloudEvent in binary mode, written by hand."""
    attributes = {"specversion": "1.0", "id": number, "source": "/bench", "type": kind, "time": at}
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
    return [*headers, ("content-type", b"application/json")], data
