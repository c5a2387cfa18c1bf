"""What do ``for_each`` and ``repeat`` leave in a flow's class, and which methods fit under them?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar, overload

from orchestra.duration import Duration
from orchestra.events.message import Command, Done, Event
from orchestra.flows.failure import Failure
from orchestra.flows.node import DEFAULT_UNDO_RETRY, AnyStep, Step, StepOptions, UndoOptions
from orchestra.retry import Retry

I = TypeVar("I")  # noqa: E741  # an item
A_co = TypeVar("A_co", covariant=True)
B_co = TypeVar("B_co", covariant=True)
R = TypeVar("R", bound=Event)
R_co = TypeVar("R_co", bound=Event, covariant=True)
Y = TypeVar("Y", bound=Event)
Y_co = TypeVar("Y_co", covariant=True)


class AnyForEach(AnyStep[Y_co], Generic[Y_co, I, R]):
    """One command for each of many items, whatever it yields."""

    def __init__(
        self,
        make: Callable[..., Any],
        options: StepOptions,
        over: Callable[..., Sequence[I]],
        limit: int,
        *,
        tolerate: int = 0,
        flow: type | None = None,
        yields: type[Event] = Done,
    ) -> None:
        super().__init__(make, options)
        self.over = over
        self.limit = limit
        self.tolerate = tolerate
        self.flow = flow
        self.yields = yields

    @overload
    def undo(self, make: Callable[[Any, I, R | None], Command[Any, Any]], /) -> Callable[[Any, I, R | None], Any]: ...
    @overload
    def undo(self, /, *, timeout: Duration | None = None, retry: Retry = DEFAULT_UNDO_RETRY) -> UndoEach[I, R]: ...
    def undo(
        self,
        make: Callable[[Any, I, R | None], Command[Any, Any]] | None = None,
        /,
        *,
        timeout: Duration | None = None,
        retry: Retry = DEFAULT_UNDO_RETRY,
    ) -> Any:
        """Declare how an item is undone. The method gets the item, and its reply, or None: it may have happened, nobody
        knows. Items that are done, or may be, are undone the newest first, at most ``limit`` at once.

        Args:
            make: the method; it returns the command that undoes the item, on the same topic and with the same key.
            timeout: how long one try may stay unanswered. Default: as the step, or "30s".
            retry: how often the undo of an item is tried before the instance is stuck. Default: 10 tries.
        """
        declare = UndoEach(self, timeout, retry)
        return declare if make is None else declare(make)


class ForEach(AnyForEach[list[R], I, R], Generic[I, R]):
    """Yields the replies, in the order of the items."""


class ForEachTolerant(AnyForEach[list[R | Failure], I, R], Generic[I, R]):
    """Some items may fail. Yields the replies, and in their places the failures."""


class UndoEach(Generic[I, R]):
    """``@pack.undo(timeout=..., retry=...)``."""

    def __init__(self, step: AnyForEach[Any, I, R], timeout: Duration | None, retry: Retry) -> None:
        self._step = step
        self._timeout = timeout
        self._retry = retry

    def __call__(self, make: Callable[[Any, I, R | None], Command[Any, Any]], /) -> Callable[[Any, I, R | None], Any]:
        self._step.undos.append(UndoOptions(make=make, timeout=self._timeout, retry=self._retry))
        return make


class Repeat(Step[R_co]):
    """A step that is done again and again. Yields the reply that will do."""

    def __init__(
        self,
        make: Callable[..., Any],
        options: StepOptions,
        *,
        until: Callable[[Any, Any], bool],
        at_most: int,
        every: Duration,
    ) -> None:
        super().__init__(make, options)
        self.until = until
        self.at_most = at_most
        self.every = every


class EachOf0(Protocol[I]):
    """Takes the method of a ``for_each``: self and an item."""

    def __call__(self, make: Callable[[Any, I], Command[R, Any]], /) -> ForEach[I, R]: ...


class EachOf1(Protocol[I, A_co]):
    """Likewise, with 1 argument more."""

    def __call__(self, make: Callable[[Any, I, A_co], Command[R, Any]], /) -> ForEach[I, R]: ...


class EachOf2(Protocol[I, A_co, B_co]):
    """Likewise, with 2 arguments more."""

    def __call__(self, make: Callable[[Any, I, A_co, B_co], Command[R, Any]], /) -> ForEach[I, R]: ...


class TolerantOf0(Protocol[I]):
    """Takes the method of a ``for_each`` of which some may fail: self and an item."""

    def __call__(self, make: Callable[[Any, I], Command[R, Any]], /) -> ForEachTolerant[I, R]: ...


class TolerantOf1(Protocol[I, A_co]):
    """Likewise, with 1 argument more."""

    def __call__(self, make: Callable[[Any, I, A_co], Command[R, Any]], /) -> ForEachTolerant[I, R]: ...


class TolerantOf2(Protocol[I, A_co, B_co]):
    """Likewise, with 2 arguments more."""

    def __call__(self, make: Callable[[Any, I, A_co, B_co], Command[R, Any]], /) -> ForEachTolerant[I, R]: ...


class EachCallOf0(Protocol[I, Y]):
    """Takes the method of a ``for_each`` that calls a flow: self and an item."""

    def __call__(self, make: Callable[[Any, I], Event], /) -> ForEach[I, Y]: ...


class EachCallOf1(Protocol[I, Y, A_co]):
    """Likewise, with 1 argument more."""

    def __call__(self, make: Callable[[Any, I, A_co], Event], /) -> ForEach[I, Y]: ...


class EachCallOf2(Protocol[I, Y, A_co, B_co]):
    """Likewise, with 2 arguments more."""

    def __call__(self, make: Callable[[Any, I, A_co, B_co], Event], /) -> ForEach[I, Y]: ...


class RepeatOf0(Protocol[R]):
    """Takes the method of a ``repeat``: self and the previous reply."""

    def __call__(self, make: Callable[[Any, R | None], Command[R, Any]], /) -> Repeat[R]: ...


class RepeatOf1(Protocol[R, A_co]):
    """Likewise, with 1 argument more."""

    def __call__(self, make: Callable[[Any, R | None, A_co], Command[R, Any]], /) -> Repeat[R]: ...


class RepeatOf2(Protocol[R, A_co, B_co]):
    """Likewise, with 2 arguments more."""

    def __call__(self, make: Callable[[Any, R | None, A_co, B_co], Command[R, Any]], /) -> Repeat[R]: ...
