"""Which functions fit which handler, as type checkers see it?"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypedDict, TypeVar, overload

from orchestra.duration import Duration
from orchestra.events.envelope import Envelope
from orchestra.events.message import Event
from orchestra.retry import Retry
from orchestra.service.middleware import Middleware
from orchestra.service.where import Where

P = ParamSpec("P")
M = TypeVar("M")
E = TypeVar("E")
A = TypeVar("A")

Emits = Event | Sequence[Event] | None
"""What a handler of an event may return: an event to emit, several, or none."""

Emitting = TypeVar("Emitting", bound=Coroutine[Any, Any, Emits] | Emits)
Silent = TypeVar("Silent", bound=Coroutine[Any, Any, None] | None)


class EventOptions(TypedDict, total=False):
    """What every handler of an event may be given beside what it reads; see :meth:`orchestra.Service.on`."""

    where: Where | None
    middleware: Sequence[Middleware]
    retry: Retry
    timeout: Duration | None


# Where no overload fits, mypy explains the first one and pyright the last: so the likeliest is there twice.


class CommandDecorator(Protocol[A]):
    """Takes a function whose first parameter is the command and which returns one of its outcomes."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[M, P], Coroutine[Any, Any, A]], /
    ) -> Callable[Concatenate[M, P], Coroutine[Any, Any, A]]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[M, P], A], /) -> Callable[Concatenate[M, P], A]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[M, P], Coroutine[Any, Any, A]], /
    ) -> Callable[Concatenate[M, P], Coroutine[Any, Any, A]]: ...


class EventDecorator(Protocol[E]):
    """Takes a function whose first parameter is the event, or its raw envelope, and which returns what to emit."""

    @overload
    def __call__(self, function: Callable[Concatenate[E, P], Emitting], /) -> Callable[Concatenate[E, P], Emitting]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Envelope, P], Emitting], /
    ) -> Callable[Concatenate[Envelope, P], Emitting]: ...
    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]
        self, function: Callable[Concatenate[E, P], Emitting], /
    ) -> Callable[Concatenate[E, P], Emitting]: ...


class BatchDecorator(Protocol[E]):
    """Takes a function whose first parameter is the list of the batch's events, or of their raw envelopes."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[list[E], P], Silent], /
    ) -> Callable[Concatenate[list[E], P], Silent]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[Envelope], P], Silent], /
    ) -> Callable[Concatenate[list[Envelope], P], Silent]: ...
    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]
        self, function: Callable[Concatenate[list[E], P], Silent], /
    ) -> Callable[Concatenate[list[E], P], Silent]: ...
