"""The fence, writers and readers while brokers die, freeze and come back: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from orchestra.errors import FencedError, OutcomeUnknownError, TransportError, UnreachableError
from orchestra.ids import new_id
from orchestra.settings import Settings
from orchestra.testing.kafka_cluster import KafkaCluster
from orchestra.transport.kafka.transport import KafkaTransport
from orchestra.transport.port import (
    Committed,
    Consumer,
    FencedLog,
    Outgoing,
    Partition,
    Reader,
    Subscription,
    TopicSpec,
    Transport,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


class Site:
    """A transport on three brokers, and topics of its own."""

    def __init__(self, cluster: KafkaCluster, **settings: float) -> None:
        self.cluster = cluster
        self.settings = Settings(
            bootstrap_servers=cluster.bootstrap_servers,
            replication_factor=3,
            session_timeout=6.0,
            heartbeat_interval=0.5,
        ).model_copy(update=settings)
        self.transport = KafkaTransport(self.settings)

    async def topic(self, **config: str) -> Partition:
        name = f"fence.{new_id()}"
        named = {key.replace("_", "."): value for key, value in config.items()}
        await self.transport.topics.create([TopicSpec(name, 1, named)])
        return Partition(name, 0)

    async def leader(self, partition: Partition) -> int:
        """The node that leads a partition now."""
        facts = await self.transport._network.require([partition.topic])
        return facts[partition.topic].leaders[partition.number]

    async def values(self, partition: Partition) -> list[bytes | None]:
        end = (await self.transport.topics.bounds([partition]))[partition].end
        reader = await self.transport.reader(partition)
        found: list[bytes | None] = []
        place = 0
        while place < end and (records := await reader.fetch(max_records=10_000, timeout=10)):
            found += [record.value for record in records]
            place = records[-1].offset + 1
        await reader.aclose()
        return found

    async def kill(self, node: int) -> None:
        await asyncio.to_thread(self.cluster.kill, node)

    async def restart(self, *nodes: int) -> None:
        for node in nodes:
            await asyncio.to_thread(self.cluster.restart, node)
        await asyncio.to_thread(self.cluster.wait_ready)


@contextlib.asynccontextmanager
async def site_on(cluster: KafkaCluster, **settings: float) -> AsyncIterator[Site]:
    site = Site(cluster, **settings)
    await site.transport.start()
    try:
        yield site
    finally:
        await site.transport.aclose()
        for node in cluster.nodes:  # as it was found
            if cluster.is_alive(node.id):
                cluster.resume(node.id)
        await asyncio.to_thread(cluster.start_missing)
        await asyncio.to_thread(cluster.wait_ready)


@contextlib.contextmanager
def frozen(cluster: KafkaCluster, *nodes: int) -> Iterator[None]:
    for node in nodes:
        cluster.pause(node)
    try:
        yield
    finally:
        for node in nodes:
            cluster.resume(node)


async def append(log: FencedLog, value: bytes) -> int:
    return await (await log.append(b"k", value))


async def owners(transport: Transport, partition: Partition) -> tuple[FencedLog, FencedLog]:
    """An owner that has written, and a newer one that has claimed."""
    name = f"fence.{new_id()}"
    old = await transport.fenced_log(name, partition)
    await append(old, b"old claim")
    new = await transport.fenced_log(name, partition)
    await append(new, b"new claim")
    return old, new


async def test_fence_outlives_kill_9_of_the_leader(kafka_cluster: KafkaCluster) -> None:
    async with site_on(kafka_cluster) as site:
        partition = await site.topic()
        old, new = await owners(site.transport, partition)

        await site.kill(await site.leader(partition))

        with pytest.raises(FencedError):
            await append(old, b"zombie")
        assert await append(new, b"after") == 2
        assert await site.values(partition) == [b"old claim", b"new claim", b"after"]


async def test_fence_outlives_a_restart_of_every_broker(kafka_cluster: KafkaCluster) -> None:
    async with site_on(kafka_cluster) as site:
        partition = await site.topic()
        old, new = await owners(site.transport, partition)

        for node in kafka_cluster.nodes:
            await site.kill(node.id)
        await asyncio.to_thread(kafka_cluster.start_missing)

        with pytest.raises(FencedError):
            await append(old, b"zombie")
        assert await append(new, b"after") == 2


async def test_fence_outlives_compaction_and_then_a_new_leader(kafka_cluster: KafkaCluster) -> None:
    async with site_on(kafka_cluster) as site:
        partition = await site.topic(
            cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.0", delete_retention_ms="600000"
        )
        old, new = await owners(site.transport, partition)
        async with asyncio.timeout(60):
            while len(await site.values(partition)) > 3:
                await asyncio.sleep(0.3)
                await append(new, b"roll")
            await asyncio.sleep(0.3)
            await append(new, b"roll")

        await site.kill(await site.leader(partition))

        with pytest.raises(FencedError):
            await append(old, b"zombie")
        assert await append(new, b"after") > 2


async def test_barrier_outlives_kill_9_of_the_leader(kafka_cluster: KafkaCluster) -> None:
    async with site_on(kafka_cluster) as site:
        partition = await site.topic()
        log = await site.transport.fenced_log(f"fence.{new_id()}", partition)
        await append(log, b"0")
        await site.transport.shut_out(log.identity.producer_id, partition, b"!barrier")

        await site.kill(await site.leader(partition))

        with pytest.raises(FencedError):
            await append(log, b"zombie")
        assert await site.transport.shut_out(log.identity.producer_id, partition, b"!barrier") == -1
        assert await site.values(partition) == [b"0", None]


async def test_appends_under_way_when_the_leader_dies_are_stored_once_and_in_order(kafka_cluster: KafkaCluster) -> None:
    async with site_on(kafka_cluster) as site:
        partition = await site.topic()
        log = await site.transport.fenced_log(f"fence.{new_id()}", partition)
        await append(log, b"0")
        leader = await site.leader(partition)
        killing = asyncio.create_task(site.kill(leader))

        futures = []
        for number in range(1, 3001):
            futures.append(await log.append(b"k", b"%d" % number))
            if number % 30 == 0:
                await asyncio.sleep(0.01)
        offsets = [await future for future in futures]
        await killing

        assert offsets == list(range(1, 3001))
        assert await site.values(partition) == [b"%d" % number for number in range(3001)]


async def test_frozen_leader_is_replaced_and_appends_go_on(kafka_cluster: KafkaCluster) -> None:
    async with site_on(kafka_cluster, request_timeout=4.0) as site:
        partition = await site.topic()
        log = await site.transport.fenced_log(f"fence.{new_id()}", partition)
        await append(log, b"0")

        with frozen(kafka_cluster, await site.leader(partition)):
            assert await append(log, b"1") == 1
            assert await append(log, b"2") == 2

        await asyncio.to_thread(kafka_cluster.wait_ready)  # one that just woke still takes itself for the leader
        assert await site.values(partition) == [b"0", b"1", b"2"]


async def test_append_without_an_answer_in_time_is_unknown_and_ends_the_log(kafka_cluster: KafkaCluster) -> None:
    async with site_on(kafka_cluster, delivery_timeout=2.0) as site:
        partition = await site.topic()
        log = await site.transport.fenced_log(f"fence.{new_id()}", partition)
        await append(log, b"0")
        loop = asyncio.get_running_loop()

        with frozen(kafka_cluster, 1, 2, 3):
            began = loop.time()
            futures = [await log.append(b"k", b"%d" % number) for number in (1, 2)]
            await asyncio.wait(futures)
            elapsed = loop.time() - began

        assert {type(future.exception()) for future in futures} == {OutcomeUnknownError}
        assert 1.5 < elapsed < 4
        assert isinstance(log.failure, OutcomeUnknownError)
        assert (await site.values(partition))[:1] == [b"0"]


async def test_outage_shorter_than_the_delivery_timeout_only_delays(kafka_cluster: KafkaCluster) -> None:
    async with site_on(kafka_cluster, delivery_timeout=60.0) as site:
        partition = await site.topic()
        publisher = site.transport.publisher()
        await publisher.start()
        await publisher.publish([Outgoing(partition.topic, b"k", b"first")])

        with frozen(kafka_cluster, 1, 2, 3):
            futures = [await publisher.send(Outgoing(partition.topic, b"k", b"%d" % n)) for n in range(500)]
            await asyncio.sleep(3)
        positions = [await future for future in futures]

        assert [position.offset for position in positions] == list(range(1, 501))
        assert await site.values(partition) == [b"first", *(b"%d" % n for n in range(500))]


async def test_records_are_stored_once_when_every_broker_dies_and_comes_back(kafka_cluster: KafkaCluster) -> None:
    async with site_on(kafka_cluster, delivery_timeout=90.0) as site:
        partition = await site.topic()
        publisher = site.transport.publisher()
        await publisher.start()
        await publisher.publish([Outgoing(partition.topic, b"k", b"first")])

        futures = [await publisher.send(Outgoing(partition.topic, b"k", b"%d" % n)) for n in range(200)]
        for node in kafka_cluster.nodes:
            await site.kill(node.id)
        futures += [await publisher.send(Outgoing(partition.topic, b"k", b"%d" % n)) for n in range(200, 400)]
        await asyncio.to_thread(kafka_cluster.start_missing)
        positions = [await future for future in futures]

        assert [position.offset for position in positions] == list(range(1, 401))
        assert await site.values(partition) == [b"first", *(b"%d" % n for n in range(400))]


async def test_outage_longer_than_the_delivery_timeout_fails_and_the_publisher_goes_on(
    kafka_cluster: KafkaCluster,
) -> None:
    async with site_on(kafka_cluster, delivery_timeout=2.0) as site:
        partition = await site.topic()
        publisher = site.transport.publisher()
        await publisher.start()
        await publisher.publish([Outgoing(partition.topic, b"k", b"first")])
        loop = asyncio.get_running_loop()

        with frozen(kafka_cluster, 1, 2, 3):
            began = loop.time()
            futures = [await publisher.send(Outgoing(partition.topic, b"k", b"%d" % n)) for n in range(5)]
            await asyncio.sleep(0.5)  # these are under way; the others wait behind them
            futures += [await publisher.send(Outgoing(partition.topic, b"k", b"behind")) for _ in range(5)]
            await asyncio.wait(futures)
            elapsed = loop.time() - began
        async with asyncio.timeout(60):
            while not await _goes_through(site, partition, b"after"):
                pass

        assert {type(future.exception()) for future in futures[:5]} == {OutcomeUnknownError}
        assert {type(future.exception()) for future in futures[5:]} == {UnreachableError}
        assert elapsed < 5
        stored = await site.values(partition)
        assert b"behind" not in stored
        assert stored[-1] == b"after"
        assert len(stored) == len(set(stored))


async def _goes_through(site: Site, partition: Partition, value: bytes) -> bool:
    publisher = site.transport.publisher()
    try:
        await publisher.start()
        await publisher.publish([Outgoing(partition.topic, b"k", value)])
    except OutcomeUnknownError:
        raise
    except TransportError:
        return False
    finally:
        await publisher.aclose()
    return True


class Silent:
    async def on_assigned(self, partitions: object) -> None:
        pass

    async def on_revoked(self, partitions: object) -> None:
        pass


async def test_consumer_outlives_the_death_of_every_broker(kafka_cluster: KafkaCluster) -> None:
    async with site_on(kafka_cluster) as site:
        partition = await site.topic()
        assert await _goes_through(site, partition, b"before")
        consumer = site.transport.consumer(Subscription(f"g.{new_id()}", [partition.topic]), Silent())
        await consumer.start()
        seen: list[bytes | None] = []

        async def fetch_until(value: bytes) -> None:
            async with asyncio.timeout(90):
                while value not in seen:
                    seen.extend(record.value for record in await consumer.fetch(max_records=10, timeout=0.5))

        await fetch_until(b"before")
        await consumer.commit({partition: Committed(1)})
        for node in kafka_cluster.nodes:
            await site.kill(node.id)
        assert await consumer.fetch(max_records=10, timeout=2) == []
        await asyncio.to_thread(kafka_cluster.start_missing)
        assert await _goes_through(site, partition, b"after")
        await fetch_until(b"after")

        assert set(seen) == {b"before", b"after"}
        await _commit_patiently(consumer, partition, 2)


async def _commit_patiently(consumer: Consumer, partition: Partition, offset: int) -> None:
    async with asyncio.timeout(60):
        while await consumer.committed(partition) != Committed(offset):
            with contextlib.suppress(TransportError):  # the group may still be coming together
                await consumer.commit({partition: Committed(offset)})
            await consumer.fetch(max_records=10, timeout=0.5)


async def _read_for_ever(reader: Reader) -> None:
    async with asyncio.timeout(20):
        while True:
            await reader.fetch(max_records=1, timeout=1)


async def test_reader_says_when_brokers_are_away_for_too_long(kafka_cluster: KafkaCluster) -> None:
    async with site_on(kafka_cluster, request_timeout=2.0) as site:
        partition = await site.topic()
        reader = await site.transport.reader(partition)
        assert await reader.fetch(max_records=1, timeout=0.1) == []

        with frozen(kafka_cluster, 1, 2, 3), pytest.raises(UnreachableError):
            await _read_for_ever(reader)


async def test_everything_closes_in_time_while_brokers_are_frozen(kafka_cluster: KafkaCluster) -> None:
    async with site_on(kafka_cluster, request_timeout=2.0) as site:
        partition = await site.topic()
        other = KafkaTransport(site.settings)
        await other.start()
        consumer = other.consumer(Subscription(f"g.{new_id()}", [partition.topic]), Silent())
        await consumer.start()
        async with asyncio.timeout(30):
            while not consumer.assignment():
                await consumer.fetch(max_records=1, timeout=0.2)
        publisher = other.publisher()
        await publisher.start()
        await publisher.publish([Outgoing(partition.topic, b"k", b"first")])
        log = await other.fenced_log(f"fence.{new_id()}", partition)
        await append(log, b"0")
        await other.reader(partition)
        loop = asyncio.get_running_loop()

        with frozen(kafka_cluster, 1, 2, 3):
            sent = await publisher.send(Outgoing(partition.topic, b"k", b"v"))
            appended = await log.append(b"k", b"1")
            began = loop.time()
            await other.aclose()
            elapsed = loop.time() - began

        assert elapsed < 8
        for future in (sent, appended):
            assert isinstance(future.exception(), OutcomeUnknownError)
        left = [task.get_coro().__qualname__ for task in asyncio.all_tasks() - {asyncio.current_task()}]  # type: ignore[union-attr]
        assert [name for name in left if "Consumer" in name or "fenced" in name.lower()] == []
