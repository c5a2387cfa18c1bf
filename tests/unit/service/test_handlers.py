"""What a handler may be: of several types, by pattern, raw, filtered, with several results, with middlewares."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestra.errors import PermanentError, TransientError
from orchestra.events.envelope import Envelope
from orchestra.events.message import Event, Key
from orchestra.ids import derived_id
from orchestra.retry import Retry
from orchestra.service.batch import Batch
from orchestra.service.batch_context import BatchContext
from orchestra.service.context import Context
from orchestra.service.middleware import Call
from orchestra.service.routing import MAX_REMEMBERED
from orchestra.service.service import Service
from orchestra.transport.port import TopicSpec
from tests.unit.service.rig import Counted, Placed, Reserve, Reserved, Rig, SoldOut, Watched

pytestmark = pytest.mark.virtual_time


class Cancelled(Event, type="shop.cancelled.v1", topic="shop.orders"):
    order_id: Key[str]


class Told(Event, type="stock.told.v1", topic="stock.watched"):
    order_id: Key[str]


@pytest.fixture
def service() -> Service:
    return Service("stock")


@pytest.fixture
def rig() -> Rig:
    return Rig()


# ---- several types, several handlers


async def test_one_handler_takes_several_types(service: Service, rig: Rig) -> None:
    seen: list[Any] = []

    @service.on(Placed, Cancelled)
    async def follow(event: Placed | Cancelled, ctx: Context) -> Watched | None:
        seen.append(event)
        return Watched(order_id=event.order_id) if isinstance(event, Placed) else None

    async with rig.running(service) as process:
        placed, _ = await rig.send(Placed(order_id="1"), Cancelled(order_id="1"))
        await process.idle()

    assert seen == [Placed(order_id="1"), Cancelled(order_id="1")]
    [watched] = rig.events("stock.watched")
    assert watched.id == derived_id(derived_id("/test", placed.id, "stock.follow"), "stock.follow", 0)


async def test_handlers_of_one_event_each_go_their_own_way(service: Service, rig: Rig) -> None:
    tries: list[str] = []

    @service.on(Placed, retry=Retry(attempts=3, first="1s"))
    async def flaky(event: Placed, ctx: Context) -> None:
        tries.append(f"flaky {ctx.attempt}")
        raise TransientError("never")

    @service.on(Placed, Cancelled)
    async def steady(event: Placed | Cancelled) -> Watched:
        tries.append("steady")
        return Watched(order_id=event.order_id)

    @service.on("shop.*", topic="shop.orders")
    async def audited(event: Envelope) -> Told:
        tries.append("audited")
        return Told(order_id="1")

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await process.idle()

    assert sorted(tries) == ["audited", "flaky 1", "flaky 2", "flaky 3", "steady"]
    assert [letter["handler"] for letter in rig.letters()] == ["stock.flaky"]
    assert len(rig.events("stock.watched")) == 2


# ---- patterns and raw envelopes


async def test_pattern_takes_any_type_of_its_topics_raw(service: Service, rig: Rig) -> None:
    seen: list[tuple[str, bytes | None]] = []

    @service.on("shop.*", "other.*", topic=["shop.orders", "shop.more"])
    async def keep(event: Envelope, ctx: Context) -> None:
        assert ctx.event is event
        seen.append((event.type, event.data))

    rig.cluster.create(TopicSpec("shop.more"))
    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        for kind in ("shop.unheard-of.v9", "elsewhere.v1"):
            event = rig.event(Placed(order_id="1")).evolve(type=kind, data=b"no JSON")
            await rig.put(rig.outgoing(event, Placed(order_id="1")))
        await process.idle()

    assert [kind for kind, _ in seen] == ["shop.placed.v1", "shop.unheard-of.v9"]
    assert seen[1][1] == b"no JSON"
    assert process.runtime.statistics().skipped == 1
    assert {spec.name for spec in process.runtime.needed_topics()} == {
        "shop.orders",
        "shop.more",
        "stock.dead-letters",
    }


async def test_pattern_is_only_for_its_own_topics(service: Service, rig: Rig) -> None:
    seen: list[str] = []

    @service.on("*", topic="shop.orders")
    async def keep(event: Envelope) -> None:
        seen.append(event.type)

    @service.on(Counted)
    async def counted(event: Counted) -> None: ...

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"), Counted(order_id="1"))
        await process.idle()

    assert seen == ["shop.placed.v1"]


async def test_types_that_patterns_met_are_remembered_within_a_bound(service: Service, rig: Rig) -> None:
    @service.on("shop.*", topic="shop.orders")
    async def keep(event: Envelope) -> None: ...

    @service.on(Placed)
    async def placed(event: Placed) -> None: ...

    process = rig.process(service)
    routes = process.runtime._make_processor()._routes

    assert [binding.name for binding in routes["shop.placed.v1"]] == ["stock.placed", "stock.keep"]  # type: ignore[union-attr]
    for number in range(MAX_REMEMBERED * 2):
        assert bool(routes[f"{'shop' if number % 2 else 'other'}.{number}"]) is bool(number % 2)
    assert len(routes) <= MAX_REMEMBERED + 1
    assert [binding.name for binding in routes["shop.placed.v1"]] == ["stock.placed", "stock.keep"]  # type: ignore[union-attr]


async def test_envelope_as_annotation_means_that_data_is_not_decoded(service: Service, rig: Rig) -> None:
    seen: list[bytes | None] = []

    @service.on(Placed)
    async def raw(event: Envelope) -> None:
        seen.append(event.data)

    async with rig.running(service) as process:
        event = rig.event(Placed(order_id="1")).evolve(data=b"no JSON")
        await rig.put(rig.outgoing(event, Placed(order_id="1")))
        await process.idle()

    assert seen == [b"no JSON"]
    assert rig.letters() == []


# ---- filters


async def test_filter_decides_by_attributes_and_never_decodes_data(service: Service, rig: Rig) -> None:
    seen: list[str] = []

    @service.on(Placed, where={"region": "eu"})
    async def eu(event: Placed) -> None:
        seen.append(f"eu {event.order_id}")

    @service.on(Placed, where=lambda event: event.get("region") == "us")
    async def us(event: Placed) -> None:
        seen.append(f"us {event.order_id}")

    async with rig.running(service) as process:
        for number, region in enumerate(("eu", "us", "asia")):
            await rig.send(Placed(order_id=str(number)), region=region)
        broken = rig.event(Placed(order_id="1"), region="asia").evolve(data=b"no JSON")
        await rig.put(rig.outgoing(broken, Placed(order_id="1")))
        await process.idle()

    assert sorted(seen) == ["eu 0", "us 1"]
    assert process.runtime.statistics().skipped == 2
    assert rig.letters() == []
    assert rig.lag("shop.orders") == 0


async def test_filter_that_raises_is_the_failure_of_its_handler_alone(service: Service, rig: Rig) -> None:
    seen: list[str] = []

    def broken(event: Envelope) -> bool:
        raise KeyError("region")

    @service.on(Placed, where=broken, retry=Retry(attempts=5))
    async def one(event: Placed) -> None:
        seen.append("one")

    @service.on(Placed)
    async def other(event: Placed) -> None:
        seen.append("other")

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await process.idle()

    assert seen == ["other"]
    [letter] = rig.letters()
    assert (letter["reason"], letter["handler"]) == ("CONTRACT", "stock.one")
    assert "its where= raised KeyError" in letter["error-message"]


# ---- what a handler returns


@pytest.mark.parametrize("kind", [tuple, list])
async def test_several_results_are_emitted_in_their_order_with_ids_that_repeat(
    service: Service, rig: Rig, kind: Any
) -> None:
    @service.on(Placed)
    async def watch(event: Placed, ctx: Context) -> tuple[Watched, Told]:
        ctx.publish(Watched(order_id="published"))
        several: tuple[Watched, Told] = kind((Watched(order_id="1"), Told(order_id="1")))
        return several

    async with rig.running(service) as process:
        [placed] = await rig.send(Placed(order_id="1"))
        await rig.put(rig.outgoing(placed, Placed(order_id="1")))
        await process.idle()

    effect = derived_id("/test", placed.id, "stock.watch")
    ids = [derived_id(effect, "stock.watch", position) for position in range(3)]
    found = {event.id: event.type for event in rig.events("stock.watched")}
    assert [found[one] for one in ids] == ["stock.watched.v1", "stock.watched.v1", "stock.told.v1"]
    assert len(rig.events("stock.watched")) == 6


async def test_nothing_in_a_list_is_nothing(service: Service, rig: Rig) -> None:
    @service.on(Placed)
    async def watch(event: Placed) -> list[Watched | Told]:
        return []

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await process.idle()

    assert rig.events("stock.watched") == []
    assert rig.letters() == []


async def test_one_wrong_result_among_several_is_a_broken_contract_and_nothing_is_emitted(
    service: Service, rig: Rig
) -> None:
    @service.on(Placed)
    async def watch(event: Placed) -> Any:
        return [Watched(order_id="1"), SoldOut(order_id="1")]

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await process.idle()

    assert [letter["reason"] for letter in rig.letters()] == ["CONTRACT"]
    assert rig.events("stock.watched") == []


def test_types_and_topics_of_several_results_are_known_beforehand(service: Service) -> None:
    @service.on(Placed)
    async def watch(event: Placed) -> tuple[Watched, ...] | list[Counted | Told] | None:
        return None

    assert service.emitted_topics == {"stock.watched", "stock.counted"}
    assert set(service.outcome_types.values()) == {Watched, Counted, Told}


# ---- middlewares


async def test_middlewares_run_in_the_order_of_their_declaration_around_every_handler(
    service: Service, rig: Rig
) -> None:
    said: list[str] = []

    def named(name: str) -> Any:
        async def middleware(call: Call, event: Any, ctx: Context) -> Any:
            said.append(f"{name} before {ctx.handler}")
            try:
                return await call(event, ctx)
            finally:
                said.append(f"{name} after")

        return middleware

    @service.handles(Reserve, middleware=[named("own 1"), named("own 2")])
    async def reserve(command: Reserve) -> Reserved:
        said.append("reserve")
        return Reserved(order_id=command.order_id)

    service.middleware(named("first"))
    service.middleware(named("second"))

    async with rig.running(service) as process:
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    assert said == [
        *(f"{name} before stock.reserve" for name in ("first", "second", "own 1", "own 2")),
        "reserve",
        *(f"{name} after" for name in ("own 2", "own 1", "second", "first")),
    ]
    assert [reply.type for reply in rig.answers()] == ["stock.reserved.v1"]


async def test_middleware_may_answer_itself_change_the_event_and_the_result(service: Service, rig: Rig) -> None:
    seen: list[str] = []

    @service.middleware
    async def change(call: Call, event: Any, ctx: Context) -> Any:
        if event.order_id == "blocked":
            return SoldOut(order_id="blocked")
        returned = await call(event.model_copy(update={"order_id": event.order_id + "!"}), ctx)
        return returned.model_copy(update={"order_id": "changed"})

    @service.handles(Reserve)
    async def reserve(command: Reserve, ctx: Context) -> Reserved:
        seen.append(command.order_id)
        return Reserved(order_id=command.order_id)

    async with rig.running(service) as process:
        await rig.command(Reserve(order_id="1"))
        await rig.command(Reserve(order_id="blocked"), step="other")
        await process.idle()

    assert seen == ["1!"]
    answers = {answer.type: answer for answer in rig.answers()}
    assert answers["stock.reserved.v1"].value(Reserved).order_id == "changed"
    assert "stock.sold-out.v1" in answers


async def test_error_of_a_middleware_is_the_handlers_and_its_timeout_covers_both(service: Service, rig: Rig) -> None:
    called: list[int] = []

    @service.middleware
    async def slow(call: Call, event: Any, ctx: Context) -> Any:
        called.append(ctx.attempt)
        if ctx.attempt == 1:
            await asyncio.sleep(3600)
        if ctx.attempt == 2:
            raise PermanentError("no")
        return await call(event, ctx)

    @service.on(Placed, timeout="1s")
    async def placed(event: Placed) -> None:
        called.append(99)

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await process.idle()

    assert called == [1, 2]
    assert [letter["reason"] for letter in rig.letters()] == ["PERMANENT"]


async def test_middleware_sees_batches_as_lists_and_call_resources_open_within_it(service: Service, rig: Rig) -> None:
    said: list[str] = []

    class Session: ...

    @service.resource(scope="call")
    async def session() -> AsyncIterator[Session]:
        said.append("opened")
        yield Session()
        said.append("closed")

    @service.middleware
    async def noted(call: Call, event: Any, ctx: Context | BatchContext) -> Any:
        said.append(f"{len(event)} events for {ctx.handler}")
        return await call(event, ctx)

    @service.on(Placed, batch=Batch(size=2, within="1s"))
    async def store(events: list[Placed], session: Session, ctx: BatchContext) -> None:
        said.append("stored")

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"), Placed(order_id="1"))
        await process.idle()

    assert said == ["2 events for stock.store", "opened", "stored", "closed"]


async def test_without_middleware_nothing_stands_between_caller_and_function(service: Service, rig: Rig) -> None:
    @service.on(Placed)
    async def placed(event: Placed, ctx: Context) -> None: ...

    processor = rig.process(service).runtime._make_processor()

    assert processor._routes["shop.placed.v1"].invoke is placed  # type: ignore[union-attr]


# ---- resources in tests


class Engine: ...


class Stock:
    def __init__(self, name: str) -> None:
        self.name = name


async def test_overriding_gives_values_instead_of_opening_and_opens_nothing_that_only_they_need(
    service: Service, rig: Rig
) -> None:
    said: list[str] = []

    @service.resource
    async def engine() -> AsyncIterator[Engine]:
        said.append("engine opened")
        yield Engine()

    @service.resource(scope="call")
    async def stock(engine: Engine) -> AsyncIterator[Stock]:
        said.append("stock opened")
        yield Stock("real")

    @service.on(Placed)
    async def placed(event: Placed, stock: Stock) -> None:
        said.append(stock.name)

    with service.overriding({Stock: Stock("fake")}):
        async with rig.running(service) as process:
            await rig.send(Placed(order_id="1"))
            await process.idle()
        with service.overriding({Engine: None}):
            assert [resource.provides for resource in service.resources_to_open()] == [Stock]
    assert said == ["fake"]

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await process.idle()
    assert said == ["fake", "engine opened", "stock opened", "real"]


async def test_value_may_stand_for_a_resource_that_is_not_declared(service: Service, rig: Rig) -> None:
    seen: list[str] = []

    @service.on(Placed)
    async def placed(event: Placed, stock: Stock) -> None:
        seen.append(stock.name)

    with service.overriding({Stock: Stock("fake")}):
        async with rig.running(service) as process:
            await rig.send(Placed(order_id="1"))
            await process.idle()

    assert seen == ["fake"]


async def test_handlers_name_is_told_by_the_context(
    service: Service, rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    @service.on(Placed)
    async def placed(event: Placed, ctx: Context) -> None:
        ctx.log.info("by %s", ctx.handler)

    with caplog.at_level(logging.INFO, "orchestra.handler"):
        async with rig.running(service) as process:
            await rig.send(Placed(order_id="1"))
            await process.idle()

    assert "by stock.placed" in caplog.text
