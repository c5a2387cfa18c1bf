"""What is not known of a topic is asked once for all, until it is known, missing, or too late."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import aiokafka.errors as kafka_errors
import pytest

from orchestra.errors import AccessDeniedError, ClosedError, TopicError, TransportError, UnreachableError
from orchestra.settings import Settings
from orchestra.transport.kafka.network import TopicFacts
from orchestra.transport.kafka.publisher import KafkaPublisher
from orchestra.transport.kafka.topic_lookup import TopicLookup
from orchestra.transport.port import Outgoing
from tests.unit.transport.kafka.scripted_network import ScriptedNetwork

pytestmark = pytest.mark.virtual_time


class Asked(ScriptedNetwork):
    """Counts questions; ``error``: what asking raises."""

    def __init__(self) -> None:
        super().__init__()
        self.questions = 0
        self.error: Exception | None = None

    async def learn(self, topics: Collection[str]) -> dict[str, TopicFacts]:
        self.questions += 1
        await asyncio.sleep(0.1)
        if self.error is not None:
            raise self.error
        return await super().learn(topics)


def now() -> float:
    return asyncio.get_running_loop().time()


async def counts(lookup: TopicLookup, topic: str, *deadlines: float) -> list[int | type[BaseException]]:
    found = await asyncio.gather(*(lookup.count(topic, each) for each in deadlines), return_exceptions=True)
    return [each if isinstance(each, int) else type(each) for each in found]


async def test_many_who_want_to_know_ask_once() -> None:
    network = Asked()

    assert await counts(TopicLookup(network), "t", *[now() + 5] * 50) == [2] * 50
    assert network.questions == 1


async def test_each_waits_until_its_own_deadline_while_brokers_are_away() -> None:
    network = Asked()
    network.error = kafka_errors.NoBrokersAvailable()
    lookup = TopicLookup(network)
    begun = now()
    waiting = asyncio.create_task(counts(lookup, "t", begun + 1, begun + 2, begun + 60))

    await asyncio.sleep(30)
    network.error = None

    assert await waiting == [UnreachableError, UnreachableError, 2]
    assert now() - begun < 31


async def test_missing_topic_is_believed_after_a_second_and_then_for_a_second() -> None:
    network = Asked()
    lookup = TopicLookup(network)
    begun = now()

    assert await counts(lookup, "missing", begun + 5, begun + 5) == [TopicError, TopicError]
    assert 1 < now() - begun < 1.5
    asked = network.questions
    assert await counts(lookup, "missing", now() + 5) == [TopicError]
    assert network.questions == asked
    await asyncio.sleep(1.1)
    network.topics["missing"] = TopicFacts({0: 1}, replicas=1)
    assert await counts(lookup, "missing", now() + 5) == [1]


async def test_what_will_not_pass_is_said_at_once() -> None:
    network = Asked()
    network.error = AccessDeniedError("topic 't'")

    assert await counts(TopicLookup(network), "t", now() + 60) == [AccessDeniedError]


async def test_close_ends_whoever_waits() -> None:
    network = Asked()
    network.error = kafka_errors.NoBrokersAvailable()
    lookup = TopicLookup(network)
    waiting = asyncio.create_task(counts(lookup, "t", now() + 60))
    await asyncio.sleep(1)

    await lookup.aclose()

    assert await waiting == [ClosedError]


async def test_first_record_for_a_topic_waits_its_delivery_timeout_and_no_longer() -> None:
    network = Asked()
    network.error = kafka_errors.NoBrokersAvailable()
    publisher = KafkaPublisher(network, Settings(delivery_timeout=10.0))
    await publisher.start()
    begun = now()

    sent = await asyncio.gather(*(publisher.send(Outgoing("t", b"k", b"v")) for _ in range(20)))

    assert {type(each.exception()) for each in sent} == {UnreachableError}
    assert 10 <= now() - begun < 11
    await publisher.aclose()


async def test_record_that_finds_no_room_waits_its_delivery_timeout_and_no_longer() -> None:
    network = Asked()
    publisher = KafkaPublisher(network, Settings(delivery_timeout=10.0))
    await publisher.start()
    network.topics["t"] = TopicFacts({0: -1}, replicas=1)
    full = [Outgoing("t", b"k", b"v")] * 20_000
    first = await publisher.send_many(full)
    await asyncio.sleep(5)
    begun = now()

    second = asyncio.create_task(publisher.send_many(full))
    one = asyncio.create_task(publisher.send(Outgoing("t", b"k", b"v")))
    await first.wait()
    failures = await (await second).wait()

    assert {type(error) for error in failures.values()} == {UnreachableError}
    with pytest.raises(TransportError):
        await (await one)
    assert now() - begun < 11
    await publisher.aclose()
