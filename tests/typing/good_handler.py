"""Handlers that must type-check, without a cast."""

from typing import assert_type

from orchestra import Done, Undo
from orchestra.service.context import Context
from orchestra.service.service import Service
from tests.typing.good_flow import Asked, Free, Held, Hold, Paid, PaidLater, Pay, SoldOut

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
