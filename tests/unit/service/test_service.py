"""Declaring: what a signature asks for, and each mistake as an error at import that says what to change."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import partial, wraps
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra.duration import seconds
from orchestra.errors import DefinitionError
from orchestra.events.envelope import Envelope
from orchestra.events.message import Done, Event, Undo
from orchestra.retry import Retry
from orchestra.service.batch import Batch
from orchestra.service.batch_context import BatchContext
from orchestra.service.context import Context
from orchestra.service.service import Service
from tests.unit.service.rig import Count, Counted, Placed, Release, Released, Reserve, Reserved, SoldOut, Watched


class Stock: ...


class Shelf: ...


@pytest.fixture
def service() -> Service:
    return Service("stock")


def test_decorated_handler_stays_the_plain_function(service: Service) -> None:
    async def reserve(command: Reserve, ctx: Context) -> Reserved | SoldOut:
        return Reserved(order_id="1")

    assert service.handles(Reserve)(reserve) is reserve


def test_signature_is_read_once(service: Service) -> None:
    @service.handles(Reserve, retry=Retry(attempts=7), timeout="10s")
    async def reserve(command: Reserve, stock: Stock, context: Context, count: int = 3) -> Reserved | SoldOut:
        return Reserved(order_id="1")

    handler = service.commands["stock.reserve.v1"]
    assert handler.name == "stock.reserve"
    assert handler.context == "context"
    assert handler.parameters == {"stock": Stock}
    assert handler.answers == (Reserved, SoldOut)
    assert (handler.retry.attempts, handler.timeout) == (7, 10.0)
    assert not handler.uses_ledger


def test_handler_has_a_timeout_unless_it_asks_for_none(service: Service) -> None:
    @service.on(Placed)
    async def one(event: Placed) -> None: ...

    @service.on(Placed, timeout=None)
    async def other(event: Placed) -> None: ...

    assert [handler.timeout for handler in service.events["shop.placed.v1"]] == [seconds("5m"), None]


async def with_ledger(event: Any, ctx: Context) -> None:
    async with ctx.effect(None, event):  # type: ignore[call-overload]
        pass


def test_ledger_is_seen_in_the_handler_and_in_what_it_calls(service: Service) -> None:
    @service.handles(Release)
    async def direct(command: Release, ctx: Context) -> Released:
        async with ctx.effect(None, command) as effect:  # type: ignore[call-overload]
            released: Released = effect.done(Released(order_id="1"))
            return released

    @service.handles(Count)
    async def through(command: Count, ctx: Context) -> Counted:
        await with_ledger(command, ctx)
        return Counted(order_id="1")

    assert service.commands["stock.release.v1"].uses_ledger
    assert service.commands["stock.count.v1"].uses_ledger


def test_undo_is_a_command_of_its_own(service: Service) -> None:
    @service.handles(Undo[Reserve])
    async def undo(command: Undo[Reserve], ctx: Context) -> Done:
        return Done()

    assert set(service.commands) == {"stock.reserve.v1.undo"}
    assert service.command_topics == {"stock.commands"}


def test_topics_are_those_of_the_messages(service: Service) -> None:
    @service.handles(Count)
    async def count(command: Count) -> Counted:
        return Counted(order_id="1")

    @service.on(Placed)
    async def placed(event: Placed) -> Watched | None:
        return None

    assert service.command_topics == {"stock.commands"}
    assert service.event_topics == {"shop.orders"}
    assert service.emitted_topics == {"stock.counted", "stock.watched"}
    assert service.outcome_types == {"stock.counted.v1": Counted, "stock.watched.v1": Watched}


# ---- mistakes


def refuse(match: str) -> Any:
    return pytest.raises(DefinitionError, match=match)


@pytest.mark.parametrize("name", ["", "Stock", "my service", "-x", "a/b"])
def test_name_that_no_topic_could_have_is_refused(name: str) -> None:
    with refuse("names a topic"):
        Service(name)


def test_no_handler_could_run_at_once_is_refused() -> None:
    with refuse("max_in_flight=0"):
        Service("stock", max_in_flight=0)


def test_other_first_parameter_than_declared_is_refused(service: Service) -> None:
    with refuse(
        r"handler stock\.reserve is declared for Reserve, and its first parameter command takes Release: write"
    ):

        @service.handles(Reserve)
        async def reserve(command: Release) -> Reserved:
            return Reserved(order_id="1")


def test_first_parameter_without_annotation_is_refused(service: Service) -> None:
    with refuse("annotate its first parameter, command: Reserve"):

        @service.handles(Reserve)
        async def reserve(command) -> Reserved:  # type: ignore[no-untyped-def]
            return Reserved(order_id="1")


def test_handler_without_a_message_is_refused(service: Service) -> None:
    with refuse("takes no message"):

        @service.handles(Reserve)  # type: ignore[arg-type]
        async def reserve() -> Reserved:
            return Reserved(order_id="1")


def test_plain_function_is_a_handler_that_runs_in_a_thread(service: Service) -> None:
    @service.handles(Reserve)
    def reserve(command: Reserve) -> Reserved:
        return Reserved(order_id="1")

    assert service.commands["stock.reserve.v1"].is_sync


def test_return_annotation_other_than_the_outcomes_is_refused(service: Service) -> None:
    with refuse(r"returns Watched: a handler of stock\.reserve\.v1 returns Reserved \| SoldOut"):

        @service.handles(Reserve)  # type: ignore[arg-type]
        async def reserve(command: Reserve) -> Watched:
            return Watched(order_id="1")


def test_command_handler_that_may_return_nothing_is_refused(service: Service) -> None:
    with refuse("returns None"):

        @service.handles(Reserve)  # type: ignore[arg-type]
        async def reserve(command: Reserve) -> Reserved | None:
            return None


def test_event_handler_that_returns_what_has_no_topic_is_refused(service: Service) -> None:
    with refuse("returns SoldOut, which has no topic"):

        @service.on(Placed)
        async def placed(event: Placed) -> SoldOut:
            return SoldOut(order_id="1")


def test_second_handler_of_a_command_is_refused(service: Service) -> None:
    @service.handles(Reserve)
    async def reserve(command: Reserve) -> Reserved:
        return Reserved(order_id="1")

    with refuse(r"is handled by stock\.reserve: stock\.again would be a second answer"):

        @service.handles(Reserve)
        async def again(command: Reserve) -> Reserved:
            return Reserved(order_id="1")


def test_two_handlers_of_one_event_under_one_name_are_refused(service: Service) -> None:
    async def placed(event: Placed) -> None: ...

    service.on(Placed)(placed)
    with refuse("is there twice for shop.placed.v1: rename one"):
        service.on(Placed)(placed)


def test_event_without_a_topic_is_refused(service: Service) -> None:
    with refuse("SoldOut has no topic"):

        @service.on(SoldOut)
        async def sold_out(event: SoldOut) -> None: ...


def test_event_in_handles_and_command_in_on_are_refused(service: Service) -> None:
    with refuse(r"Placed is no class of Command: write handles\(<Command>\) for commands"):
        service.handles(Placed)(lambda event: None)  # type: ignore[arg-type]
    with refuse("Reserve is no class of Event"):
        service.on(Reserve)(lambda event: None)  # type: ignore[type-var,arg-type]


def test_parameter_that_no_resource_could_give_is_refused(service: Service) -> None:
    with refuse("parameter things has no type that a resource could give"):

        @service.handles(Reserve)
        async def reserve(command: Reserve, things: list[int]) -> Reserved:
            return Reserved(order_id="1")


def test_star_arguments_are_refused(service: Service) -> None:
    with refuse(r"takes \*more"):

        @service.handles(Reserve)
        async def reserve(command: Reserve, *more: Stock) -> Reserved:
            return Reserved(order_id="1")


def test_annotation_that_means_nothing_at_run_time_is_refused(service: Service) -> None:
    async def reserve(command: Reserve, stock: Stock) -> Reserved:
        return Reserved(order_id="1")

    reserve.__annotations__["stock"] = "OnlyForTypeChecking"
    with refuse("'OnlyForTypeChecking' means nothing"):
        service.handles(Reserve)(reserve)


def test_duration_that_is_none_is_refused(service: Service) -> None:
    with refuse("'soon' is not a duration"):

        @service.handles(Reserve, timeout="soon")
        async def reserve(command: Reserve) -> Reserved:
            return Reserved(order_id="1")


# ---- resources


def test_resource_that_nobody_gives_is_refused(service: Service) -> None:
    @service.handles(Reserve)
    async def reserve(command: Reserve, stock: Stock) -> Reserved:
        return Reserved(order_id="1")

    with refuse(r"handler stock\.reserve takes a Stock, which no resource gives: add @service\.resource"):
        service.check()


def test_resource_that_is_no_generator_or_does_not_say_its_type_is_refused(service: Service) -> None:
    with refuse("not an async generator"):

        @service.resource  # type: ignore[type-var]
        async def stock() -> Stock:
            return Stock()

    with refuse("does not say what it yields"):

        @service.resource
        async def silent():  # type: ignore[no-untyped-def]
            yield Stock()

    with refuse("is found by its type"):

        @service.resource
        async def several() -> AsyncIterator[list[int]]:
            yield [1]


def test_two_resources_of_one_type_are_refused(service: Service) -> None:
    @service.resource
    async def one() -> AsyncIterator[Stock]:
        yield Stock()

    with refuse("yields Stock, as .*one does"):

        @service.resource
        async def other() -> AsyncIterator[Stock]:
            yield Stock()


def test_resources_that_need_each_other_in_a_circle_are_refused(service: Service) -> None:
    @service.resource
    async def stock(shelf: Shelf) -> AsyncIterator[Stock]:
        yield Stock()

    @service.resource
    async def shelf(stock: Stock) -> AsyncIterator[Shelf]:
        yield Shelf()

    @service.on(Placed)
    async def placed(event: Placed) -> None: ...

    with refuse("break the circle"):
        service.check()


def test_process_resource_that_takes_one_of_a_call_is_refused(service: Service) -> None:
    @service.resource(scope="call")
    async def stock() -> AsyncIterator[Stock]:
        yield Stock()

    @service.resource
    async def shelf(stock: Stock) -> AsyncIterator[Shelf]:
        yield Shelf()

    @service.on(Placed)
    async def placed(event: Placed) -> None: ...

    with refuse("lives for one call"):
        service.check()


def test_event_class_is_an_event() -> None:
    assert issubclass(Placed, Event)


# ---- several types, patterns, batches, plain functions, middlewares: mistakes


class Cancelled(Event, type="shop.cancelled.v1", topic="shop.orders"):
    order_id: str


async def of_placed(event: Placed) -> None: ...


async def of_batch(events: list[Placed], ctx: BatchContext) -> None: ...


async def of_envelope(event: Envelope) -> None: ...


def test_parameter_that_takes_one_of_two_types_is_refused(service: Service) -> None:
    with refuse(
        r"handler stock\.of_placed is declared for Placed \| Cancelled, and its first parameter event takes Placed:"
        r" write event: Placed \| Cancelled"
    ):
        service.on(Placed, Cancelled)(of_placed)  # type: ignore[arg-type]


def test_type_that_is_named_twice_is_refused(service: Service) -> None:
    with refuse(r"stock\.on\(Placed, Placed\): shop\.placed\.v1 is there twice; name it once"):
        service.on(Placed, Placed)


def test_no_type_at_all_is_refused(service: Service) -> None:
    with refuse("name an event's class, or a pattern"):
        service.on()  # type: ignore[call-overload]


def test_class_with_a_topic_and_classes_mixed_with_patterns_are_refused(service: Service) -> None:
    with refuse(r"stock\.on\(Placed, topic=\.\.\.\): a class names its topic itself"):
        service.on(Placed, topic="elsewhere")  # type: ignore[call-overload]
    with refuse("classes and patterns do not mix: write a handler for each"):
        service.on("shop.*", Placed, topic="shop.orders")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("patterns", "topic", "says"),
    [
        (("shop.*",), None, r"stock\.on\('shop\.\*'\): a pattern does not say where its events are: add topic="),
        (("shop.*",), [], "add topic="),
        (("shop.*",), "no topic", "that is not a name of a topic"),
        (("shop.*",), ["a", 5], "that is not a name of a topic"),
        (("",), "shop", "a type is 1 to 200 visible ASCII characters"),
        (("a b",), "shop", "a type is 1 to 200 visible ASCII characters"),
        (("a.*", "a.*"), "shop", "is there twice"),
    ],
)
def test_pattern_that_cannot_be_read_is_refused(service: Service, patterns: Any, topic: Any, says: str) -> None:
    with refuse(says):
        service.on(*patterns, topic=topic)


def test_pattern_whose_handler_takes_a_class_is_refused(service: Service) -> None:
    with refuse("write event: Envelope: a pattern stands for any type, so the data is not decoded"):
        service.on("shop.*", topic="shop.orders")(of_placed)  # type: ignore[arg-type]


def test_pattern_on_a_topic_of_the_services_own_commands_is_refused(service: Service) -> None:
    service.on("stock.*", topic="stock.commands")(of_envelope)

    @service.handles(Count)
    async def count(command: Count) -> Counted:
        return Counted(order_id="1")

    with refuse(r"stock\.of_envelope reads 'stock\.commands' by pattern, and its commands come there: declare"):
        service.check()


@pytest.mark.parametrize("other", ["shop.*", "*", "shop.placed.v1"])
def test_pattern_and_class_that_may_meet_under_one_name_are_refused(service: Service, other: str) -> None:
    service.on(Placed)(of_envelope)

    with refuse(rf"handler stock\.of_envelope is there twice for '{re.escape(other)}': rename one"):
        service.on(other, topic="shop.orders")(of_envelope)


def test_one_function_for_types_that_cannot_meet_is_two_handlers(service: Service) -> None:
    service.on(Placed)(of_envelope)
    service.on(Watched)(of_envelope)
    service.on("other.*", topic="other")(of_envelope)

    assert len(service.handlers) == 3


def test_command_is_never_raw(service: Service) -> None:
    with refuse("its first parameter command takes Envelope: write command: Reserve"):

        @service.handles(Reserve)
        async def reserve(command: Envelope) -> Reserved:
            return Reserved(order_id="1")


def test_command_with_several_outcomes_at_once_is_refused(service: Service) -> None:
    with refuse(r"returns several Reserved: a handler of stock\.reserve\.v1 returns Reserved \| SoldOut"):

        @service.handles(Reserve)  # type: ignore[arg-type]
        async def reserve(command: Reserve) -> tuple[Reserved, SoldOut]:
            return Reserved(order_id="1"), SoldOut(order_id="1")


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        (tuple[Watched, str], "returns str: a handler of an event returns an Event, several in a tuple or list"),
        (list[Watched | None], "returns None: a handler of an event returns an Event, several"),
        (list[SoldOut], "returns SoldOut, which has no topic"),
        (dict[str, Watched], r"returns dict\[str, Watched\]: a handler of an event returns an Event"),
    ],
)
def test_several_results_of_which_one_cannot_be_emitted_are_refused(
    service: Service, annotation: Any, says: str
) -> None:
    async def watch(event: Placed) -> Any: ...

    watch.__annotations__["return"] = annotation
    with refuse(says):
        service.on(Placed)(watch)


def test_generators_are_refused(service: Service) -> None:
    async def watch(event: Placed) -> Any:
        yield Watched(order_id="1")

    with refuse(r"handler stock\.watch yields: return what it emits, several as a list or tuple"):
        service.on(Placed)(watch)


def test_what_is_no_function_is_refused(service: Service) -> None:
    with refuse("is no function: decorate def or async def"):
        service.on(Placed)(partial(of_placed))


def test_async_function_in_a_plain_wrapper_is_still_async(service: Service) -> None:
    @wraps(of_placed)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return of_placed(*args, **kwargs)

    service.on(Placed)(wrapper)

    assert not service.events["shop.placed.v1"][0].is_sync


def test_plain_function_with_an_async_session_is_refused(service: Service) -> None:
    with refuse("parameter session takes a AsyncSession, which only a coroutine can use: write async def watch"):

        @service.on(Placed)
        def watch(event: Placed, session: AsyncSession) -> None: ...


def test_no_thread_could_run_is_refused() -> None:
    with refuse("threads=0"):
        Service("stock", threads=0)


@pytest.mark.parametrize("size", [0, 5_001])
def test_batch_of_a_size_that_cannot_be_is_refused(size: int) -> None:
    with refuse(rf"Batch\(size={size}\): a batch holds 1 to 5,000 events"):
        Batch(size=size)


def test_batch_that_waits_for_no_duration_is_refused() -> None:
    with refuse("'soon' is not a duration"):
        Batch(within="soon")


def test_batch_handler_that_takes_one_event_is_refused(service: Service) -> None:
    with refuse(r"its first parameter event takes Placed: write event: list\[Placed\]: one list for each batch"):
        service.on(Placed, batch=Batch())(of_placed)  # type: ignore[arg-type]


def test_list_without_batch_is_refused(service: Service) -> None:
    with refuse(r"its first parameter events takes list\[Placed\]: write events: Placed"):
        service.on(Placed)(of_batch)  # type: ignore[arg-type]


def test_contexts_of_the_other_kind_are_refused(service: Service) -> None:
    with refuse(r"parameter ctx takes a Context, and it handles batches: write ctx: BatchContext"):

        @service.on(Placed, batch=Batch())
        async def one(events: list[Placed], ctx: Context) -> None: ...

    with refuse(r"parameter ctx takes a BatchContext, and it handles one event at a time: write ctx: Context"):

        @service.on(Placed)
        async def other(event: Placed, ctx: BatchContext) -> None: ...


def test_batch_handler_that_returns_something_is_refused(service: Service) -> None:
    with refuse(r"returns Watched: a batch handler returns None, and emits with ctx\.publish\(message, of=event\)"):

        @service.on(Placed, batch=Batch())  # type: ignore[type-var]
        async def store(events: list[Placed]) -> Watched:
            return Watched(order_id="1")


def test_topic_that_is_read_in_batches_and_one_by_one_is_refused(service: Service) -> None:
    service.on(Placed, batch=Batch())(of_batch)

    @service.on(Cancelled)
    async def cancelled(event: Cancelled) -> None: ...

    with refuse(
        r"service stock: stock\.of_batch reads topic 'shop\.orders' in batches, and stock\.cancelled one by one:.*"
        "declare one of them in another Service"
    ):
        service.check()


def test_middleware_that_is_not_async_or_takes_something_else_is_refused(service: Service) -> None:
    def plain(call: Any, event: Any, ctx: Any) -> Any: ...

    async def narrow(call: Any, event: Any) -> Any: ...

    with refuse(r"service stock: middleware .*plain is not async: write async def plain\(call, event, ctx\)"):
        service.middleware(plain)
    with refuse(r"handler stock\.of_placed: middleware .*narrow is called with three arguments"):
        service.on(Placed, middleware=[narrow])(of_placed)  # type: ignore[list-item]


def test_middleware_that_does_not_know_of_batches_is_refused_around_one(service: Service) -> None:
    async def timed(call: Any, event: Any, ctx: Context) -> Any: ...

    service.middleware(timed)
    service.on(Placed, batch=Batch())(of_batch)

    with refuse(r"timed takes a Context, and stock\.of_batch handles batches: write ctx: Context \| BatchContext"):
        service.check()


def test_overriding_what_nobody_takes_is_refused(service: Service) -> None:
    service.on(Placed)(of_placed)

    with refuse(r"service stock\.overriding: nobody takes a Shelf"), service.overriding({Shelf: Shelf()}):
        pass
