"""What a bus stores, what it says when it cannot, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from cloudevents.core.v1.event import CloudEvent

from orchestra.bus.bus import connect
from orchestra.errors import (
    ClosedError,
    DefinitionError,
    EncodeError,
    OutcomeUnknownError,
    PublishError,
    RecordTooLargeError,
    SettingsError,
    TopicError,
    UnreachableError,
)
from orchestra.transport.memory import Fate, MemoryTransport, Write
from orchestra.transport.partitioner import partition_for
from tests.unit.bus.bus_rig import EPOCH, BusRig, Homeless, Noted, Placed

pytestmark = pytest.mark.virtual_time


def placed(count: int, *, keys: int = 7) -> list[Placed]:
    return [Placed(order_id=f"order-{n % keys}", note=n) for n in range(count)]


def notes(rig: BusRig, partition: int | None = None) -> list[Any]:
    return [
        event.value(Placed).note
        for record, event in zip(rig.records("shop.orders"), rig.events("shop.orders"), strict=True)
        if partition in (None, record.partition)
    ]


def fate_of(data: bytes, fate: Fate) -> Callable[[Write], Fate | None]:
    return lambda write: fate if data in (write.value or b"") else None


# ---- one event


async def test_published_event_is_stored_when_the_call_returns() -> None:
    rig = BusRig()
    async with rig.bus(name="web") as bus:
        await bus.publish(Placed(order_id="1", note="hello"))

        (event,) = rig.events("shop.orders")
    (record,) = rig.records("shop.orders")
    assert (record.key, record.partition) == (b"1", partition_for(b"1", 4))
    assert (event.type, event.source, event.time, event.datacontenttype) == (
        "shop.placed.v1",
        "/bus/web",
        EPOCH,
        "application/json",
    )
    assert event.value(Placed) == Placed(order_id="1", note="hello")
    assert event.extensions == {}


async def test_id_source_and_correlation_can_be_given() -> None:
    rig = BusRig()
    async with rig.bus() as bus:
        await bus.publish(Noted(text="x"), id="my-id", source="/shop/eu", correlation_id="order-7")

    (event,) = rig.events("shop.notes")
    assert (event.id, event.source, event.get("correlationid")) == ("my-id", "/shop/eu", "order-7")


async def test_ids_are_new_for_every_event_and_every_bus() -> None:
    rig = BusRig()
    for _ in range(2):
        async with rig.bus() as bus:
            await bus.publish(Noted(text="x"))
            await bus.publish(Noted(text="y"), Noted(text="z"))

    assert len({event.id for event in rig.events("shop.notes")}) == 6


async def test_topics_are_named_as_the_settings_say() -> None:
    rig = BusRig(namespace="eu")
    async with rig.bus() as bus:
        await bus.publish(Noted(text="x"))
        await bus.publish([Noted(text="y")])

    assert len(rig.events("eu.shop.notes")) == 2


async def test_event_of_the_sdk_travels_as_it_is() -> None:
    rig = BusRig()
    event = CloudEvent(
        {
            "id": "sdk-1",
            "source": "/sdk",
            "type": "a.b",
            "specversion": "1.0",
            "time": EPOCH,
        },
        {"n": 1},
    )
    async with rig.bus() as bus:
        await bus.publish(event, topic="shop.notes", key="k")
        with pytest.raises(DefinitionError, match="topic"):
            await bus.publish(event)  # type: ignore[call-overload]

    (stored,) = rig.events("shop.notes")
    assert (stored.id, stored.source, rig.records("shop.notes")[0].key) == ("sdk-1", "/sdk", b"k")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((3,), {}),
        (("text", "more"), {}),
        ((Homeless(),), {}),
        ((Noted(text="x"),), {"topic": "shop.notes"}),
        ((Noted(text="x"), Noted(text="y")), {"id": "same"}),
        (([Noted(text="x")],), {"source": "/x"}),
    ],
    ids=["number", "strings", "no topic", "topic of a message", "one id for two", "source of many"],
)
async def test_what_makes_no_sense_is_a_definition_error(arguments: Any, options: Any) -> None:
    rig = BusRig()
    async with rig.bus() as bus:
        with pytest.raises((DefinitionError, PublishError)) as caught:
            await bus.publish(*arguments, **options)

    error = caught.value
    assert isinstance(error, DefinitionError) or isinstance(error.__cause__, DefinitionError)
    assert rig.records("shop.notes") == []


@pytest.mark.parametrize("many", [False, True])
async def test_missing_topic_is_named_with_its_remedy(many: bool) -> None:
    rig = BusRig()
    rig.cluster.delete("shop.notes")
    async with rig.bus() as bus:
        with pytest.raises((TopicError, PublishError), match=r"kafka-topics.sh --create --topic shop.notes") as caught:
            await bus.publish(*[Noted(text="x")] * (2 if many else 1))

    assert isinstance(caught.value.__cause__ if many else caught.value, TopicError)


async def test_brokers_that_are_away_are_waited_for_and_then_nothing_is_stored() -> None:
    rig = BusRig(delivery_timeout=10.0)
    async with rig.bus() as bus:
        rig.cluster.go_down()
        begun = asyncio.get_running_loop().time()
        with pytest.raises(UnreachableError):
            await bus.publish(Noted(text="x"))
        assert 10 <= asyncio.get_running_loop().time() - begun < 11

        publishing = asyncio.create_task(bus.publish(Noted(text="y")))
        await asyncio.sleep(5)
        rig.cluster.come_back()
        await publishing

    assert [event.value(Noted).text for event in rig.events("shop.notes")] == ["y"]


async def test_unanswered_event_is_unknown_and_says_its_id_for_the_repetition() -> None:
    rig = BusRig(delivery_timeout=10.0)
    async with rig.bus() as bus:
        rig.cluster.next_writes(Fate(acknowledged=False))
        with pytest.raises(OutcomeUnknownError) as caught:
            await bus.publish(Noted(text="x"))
        await bus.publish(Noted(text="x"), id=caught.value.event_id)

    assert [event.id for event in rig.events("shop.notes")] == [caught.value.event_id] * 2


async def test_many_tasks_may_publish_at_once() -> None:
    rig = BusRig()
    async with rig.bus() as bus, asyncio.TaskGroup() as group:
        for event in placed(50):
            group.create_task(bus.publish(event))
        group.create_task(bus.publish(placed(600)))

    assert len(rig.records("shop.orders")) == 650


# ---- many


async def aiter_of(events: list[Placed], pause: float = 0.0) -> AsyncIterator[Placed]:
    for event in events:
        if pause:
            await asyncio.sleep(pause)
        yield event


@pytest.mark.parametrize("form", ["arguments", "list", "generator", "async generator", "slow async generator"])
async def test_many_events_are_stored_in_the_order_of_their_keys(form: str) -> None:
    rig = BusRig()
    events = placed(300 if form.startswith("slow") else 2500)
    async with rig.bus() as bus:
        if form == "arguments":
            await bus.publish(*events, correlation_id="c")
        elif form == "list":
            await bus.publish(events, correlation_id="c")
        elif form == "generator":
            await bus.publish((event for event in events), correlation_id="c")
        else:
            await bus.publish(aiter_of(events, 0.001 if form.startswith("slow") else 0.0), correlation_id="c")

    assert sorted(notes(rig)) == list(range(len(events)))
    for number in range(4):
        assert notes(rig, number) == sorted(notes(rig, number))
    assert {event.get("correlationid") for event in rig.events("shop.orders")} == {"c"}


async def test_nothing_is_published_of_nothing() -> None:
    rig = BusRig()
    async with rig.bus() as bus:
        await bus.publish()
        await bus.publish([])
        await bus.publish(aiter_of([]))

    assert rig.records("shop.orders") == []


async def test_event_of_a_slow_source_does_not_wait_for_the_next_one() -> None:
    rig = BusRig()
    gate = asyncio.Event()

    async def source() -> AsyncIterator[Placed]:
        yield Placed(order_id="1")
        await gate.wait()

    async with rig.bus() as bus:
        publishing = asyncio.create_task(bus.publish(source()))
        await asyncio.sleep(0.1)

        assert len(rig.records("shop.orders")) == 1
        gate.set()
        await publishing


async def test_no_more_is_taken_than_can_leave() -> None:
    rig = BusRig(delivery_timeout=10.0)
    taken = 0

    def endless() -> Iterator[Placed]:
        nonlocal taken
        while True:
            taken += 1
            yield Placed(order_id=str(taken % 100))

    async with rig.bus() as bus:
        rig.cluster.go_down()
        with pytest.raises(PublishError):
            await bus.publish(endless())

    assert taken < 20_000


async def test_publication_that_is_stuck_leaves_room_for_others() -> None:
    rig = BusRig(delivery_timeout=10.0)
    rig.cluster.rules.append(lambda w: Fate(acknowledged=False) if w.partition.topic == "shop.orders" else None)
    async with rig.bus() as bus:
        stuck = asyncio.create_task(bus.publish(placed(30_000)))
        await asyncio.sleep(1)
        async with asyncio.timeout(1):
            await bus.publish(Noted(text="x"))

        with pytest.raises(PublishError):
            await stuck


async def test_of_many_the_error_names_what_is_stored_what_is_not_and_what_nobody_knows() -> None:
    rig = BusRig(delivery_timeout=10.0)
    events = placed(6, keys=1)
    events[2] = Placed(order_id="order-0", note="x" * 2_000_000)
    async with rig.bus() as bus:
        rig.cluster.rules.append(
            lambda write: Fate(acknowledged=False) if b'"note":4' in (write.value or b"") else None
        )
        with pytest.raises(PublishError, match="4 of 6 events are stored, 1 surely not, 1 perhaps; event 2") as caught:
            await bus.publish(events)

    error = caught.value
    assert [(each.index, type(each.error)) for each in error.not_stored] == [(2, RecordTooLargeError)]
    assert [(each.index, each.event) for each in error.unknown] == [(4, events[4])]
    assert (error.taken, error.stored) == (6, 4)
    assert error.unknown[0].id in {event.id for event in rig.events("shop.orders")}


async def test_event_that_cannot_be_encoded_stops_the_rest_and_what_came_before_is_stored() -> None:
    rig = BusRig()
    events = [*placed(1000), Placed(order_id="1", note=object()), *placed(1000)]
    async with rig.bus() as bus:
        with pytest.raises(PublishError) as caught:
            await bus.publish(iter(events))

    assert [(each.index, type(each.error)) for each in caught.value.not_stored] == [(1000, EncodeError)]
    assert (caught.value.stored, caught.value.taken) == (1000, 1001)
    assert len(rig.records("shop.orders")) == 1000


async def test_failure_stops_the_taking_soon_and_every_event_is_accounted_for() -> None:
    rig = BusRig(delivery_timeout=10.0)
    events = placed(30_000, keys=1)
    rig.cluster.rules.append(
        lambda write: Fate(error=RecordTooLargeError("no")) if b'"note":5}' in (write.value or b"") else None
    )
    async with rig.bus() as bus:
        with pytest.raises(PublishError) as caught:
            await bus.publish(events)

    error = caught.value
    assert error.taken < 20_000
    lost = {each.index for each in (*error.not_stored, *error.unknown)}
    assert sorted(notes(rig)) == [n for n in range(error.taken) if n not in lost]


async def test_what_an_iterable_raises_comes_out_once_the_rest_is_stored() -> None:
    rig = BusRig()

    def source() -> Iterator[Placed]:
        yield from placed(300)
        raise RuntimeError("the file ends here")

    async with rig.bus() as bus:
        with pytest.raises(RuntimeError, match="the file") as caught:
            await bus.publish(source())

    assert len(rig.records("shop.orders")) in (256, 300)
    assert caught.value.__notes__ == [f"{len(rig.records('shop.orders'))} events were published before"]


async def test_cancelled_publication_leaves_the_bus_in_order() -> None:
    rig = BusRig()

    async def endless() -> AsyncIterator[Placed]:
        while True:
            await asyncio.sleep(0.01)
            yield Placed(order_id="1")

    async with rig.bus() as bus:
        publishing = asyncio.create_task(bus.publish(endless()))
        await asyncio.sleep(1)
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        before = len(rig.records("shop.orders"))
        await bus.publish(Placed(order_id="2"))

    assert before > 50
    assert len(rig.records("shop.orders")) == before + 1


# ---- life


async def test_end_of_the_block_waits_for_calls_under_way_and_then_there_are_no_more() -> None:
    rig = BusRig()
    rig.cluster.next_writes(Fate(request_delay=3.0))
    async with rig.bus() as bus:
        publishing = asyncio.create_task(bus.publish(Noted(text="x")))
        await asyncio.sleep(0)

    assert publishing.done()
    assert len(rig.records("shop.notes")) == 1
    with pytest.raises(ClosedError):
        await bus.publish(Noted(text="y"))


async def test_end_of_the_block_waits_no_longer_than_the_drain_timeout() -> None:
    rig = BusRig(drain_timeout=4.0, request_timeout=3.0)
    rig.cluster.next_writes(Fate(acknowledged=False))
    async with rig.bus() as bus:
        publishing = asyncio.create_task(bus.publish(Noted(text="x")))
        await asyncio.sleep(0)
        begun = asyncio.get_running_loop().time()

    assert asyncio.get_running_loop().time() - begun <= 7.1
    with pytest.raises(OutcomeUnknownError):
        await publishing


async def test_settings_come_from_the_environment_where_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = BusRig(namespace="eu")
    monkeypatch.setenv("ORCHESTRA_NAMESPACE", "eu")
    async with connect(transport=MemoryTransport(rig.cluster)) as bus:
        await bus.publish(Noted(text="x"))

    assert len(rig.records("eu.shop.notes")) == 1
    monkeypatch.setenv("ORCHESTRA_DELIVERY_TIMEOUT", "never")
    with pytest.raises(SettingsError, match="ORCHESTRA_DELIVERY_TIMEOUT"):
        async with connect():
            pass


async def test_name_must_do_for_a_topic() -> None:
    with pytest.raises(DefinitionError, match="name"):
        async with connect(name="Web Shop", transport=MemoryTransport(BusRig().cluster)):
            pass
