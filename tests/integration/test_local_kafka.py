"""A real Kafka from Python packages alone: it starts, serves, loses and regains nodes, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from orchestra.testing.plugin import Kafka

pytestmark = pytest.mark.kafka


async def create_topic(bootstrap_servers: str, *, partitions: int = 1, replicas: int = 1, **settings: str) -> str:
    name = f"local-kafka.{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        topic = NewTopic(
            name, partitions, replicas, topic_configs={k.replace("_", "."): v for k, v in settings.items()}
        )
        answer = await admin.create_topics([topic])
        assert [row[1] for row in answer.topic_errors] == [0]
    finally:
        await admin.close()
    return name


async def produce(bootstrap_servers: str, topic: str, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value, key=b"k")


async def consume(bootstrap_servers: str, topic: str, count: int) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap_servers,
        group_id=f"{topic}.readers",
        auto_offset_reset="earliest",
        session_timeout_ms=3000,
        heartbeat_interval_ms=500,
    )
    async with consumer, asyncio.timeout(20):
        return [(await consumer.getone()).value for _ in range(count)]


def test_the_fixture_works_in_a_test_that_is_not_async(kafka: Kafka) -> None:
    host, _, port = kafka.bootstrap_servers.partition(":")

    assert host
    assert int(port) > 0


async def test_what_is_produced_is_consumed(kafka: Kafka) -> None:
    topic = await create_topic(kafka.bootstrap_servers)

    await produce(kafka.bootstrap_servers, topic, b"one", b"two")

    assert await consume(kafka.bootstrap_servers, topic, 2) == [b"one", b"two"]
