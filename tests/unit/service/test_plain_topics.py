"""Topics that hold no CloudEvents: read as they say, handled as events are, and written to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from orchestra.errors import DecodeError, DefinitionError, TransientError
from orchestra.events.envelope import Envelope
from orchestra.events.topic import Json, Topic
from orchestra.ids import derived_id
from orchestra.retry import Retry
from orchestra.service.batch import Batch
from orchestra.service.batch_context import BatchContext
from orchestra.service.context import Context
from orchestra.service.ledger import _message, _plain
from orchestra.service.outcome import emitted_plain
from orchestra.service.service import Service
from orchestra.transport.port import Outgoing, TopicSpec
from tests.unit.service.rig import Placed, Rig, Watched

pytestmark = pytest.mark.virtual_time


class Changed(BaseModel):
    change_id: str
    left: int = 0


STOCK = Topic("legacy.stock", Json(Changed), id=lambda change: change.change_id, key=lambda change: change.change_id)
NAMELESS = Topic("legacy.nameless", Json(Changed))


@pytest.fixture
def service() -> Service:
    return Service("stock")


@pytest.fixture
def rig() -> Rig:
    rig = Rig(partitions=1)
    for topic in (STOCK, NAMELESS):
        rig.cluster.create(TopicSpec(topic.name))
    return rig


async def put(rig: Rig, topic: Topic[Any], *values: bytes | None) -> None:
    await rig.put(*(Outgoing(topic.name, b"k", value, []) for value in values))


async def test_values_are_read_as_the_topic_says_and_ids_follow_from_them(service: Service, rig: Rig) -> None:
    seen: list[tuple[Changed, str, str]] = []

    @service.on(STOCK)
    async def changed(change: Changed, ctx: Context) -> Watched:
        seen.append((change, ctx.event.id, ctx.effect_id))
        assert (ctx.event.type, ctx.event.source) == ("topic:legacy.stock", "/topics/legacy.stock")
        return Watched(order_id=change.change_id)

    async with rig.running(service) as process:
        await put(rig, STOCK, b'{"change_id": "7", "left": 3, "unknown": 1}')
        await rig.put(Outgoing(STOCK.name, None, b'{"change_id": "8"}', [("ce_id", b"not asked"), ("ce_type", b"x")]))
        await process.idle()

    effects = [derived_id("/topics/legacy.stock", one, "stock.changed") for one in ("7", "8")]
    assert seen == [
        (Changed(change_id="7", left=3), "7", effects[0]),
        (Changed(change_id="8"), "8", effects[1]),
    ]
    watched = rig.events("stock.watched")
    assert [event.id for event in watched] == [derived_id(effect, "stock.changed", 0) for effect in effects]
    assert rig.letters() == []


async def test_without_id_a_record_is_known_by_its_place(service: Service, rig: Rig) -> None:
    seen: list[str] = []

    @service.on(NAMELESS)
    async def raw(event: Envelope) -> None:
        seen.append(f"{event.id} {event.data!r}")

    async with rig.running(service) as process:
        await put(rig, NAMELESS, b"no JSON", None)
        await process.idle()

    assert seen == ["legacy.nameless/0/0 b'no JSON'", "legacy.nameless/0/1 None"]


async def test_values_that_are_not_as_the_topic_says_are_dead_letters(service: Service, rig: Rig) -> None:
    @service.on(STOCK)
    async def changed(change: Changed) -> None: ...

    @service.on(NAMELESS, where=lambda event: event.data is not None)
    async def nameless(change: Changed) -> None: ...

    async with rig.running(service) as process:
        await put(rig, STOCK, b"no JSON", b'{"left": 5}', None, b'{"change_id": ""}')
        await put(rig, NAMELESS, b"[]", None)
        await process.idle()

    letters = rig.letters()
    assert [letter["reason"] for letter in letters] == ["DECODE"] * 5
    assert sum("which is no id" in letter["error-message"] for letter in letters) == 1
    assert process.runtime.statistics().skipped == 1
    assert rig.lag("legacy.stock", "legacy.nameless") == 0


async def test_batches_filters_tries_and_events_go_beside_it(service: Service, rig: Rig) -> None:
    seen: list[Any] = []

    @service.on(STOCK, batch=Batch(size=2, within="1s"))
    async def store(changes: list[Changed], ctx: BatchContext) -> None:
        seen.append([change.change_id for change in changes])
        ctx.publish(changes[0], of=0, to=NAMELESS)

    @service.on(Placed, retry=Retry(attempts=2))
    async def placed(event: Placed, ctx: Context) -> None:
        if ctx.attempt == 1:
            raise TransientError("not yet")
        seen.append(event)

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await put(rig, STOCK, b'{"change_id": "7"}', b'{"change_id": "8"}')
        await process.idle()

    assert sorted(map(str, seen)) == ["['7', '8']", "order_id='1' note=''"]
    assert [record.value for record in rig.records("legacy.nameless")] == [b'{"change_id":"7","left":0}']


async def test_values_are_published_with_their_key_and_without_an_envelope(service: Service, rig: Rig) -> None:
    @service.on(Placed)
    async def placed(event: Placed, ctx: Context) -> None:
        ctx.publish(Changed(change_id=event.order_id), to=STOCK)
        ctx.publish(Changed(change_id="x"), to=NAMELESS)

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await process.idle()

    [record] = rig.records("legacy.stock")
    assert (record.key, record.value) == (b"1", b'{"change_id":"1","left":0}')
    assert list(record.headers) == [("content-type", b"application/json")]
    assert rig.records("legacy.nameless")[0].key is None


async def test_a_value_of_another_class_is_a_broken_contract(service: Service, rig: Rig) -> None:
    @service.on(Placed)
    async def placed(event: Placed, ctx: Context) -> None:
        ctx.publish(event, to=STOCK)  # type: ignore[call-overload]

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await process.idle()

    assert [letter["reason"] for letter in rig.letters()] == ["CONTRACT"]


async def test_a_retry_topic_keeps_what_its_record_was(service: Service, rig: Rig) -> None:
    ids: list[str] = []

    @service.on(NAMELESS, retry=Retry(attempts=1, later=("5s",), order="unordered"))
    async def changed(change: Changed, ctx: Context) -> None:
        ids.append(ctx.effect_id)
        if len(ids) == 1:
            raise TransientError("not yet")

    async with rig.running(service) as process:
        await put(rig, NAMELESS, b'{"change_id": "7"}')
        await process.idle()
        async with asyncio.timeout(60):
            while len(ids) < 2:
                await asyncio.sleep(0.1)

    assert ids[0] == ids[1]
    assert rig.letters() == []


def test_what_the_ledger_keeps_of_it_is_sent_again_as_it_was() -> None:
    emitted = emitted_plain(Changed(change_id="7"), STOCK)

    assert _message(_plain(emitted)) == emitted


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Topic("no topic", Json(Changed)), "is not a name of a topic"),
        (lambda: Json(Placed), "Placed is an event or command and has its topic"),
        (lambda: Json(dict), "name a class of pydantic's BaseModel"),
        (lambda: Service("s").on(STOCK, Placed), r"s\.on\(Topic\('legacy\.stock'\), Placed\): a Topic stands alone"),
        (lambda: Service("s").on(STOCK, topic="x"), "a Topic stands alone"),
    ],
)
def test_mistakes_are_found_at_import(make: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        make()


def test_handler_of_another_class_is_refused(service: Service) -> None:
    async def changed(change: Placed) -> None: ...

    with pytest.raises(DefinitionError, match="is declared for Changed, and its first parameter change takes Placed"):
        service.on(STOCK)(changed)  # type: ignore[arg-type]


def test_id_that_raises_is_a_value_that_cannot_be_read() -> None:
    broken = Topic("legacy.broken", Json(Changed), id=lambda change: str(1 // change.left))

    with pytest.raises(DecodeError, match="its id= raised ZeroDivisionError"):
        broken.envelope(b'{"change_id": "1"}', "place")
