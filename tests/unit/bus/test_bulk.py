"""A publication of many events on the Kafka publisher, with a scripted broker: what has not left can be taken back."""

from __future__ import annotations

import asyncio

import pytest

from orchestra.bus.bulk import Bulk
from orchestra.bus.stamp import Stamp
from orchestra.errors import PublishError, UnreachableError
from orchestra.ids import IdSeries
from orchestra.settings import Settings
from orchestra.transport.kafka.network import TopicFacts
from orchestra.transport.kafka.publisher import KafkaPublisher
from tests.unit.bus.bus_rig import EPOCH, Placed
from tests.unit.transport.kafka.scripted_network import ScriptedNetwork

pytestmark = pytest.mark.virtual_time

NO_LEADER = TopicFacts({0: -1, 1: -1}, replicas=1)


def bulk_on(publisher: KafkaPublisher) -> Bulk:
    stamp = Stamp("/bus/test", lambda topic: "t")
    return Bulk(
        publisher,
        lambda messages, ids, most: stamp.records(messages, ids, EPOCH, {}, most),
        lambda message, event_id: stamp.record(message, id=event_id, time=EPOCH),
        IdSeries().many,
    )


async def test_cancelled_publication_takes_back_what_has_not_left() -> None:
    network = ScriptedNetwork()
    publisher = KafkaPublisher(network, Settings(delivery_timeout=30.0))
    await publisher.start()
    facts, network.topics["t"] = network.topics["t"], NO_LEADER

    publishing = asyncio.create_task(bulk_on(publisher).publish([Placed(order_id=str(n)) for n in range(5000)]))
    await asyncio.sleep(5)
    publishing.cancel()
    await asyncio.wait([publishing])
    network.topics["t"] = facts
    await asyncio.sleep(60)

    assert publishing.cancelled()
    assert network.batches == []
    assert (publisher._pending, publisher._bytes) == (0, 0)
    await publisher.aclose()


async def test_events_that_never_left_are_surely_not_stored() -> None:
    network = ScriptedNetwork()
    publisher = KafkaPublisher(network, Settings(delivery_timeout=10.0))
    await publisher.start()
    network.topics["t"] = NO_LEADER

    with pytest.raises(PublishError) as caught:
        await bulk_on(publisher).publish(Placed(order_id=str(n)) for n in range(100_000))

    error = caught.value
    assert (error.stored, error.unknown) == (0, ())
    assert [each.index for each in error.not_stored] == list(range(error.taken))
    assert isinstance(error.not_stored[0].error, UnreachableError)
    assert error.taken < 12_000
    await publisher.aclose()
