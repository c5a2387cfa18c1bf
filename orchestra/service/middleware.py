"""What runs around a handler: timing, logging, a transaction? Middlewares, composed once for each handler."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

from orchestra.errors import DefinitionError


class Call(Protocol):
    """The rest of the call, as a middleware gets it: ``await call(event, ctx)`` gives what the handler returns.

    ``event`` is what the handler takes: a message, an envelope, or the list of a batch; ``ctx`` is its context.
    """

    def __call__(self, event: Any, ctx: Any, /) -> Awaitable[Any]: ...


Middleware = Callable[[Call, Any, Any], Awaitable[Any]]
"""``async def middleware(call, event, ctx)``: returns what is to count as the handler's return value, or raises."""


def compose(middlewares: Sequence[Middleware], innermost: Call) -> Call:
    """One call through all of them, the first outermost. Without middlewares it is the innermost itself."""
    call: Call = innermost
    for middleware in reversed(middlewares):
        call = partial(middleware, call)
    return call


def check_middleware(function: Any, where: str) -> None:
    """See that it can be called as one.

    Raises:
        DefinitionError: it is not async, or does not take call, event and context.
    """
    name = getattr(function, "__qualname__", repr(function))
    if not callable(function) or not _is_async(function):
        raise DefinitionError(
            f"{where}: middleware {name} is not async: write async def {name.rsplit('.')[-1]}(call, event, ctx)"
        )
    try:
        inspect.signature(function).bind(None, None, None)
    except TypeError:
        raise DefinitionError(
            f"{where}: middleware {name} is called with three arguments: write async def"
            f" {name.rsplit('.')[-1]}(call, event, ctx)"
        ) from None


def _is_async(function: Any) -> bool:
    """An async function, or an object whose ``__call__`` is one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
