"""A real Kafka from Python packages alone: it starts, serves, loses and regains nodes, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from typer.testing import CliRunner, Result

from orchestra.cli.main import app
from orchestra.errors import LocalKafkaError
from orchestra.testing.kafka_cluster import KafkaCluster
from orchestra.testing.kafka_jars import KAFKA_VERSION, cache_directory
from orchestra.testing.kafka_process import command_line
from orchestra.testing.kafka_readiness import is_ready
from orchestra.testing.plugin import Kafka

pytestmark = pytest.mark.kafka


async def create_topic(bootstrap_servers: str, *, replicas: int = 1, **settings: str) -> str:
    name = f"local-kafka.{uuid.uuid4().hex}"
    configs = {key.replace("_", "."): value for key, value in settings.items()}
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(name, 1, replicas, topic_configs=configs)])
        assert [row[1] for row in answer.topic_errors] == [0]
    finally:
        await admin.close()
    return name


async def produce(bootstrap_servers: str, topic: str, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all") as producer, asyncio.timeout(30):
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


async def first_offset(bootstrap_servers: str, topic: str) -> int:
    """The offset of the first record that a reader from the beginning gets."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(20):
        consumer.assign([TopicPartition(topic, 0)])
        return int((await consumer.getone()).offset)


def pids_of(cluster: KafkaCluster) -> list[int]:
    return [process.pid for process in (cluster.process(node.id) for node in cluster.nodes) if process]


# One broker, shared by the run


def test_the_fixture_works_in_a_test_that_is_not_async(kafka: Kafka) -> None:
    host, _, port = kafka.bootstrap_servers.partition(":")

    assert host
    assert int(port) > 0


async def test_what_is_produced_is_consumed_by_a_group_with_a_session_of_three_seconds(kafka: Kafka) -> None:
    topic = await create_topic(kafka.bootstrap_servers)

    await produce(kafka.bootstrap_servers, topic, b"one", b"two")

    assert await consume(kafka.bootstrap_servers, topic, 2) == [b"one", b"two"]


async def test_compaction_can_be_watched_within_seconds(kafka: Kafka) -> None:
    topic = await create_topic(
        kafka.bootstrap_servers, cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.01"
    )
    await produce(kafka.bootstrap_servers, topic, b"old", b"new")

    async with asyncio.timeout(20):
        while await first_offset(kafka.bootstrap_servers, topic) == 0:
            await asyncio.sleep(0.2)
            await produce(kafka.bootstrap_servers, topic, b"rolls the segment")


async def test_retention_can_be_watched_within_seconds(kafka: Kafka) -> None:
    topic = await create_topic(kafka.bootstrap_servers, segment_ms="100", retention_ms="500")
    await produce(kafka.bootstrap_servers, topic, b"old")

    async with asyncio.timeout(20):
        while await consume_start(kafka.bootstrap_servers, topic) == 0:
            await asyncio.sleep(0.2)


async def consume_start(bootstrap_servers: str, topic: str) -> int:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers)
    async with consumer, asyncio.timeout(20):
        return int((await consumer.beginning_offsets([TopicPartition(topic, 0)]))[TopicPartition(topic, 0)])


# A cluster of its own: made, kept, found again, ended


def test_a_kept_cluster_goes_on_with_its_data_and_an_ended_one_leaves_nothing(tmp_path: Path) -> None:
    cluster = KafkaCluster.start(tmp_path / "kafka", guarded=True)
    topic = asyncio.run(create_topic(cluster.bootstrap_servers))
    asyncio.run(produce(cluster.bootstrap_servers, topic, b"kept"))

    cluster.stop(keep=True)
    again, started = KafkaCluster.ensure(tmp_path / "kafka")
    try:
        assert started
        assert asyncio.run(consume(again.bootstrap_servers, topic, 1)) == [b"kept"]
    finally:
        pids = pids_of(again)
        again.stop()

    assert [command_line(pid) for pid in pids] == [""]
    assert not (tmp_path / "kafka").exists()


def test_a_node_that_dies_at_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    cluster = KafkaCluster.start(tmp_path / "kafka", guarded=True)
    cluster.stop(keep=True)
    identity = cluster.node(1).data / "meta.properties"
    identity.write_text(identity.read_text().replace("node.id=1", "node.id=7"))

    with pytest.raises(LocalKafkaError, match=r"(?s)node 1 ended.*node id"):
        cluster.start_missing()

    cluster.stop()


def test_the_command_line_starts_shows_and_ends_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A cache of its own, so that a cluster which somebody runs by hand is not touched; the jars are shared.
    (tmp_path / f"kafka-{KAFKA_VERSION}").symlink_to(cache_directory() / f"kafka-{KAFKA_VERSION}")
    monkeypatch.setenv("ORCHESTRA_CACHE", str(tmp_path))

    def kafka_command(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["kafka", *arguments])

    try:
        assert "ready after" in kafka_command("up", "--name", "t", "--port", "0").output
        assert "running already" in kafka_command("up", "--name", "t").output
        other_size = kafka_command("up", "--name", "t", "--brokers", "3")
        assert (other_size.exit_code, "exists with 1 broker" in other_size.output) == (1, True)

        (row,) = json.loads(kafka_command("status", "--json").stdout)
        assert (row["name"], row["running"], len(row["nodes"])) == ("t", True, 1)
        host, port = row["bootstrap_servers"].split(":")
        taken = kafka_command("up", "--name", "other", "--port", port)
        assert (taken.exit_code, f"Port {port} is taken" in taken.output) == (1, True)
    finally:
        down = kafka_command("down", "--name", "t")

    assert "down" in down.output
    assert kafka_command("status").exit_code == 1
    assert "There is no Kafka 't'" in kafka_command("down", "--name", "t").output
    assert command_line(row["nodes"][0]["pid"]) == ""
    assert host == "127.0.0.1"


# Three brokers, and their misfortunes


@pytest.mark.cluster
async def test_a_killed_node_stops_nobody_and_comes_back(kafka_cluster: KafkaCluster) -> None:
    topic = await create_topic(kafka_cluster.bootstrap_servers, replicas=3)
    await asyncio.to_thread(kafka_cluster.kill, 2)
    assert not kafka_cluster.is_alive(2)

    await produce(kafka_cluster.node(1).address, topic, b"written without node 2")
    await asyncio.to_thread(kafka_cluster.restart, 2)

    assert await asyncio.to_thread(is_ready, kafka_cluster.nodes)
    assert await consume(kafka_cluster.node(2).address, topic, 1) == [b"written without node 2"]


@pytest.mark.cluster
async def test_a_paused_node_is_alive_but_does_not_answer_until_it_is_resumed(kafka_cluster: KafkaCluster) -> None:
    await asyncio.to_thread(kafka_cluster.pause, 3)
    try:
        assert kafka_cluster.is_alive(3)
        assert not await asyncio.to_thread(is_ready, [kafka_cluster.node(3)])
    finally:
        await asyncio.to_thread(kafka_cluster.resume, 3)

    await asyncio.to_thread(kafka_cluster.wait_ready)
