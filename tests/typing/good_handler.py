"""Handlers that must type-check, without a cast."""

from collections.abc import Sequence
from typing import Any, assert_type

from pydantic import BaseModel

from orchestra import (
    Batch,
    BatchContext,
    Call,
    Context,
    Done,
    Envelope,
    Event,
    Json,
    Key,
    PermanentError,
    Service,
    Topic,
    Undo,
)
from tests.typing.good_flow import Asked, AskedAgain, Free, Held, Hold, Paid, PaidLater, Pay, SoldOut

shelves = Service("shelves")


class Shelf:
    """Something that a handler takes."""


@shelves.handles(Hold)
async def hold(command: Hold, ctx: Context, shelf: Shelf) -> Held | SoldOut:
    return Held(shelf=1) if shelf else SoldOut()


@shelves.handles(Free, timeout="1s")
async def free(command: Free) -> Done:
    return Done()


@shelves.handles(Pay)
async def pay(command: Pay) -> Paid | PaidLater | SoldOut:
    return PaidLater(days=3)


@shelves.handles(Undo[Hold])
async def undo(command: Undo[Hold], ctx: Context) -> Done:
    assert_type(command.command, Hold)
    return Done()


@shelves.on(Asked)
async def watch(event: Asked, ctx: Context) -> None:
    ctx.publish(event)


class Third(Event, type="typing.third.v1", topic="typing"):
    id: Key[str]


class Fourth(Event, type="typing.fourth.v1", topic="typing"):
    id: Key[str]


@shelves.on(Asked, AskedAgain, where={"source": "/shop/*"})
async def of_two_types(event: Asked | AskedAgain) -> Third | None:
    return None


@shelves.on(Asked, AskedAgain, Third, Fourth)
async def of_four_types(event: Asked | AskedAgain | Third | Fourth, ctx: Context) -> tuple[Third, Fourth]:
    return Third(id=event.id), Fourth(id=event.id)


@shelves.on(Asked)
async def of_any_event(event: Event) -> list[Third | Fourth]:
    return []


@shelves.on(Asked, where=lambda event: event.subject is not None, timeout=None)
def in_a_thread(event: Asked, shelf: Shelf) -> Third:
    return Third(id=event.id)


@shelves.handles(Hold)
def answered_in_a_thread(command: Hold, ctx: Context) -> Held | SoldOut:
    return Held(shelf=1)


@shelves.on(Asked, AskedAgain)
async def raw(event: Envelope, ctx: Context) -> None: ...


@shelves.on("typing.*", "more.*", topic=["typing", "more"])
async def by_pattern(event: Envelope) -> Third | None:
    return None


@shelves.on(Asked, batch=Batch(size=500, within="200ms"))
async def batch(events: list[Asked], ctx: BatchContext) -> None:
    ctx.fail(events[0], PermanentError("why"))
    ctx.fail(1, PermanentError("why"))
    ctx.publish(Third(id="1"), of=events[0])
    assert_type(ctx.effect_id(events[0]), str)


@shelves.on(Asked, AskedAgain, batch=Batch())
def batch_of_two_types(events: Sequence[Asked | AskedAgain]) -> None: ...


@shelves.on(Asked, batch=Batch())
async def raw_batch(events: list[Envelope], ctx: BatchContext) -> None: ...


@shelves.on("typing.*", topic="typing", batch=Batch(), timeout="1s")
async def batch_by_pattern(events: list[Envelope]) -> None: ...


@shelves.middleware
async def timed(call: Call, event: Any, ctx: Context | BatchContext) -> Any:
    assert_type(ctx.handler, str)
    return await call(event, ctx)


@shelves.on(Asked, middleware=[timed])
async def surrounded(event: Asked, ctx: Context) -> None: ...


class Change(BaseModel):
    item: str


changes = Topic("typing.changes", Json(Change), id=lambda change: change.item, key=lambda change: change.item)


@shelves.on(changes)
async def plain_topic(change: Change, ctx: Context) -> Third | None:
    ctx.publish(change, to=changes)
    return None


@shelves.on(changes, batch=Batch())
async def plain_batch(events: list[Change], ctx: BatchContext) -> None:
    ctx.publish(events[0], of=0, to=changes)


async def a_test_calls_them_plainly() -> None:
    with shelves.overriding({Shelf: Shelf()}):
        assert_type(await of_two_types(Asked(id="1")), Third | None)
        assert_type(in_a_thread(Asked(id="1"), Shelf()), Third)
        assert_type(await by_pattern(Envelope("1", "/", "typing.x")), Third | None)
