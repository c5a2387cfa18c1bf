"""The Kafka transport keeps the contract, on a real broker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from aiokafka.protocol.produce import ProduceRequest
from confluent_kafka import Producer

from orchestra.testing.conformance import Lab, TransportConformance
from orchestra.testing.conformance.groups import subscription
from orchestra.testing.plugin import Kafka
from orchestra.transport.kafka.connection import client_arguments
from orchestra.transport.kafka.consumer import KafkaConsumer
from orchestra.transport.kafka.fenced_log import open_fenced_log
from orchestra.transport.kafka.network import Network
from orchestra.transport.kafka.transport import KafkaTransport
from orchestra.transport.port import FencedLog, Identity, Outgoing, Partition, Transport
from tests.unit.transport.kafka.stored_batches import batch, with_names

pytestmark = pytest.mark.kafka

_NOBODY_LISTENS = "127.0.0.1:1"
_CLEANING_SECONDS = 60.0


class KafkaLab(Lab):
    """A real broker."""

    def __init__(self, kafka: Kafka) -> None:
        super().__init__()
        session = 1.5 if os.environ.get("ORCHESTRA_TEST_KAFKA", "local") == "local" else 6.0  # brokers' default minimum
        self.settings = Lab.settings.model_copy(
            update={"bootstrap_servers": kafka.bootstrap_servers, "session_timeout": session}
        )

    def new_transport(self) -> Transport:
        return KafkaTransport(self.settings)

    def unreachable_transport(self) -> Transport:
        return KafkaTransport(self.settings.model_copy(update={"bootstrap_servers": _NOBODY_LISTENS}))

    async def crash(self, transport: Transport) -> None:
        for part in cast("Any", transport)._parts:
            if not isinstance(part, KafkaConsumer):
                await part.aclose()
                continue
            client, part._client = part._client, None
            part._closed.set_result(None)
            tasks = [client._coordinator._coordination_task, client._coordinator._heartbeat_task]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            client._closed = True  # or it would complain that nobody stopped it
            await client._fetcher.close()
            await client._client.close()

    async def compact(self, topic: str) -> None:
        process = await self.process()
        (state,) = (await process.topics.describe([topic])).values()
        partitions = [Partition(topic, number) for number in range(state.partitions)]
        async with asyncio.timeout(_CLEANING_SECONDS):
            for partition in partitions:
                while not await self._is_clean(process, partition):
                    await asyncio.sleep(0.2)  # longer than segment.ms: the next record begins a new segment
                    await self.put(process, Outgoing(topic, b"~", b"roll", partition=partition.number))

    async def _is_clean(self, process: Transport, partition: Partition) -> bool:
        keys = [record.key for record in await self.read_all(process, partition)]
        return len(keys) == len(set(keys))

    async def second_object(self, transport: Transport, partition: Partition, identity: Identity) -> FencedLog:
        network = Network(client_arguments(self.settings), name="second", timeout=self.settings.request_timeout)
        return await open_fenced_log(network, partition, identity, delivery_timeout=self.settings.delivery_timeout)


class TestKafkaTransport(TransportConformance):
    @pytest.fixture
    async def lab(self, kafka: Kafka) -> AsyncIterator[Lab]:
        async with KafkaLab(kafka) as lab:
            yield lab

    async def test_header_whose_name_is_not_utf8_stops_nobody(self, lab: Lab) -> None:
        """Kafka takes it, aiokafka cannot read it: without care no record behind it would ever be read."""
        transport = await lab.process()
        topic = await lab.topic(transport, partitions=1)
        place = Partition(topic, 0)
        network = Network(client_arguments(lab.settings), name="odd", timeout=10)
        await network.start()
        await network.require([topic])
        odd = ProduceRequest(None, -1, 10_000, [(topic, [(0, with_names(batch(0, 2), b"h\xfc"))])])
        leader = network.leader(place)
        assert leader is not None

        await lab.put(transport, Outgoing(topic, b"k", b"before", partition=0))
        await network.ask(leader, odd)
        await lab.put(transport, Outgoing(topic, b"k", b"behind", partition=0))
        await network.aclose()

        expected = [(b"before", []), (b"0", [("h?", b"1")]), (b"1", [("h?", b"1")]), (b"behind", [])]
        member = await lab.member(transport, subscription(topic))
        await member.wait_until(lambda: len(member.records) >= 4)
        assert [(record.value, list(record.headers)) for record in member.records] == expected
        read = await lab.read_all(transport, place)
        assert [(record.value, list(record.headers)) for record in read] == expected


async def test_the_stable_end_is_before_a_transaction_that_is_still_open(kafka: Kafka) -> None:
    async with KafkaLab(kafka) as lab:
        process = await lab.process()
        topic = await lab.topic(process, 1)
        await lab.fill(process, topic, 0, 3)
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": f"hanging-{topic}"})
        partition = Partition(topic, 0)

        await asyncio.to_thread(_write_in_transaction, producer, topic)
        stable = await process.topics.bounds([partition], stable=True)
        end = await process.topics.bounds([partition])
        await asyncio.to_thread(producer.abort_transaction, 10)

        assert (stable[partition].end, end[partition].end) == (3, 4)
        async with asyncio.timeout(10):
            while (await process.topics.bounds([partition], stable=True))[partition].end != 5:  # behind the marker
                await asyncio.sleep(0.05)


def _write_in_transaction(producer: Any, topic: str) -> None:
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(topic, b"in the air", partition=0)
    producer.flush(10)
