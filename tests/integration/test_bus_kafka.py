"""The bus on a real Kafka: the page's web example, very many events, other people's participants, brokers that die."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from httpx import ASGITransport, AsyncClient

from orchestra.bus.bus import connect
from orchestra.errors import (
    AskTimeoutError,
    OutcomeUnknownError,
    PublishError,
    RecordTooLargeError,
    TopicError,
    UnreachableError,
)
from orchestra.events.message import Command, Event, Key
from orchestra.ids import new_id
from orchestra.settings import Settings
from orchestra.testing.kafka_cluster import KafkaCluster
from orchestra.testing.plugin import Kafka
from orchestra.transport.kafka.transport import KafkaTransport
from orchestra.transport.port import TopicSpec
from tests.integration.running import running
from tests.snippets import imported

pytestmark = pytest.mark.kafka


class Ticked(Event, type="bus.ticked.v1", topic="bus.ticks"):
    key: Key[str]
    number: int
    padding: str = ""


class Answered(Event, type="bus.answered.v1"):
    number: int


class Refused(Event, type="bus.refused.v1"):
    pass


class Question(Command[Answered, Refused], type="bus.question.v1", topic="bus.questions"):
    key: Key[str]
    number: int


def settings_on(servers: str, **changes: Any) -> Settings:
    return Settings(bootstrap_servers=servers, namespace=f"bus-{new_id()}", **changes)


async def make_topics(settings: Settings, *names: str, partitions: int = 6, **config: str) -> None:
    transport = KafkaTransport(settings)
    await transport.start()
    try:
        await transport.topics.create([TopicSpec(settings.topic(name), partitions, config) for name in names])
    finally:
        await transport.aclose()


async def stored(settings: Settings, topic: str, count: int) -> list[Ticked]:
    """Read with aiokafka alone until so many are there."""
    consumer = AIOKafkaConsumer(
        settings.topic(topic), bootstrap_servers=settings.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    found: list[Ticked] = []
    try:
        async with asyncio.timeout(60):
            while len(found) < count:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [Ticked.model_validate_json(record.value) for record in records]
        await asyncio.sleep(0.5)
        for records in (await consumer.getmany(timeout_ms=500)).values():
            found += [Ticked.model_validate_json(record.value) for record in records]
    finally:
        await consumer.stop()
    return found


def by_key(events: list[Ticked]) -> dict[str, list[int]]:
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        numbers[event.key].append(event.number)
    return numbers


def ticks(count: int) -> list[Ticked]:
    return [Ticked(key=f"key-{n % 50}", number=n) for n in range(count)]


@asynccontextmanager
async def other_participant(settings: Settings, *, garbage: bool = False) -> AsyncGenerator[None]:
    """Answers questions with aiokafka alone: it copies headers and goes where it is told."""
    servers = settings.bootstrap_servers
    consumer = AIOKafkaConsumer(
        settings.topic("bus.questions"), bootstrap_servers=servers, auto_offset_reset="earliest"
    )
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await consumer.start()
    await producer.start()

    async def serve() -> None:
        async for record in consumer:
            question = Question.model_validate_json(record.value)
            given = dict(record.headers)
            answer = [
                ("ce_specversion", b"1.0"),
                ("ce_id", b"answer-%d" % question.number),
                ("ce_source", b"/somewhere"),
                ("ce_type", b"bus.answered.v1"),
                ("content-type", b"application/json"),
                ("ce_effectid", given["ce_effectid"]),
            ]
            topic, partition = given["ce_replyto"].decode(), int(given["ce_replypartition"])
            if garbage:
                await producer.send(topic, b"\x00\xff", partition=partition)
                await producer.send(topic, b'{"number": "many"}', headers=answer, partition=partition)
            await producer.send(topic, b'{"number": %d}' % question.number, headers=answer, partition=partition)

    serving = asyncio.create_task(serve())
    try:
        yield
    finally:
        serving.cancel()
        await asyncio.wait([serving])
        await consumer.stop()
        await producer.stop()


async def groups(servers: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        return {group for group, *_ in await admin.list_consumer_groups()}
    finally:
        await admin.close()


async def test_the_pages_web_example_runs_on_kafka(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_on(kafka.bootstrap_servers)
    monkeypatch.setenv("ORCHESTRA_BOOTSTRAP_SERVERS", settings.bootstrap_servers)
    monkeypatch.setenv("ORCHESTRA_NAMESPACE", settings.namespace)
    await make_topics(settings, "shop.orders")
    with imported("publishing.md", tmp_path) as page:
        app = page["web"].web_app()
        async with (
            running(settings, page["stock"].inventory),
            app.router.lifespan_context(app),
            AsyncClient(transport=ASGITransport(app), base_url="http://test", timeout=30) as web,
        ):
            order = {"order_id": "1", "item": "apple"}
            placed = await web.post("/orders", json=order)
            replies = [
                await web.post("/reservations", json={**order, "item": item}, headers={"idempotency-key": item})
                for item in ("apple", "pear")
            ]

    assert placed.status_code == 202
    assert [(reply.status_code, reply.json()) for reply in replies] == [
        (200, {"shelf": 7}),
        (409, {"detail": "no pear left"}),
    ]


async def test_very_many_events_are_stored_once_and_in_the_order_of_their_keys(kafka: Kafka) -> None:
    settings = settings_on(kafka.bootstrap_servers)
    await make_topics(settings, "bus.ticks")
    async with connect(settings) as bus:
        await bus.publish(iter(ticks(20_000)))

    found = by_key(await stored(settings, "bus.ticks", 20_000))

    assert sum(map(len, found.values())) == 20_000
    assert all(numbers == sorted(numbers) for numbers in found.values())


async def test_missing_topic_and_too_large_events_are_named(kafka: Kafka) -> None:
    settings = settings_on(kafka.bootstrap_servers)
    async with connect(settings) as bus:
        with pytest.raises(TopicError, match=r"kafka-topics.sh --create --topic bus-\S+\.bus\.ticks"):
            await bus.publish(*ticks(1))
        await make_topics(settings, "bus.ticks")
        await asyncio.sleep(1.1)  # a missing topic is believed to be missing for a second
        with pytest.raises(PublishError) as caught:
            await bus.publish([*ticks(5), Ticked(key="key-5", number=5, padding="x" * 2_000_000), *ticks(5)])

    assert [(lost.index, type(lost.error)) for lost in caught.value.not_stored] == [(5, RecordTooLargeError)]
    assert caught.value.stored == 10


async def test_nobody_there_is_said_at_the_start() -> None:
    with pytest.raises(UnreachableError):
        async with connect(Settings(bootstrap_servers="localhost:1", request_timeout=2)):
            pass


@pytest.mark.parametrize("garbage", [False, True])
async def test_other_peoples_participants_answer_and_their_garbage_does_not_matter(kafka: Kafka, garbage: bool) -> None:
    settings = settings_on(kafka.bootstrap_servers)
    await make_topics(settings, "bus.questions")
    async with other_participant(settings, garbage=garbage), connect(settings, name="one") as bus:
        asks = [bus.ask(Question(key="k", number=n), timeout="20s") for n in range(20)]
        answers = await asyncio.gather(*asks)

        counted = bus.statistics()
    assert answers == [Answered(number=n) for n in range(20)]
    assert (counted.unreadable, counted.misfits) == ((20, 20) if garbage else (0, 0))


async def test_processes_of_one_name_share_the_reply_topic_and_no_group_is_left(kafka: Kafka) -> None:
    settings = settings_on(kafka.bootstrap_servers, partitions=1)
    await make_topics(settings, "bus.questions")
    before = await groups(kafka.bootstrap_servers)
    async with (
        other_participant(settings),
        connect(settings, name="web") as one,
        connect(settings, name="web") as other,
    ):
        for n in range(5):
            mine, theirs = Question(key="k", number=n), Question(key="k", number=100 + n)
            answers = await asyncio.gather(one.ask(mine, timeout="20s"), other.ask(theirs, timeout="20s"))
            assert answers == [Answered(number=n), Answered(number=100 + n)]

    assert await groups(kafka.bootstrap_servers) == before


async def test_ask_that_nobody_answers_can_be_asked_again(kafka: Kafka) -> None:
    settings = settings_on(kafka.bootstrap_servers)
    await make_topics(settings, "bus.questions")
    async with connect(settings) as bus:
        with pytest.raises(AskTimeoutError) as caught:
            await bus.ask(Question(key="k", number=1), timeout="3s")
        async with other_participant(settings):
            again = bus.ask(Question(key="k", number=1), timeout="20s", effect_id=caught.value.effect_id)

            assert await again == Answered(number=1)


@pytest.mark.cluster
@pytest.mark.timeout(240)
async def test_kill_9_of_a_broker_in_the_middle_loses_nothing_and_repeats_nothing(kafka_cluster: KafkaCluster) -> None:
    settings = settings_on(kafka_cluster.bootstrap_servers, replication_factor=3)
    await make_topics(settings, "bus.ticks", **{"min.insync.replicas": "2"})
    victim = kafka_cluster.nodes[0].id

    async def source() -> AsyncGenerator[Ticked]:
        for event in ticks(20_000):
            if event.number == 5_000:
                await asyncio.to_thread(kafka_cluster.kill, victim)
            if event.number % 500 == 0:
                await asyncio.sleep(0.05)
            yield event

    try:
        async with connect(settings) as bus:
            await bus.publish(source())
    finally:
        await asyncio.to_thread(kafka_cluster.start_missing)
        await asyncio.to_thread(kafka_cluster.wait_ready)

    found = by_key(await stored(settings, "bus.ticks", 20_000))
    assert found == by_key(ticks(20_000))


@pytest.mark.cluster
@pytest.mark.timeout(240)
async def test_brokers_that_are_away_end_calls_in_time_and_the_bus_goes_on_when_they_are_back(
    kafka_cluster: KafkaCluster,
) -> None:
    settings = settings_on(
        kafka_cluster.bootstrap_servers, replication_factor=3, delivery_timeout=8.0, request_timeout=5.0
    )
    await make_topics(settings, "bus.ticks", "bus.questions")
    loop = asyncio.get_running_loop()
    async with connect(settings) as bus, asyncio.timeout(200):
        async with other_participant(settings):
            assert await bus.ask(Question(key="k", number=1), timeout="30s") == Answered(number=1)
        await bus.publish(*ticks(100))
        for node in kafka_cluster.nodes:
            await asyncio.to_thread(kafka_cluster.kill, node.id)
        try:
            begun = loop.time()
            calls = await asyncio.gather(
                bus.publish(Ticked(key="lost", number=0)),
                bus.publish(ticks(5000)),
                bus.ask(Question(key="k", number=2), timeout="6s"),
                return_exceptions=True,
            )
            assert loop.time() - begun < 12
            one, many, asked = calls
            assert isinstance(one, UnreachableError | OutcomeUnknownError)
            assert isinstance(many, PublishError)
            assert isinstance(asked, AskTimeoutError | UnreachableError)
        finally:
            await asyncio.to_thread(kafka_cluster.start_missing)
            await asyncio.to_thread(kafka_cluster.wait_ready)
        while True:
            with contextlib.suppress(UnreachableError):
                await bus.publish(Ticked(key="after", number=1))
                break
        async with other_participant(settings):
            assert await bus.ask(Question(key="k", number=3), timeout="60s") == Answered(number=3)

    found = by_key(await stored(settings, "bus.ticks", 101))
    assert found["after"] == [1]
    known = 100 + many.stored
    assert known <= sum(map(len, found.values())) <= known + len(many.unknown) + 2
