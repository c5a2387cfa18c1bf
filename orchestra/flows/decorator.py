"""Which methods fit under a decorator? Those that take what its nodes yield: one protocol for each number of nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from orchestra.events.message import Command, Event
from orchestra.flows.node import Call, Ending, OptionalStep, Step

A_co = TypeVar("A_co", covariant=True)
B_co = TypeVar("B_co", covariant=True)
C_co = TypeVar("C_co", covariant=True)
D_co = TypeVar("D_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)
R = TypeVar("R", bound=Event)
Y_co = TypeVar("Y_co", bound=Event, covariant=True)

Events = Event | Sequence[Event] | None
"""What an ending publishes: one event, several, or nothing."""


class StepOf0(Protocol):
    """Takes a step's method with no arguments beside self."""

    def __call__(self, make: Callable[[Any], Command[R, Any]], /) -> Step[R]: ...


class StepOf1(Protocol[A_co]):
    """Takes a step's method with 1 argument beside self."""

    def __call__(self, make: Callable[[Any, A_co], Command[R, Any]], /) -> Step[R]: ...


class StepOf2(Protocol[A_co, B_co]):
    """Takes a step's method with 2 arguments beside self."""

    def __call__(self, make: Callable[[Any, A_co, B_co], Command[R, Any]], /) -> Step[R]: ...


class StepOf3(Protocol[A_co, B_co, C_co]):
    """Takes a step's method with 3 arguments beside self."""

    def __call__(self, make: Callable[[Any, A_co, B_co, C_co], Command[R, Any]], /) -> Step[R]: ...


class StepOf4(Protocol[A_co, B_co, C_co, D_co]):
    """Takes a step's method with 4 arguments beside self."""

    def __call__(self, make: Callable[[Any, A_co, B_co, C_co, D_co], Command[R, Any]], /) -> Step[R]: ...


class StepOf5(Protocol[A_co, B_co, C_co, D_co, E_co]):
    """Takes a step's method with 5 arguments beside self."""

    def __call__(self, make: Callable[[Any, A_co, B_co, C_co, D_co, E_co], Command[R, Any]], /) -> Step[R]: ...


class EndingOf0(Protocol):
    """Takes an ending's method with no arguments beside self."""

    def __call__(self, make: Callable[[Any], Events], /) -> Ending: ...


class EndingOf1(Protocol[A_co]):
    """Takes an ending's method with 1 argument beside self."""

    def __call__(self, make: Callable[[Any, A_co], Events], /) -> Ending: ...


class EndingOf2(Protocol[A_co, B_co]):
    """Takes an ending's method with 2 arguments beside self."""

    def __call__(self, make: Callable[[Any, A_co, B_co], Events], /) -> Ending: ...


class EndingOf3(Protocol[A_co, B_co, C_co]):
    """Takes an ending's method with 3 arguments beside self."""

    def __call__(self, make: Callable[[Any, A_co, B_co, C_co], Events], /) -> Ending: ...


class EndingOf4(Protocol[A_co, B_co, C_co, D_co]):
    """Takes an ending's method with 4 arguments beside self."""

    def __call__(self, make: Callable[[Any, A_co, B_co, C_co, D_co], Events], /) -> Ending: ...


class EndingOf5(Protocol[A_co, B_co, C_co, D_co, E_co]):
    """Takes an ending's method with 5 arguments beside self."""

    def __call__(self, make: Callable[[Any, A_co, B_co, C_co, D_co, E_co], Events], /) -> Ending: ...


class OptionalOf0(Protocol):
    """Takes the method of a step with a guard, with no arguments beside self."""

    def __call__(self, make: Callable[[Any], Command[R, Any]], /) -> OptionalStep[R]: ...


class OptionalOf1(Protocol[A_co]):
    """Likewise, with 1 argument beside self."""

    def __call__(self, make: Callable[[Any, A_co], Command[R, Any]], /) -> OptionalStep[R]: ...


class OptionalOf2(Protocol[A_co, B_co]):
    """Likewise, with 2 arguments beside self."""

    def __call__(self, make: Callable[[Any, A_co, B_co], Command[R, Any]], /) -> OptionalStep[R]: ...


class OptionalOf3(Protocol[A_co, B_co, C_co]):
    """Likewise, with 3 arguments beside self."""

    def __call__(self, make: Callable[[Any, A_co, B_co, C_co], Command[R, Any]], /) -> OptionalStep[R]: ...


class CallOf0(Protocol[Y_co]):
    """Takes that method, with no arguments beside self."""

    def __call__(self, make: Callable[[Any], Event], /) -> Call[Y_co]: ...


class CallOf1(Protocol[Y_co, A_co]):
    """Likewise, with 1 argument beside self."""

    def __call__(self, make: Callable[[Any, A_co], Event], /) -> Call[Y_co]: ...


class CallOf2(Protocol[Y_co, A_co, B_co]):
    """Likewise, with 2 arguments beside self."""

    def __call__(self, make: Callable[[Any, A_co, B_co], Event], /) -> Call[Y_co]: ...
