"""Declaring: what a signature asks for, and each mistake as an error at import that says what to change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestra.duration import seconds
from orchestra.errors import DefinitionError
from orchestra.events.message import Done, Event, Undo
from orchestra.retry import Retry
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
