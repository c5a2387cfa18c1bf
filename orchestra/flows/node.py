"""What do the decorators of a flow leave in its class? Declarations: names and options, not yet checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, overload

from orchestra.duration import Duration
from orchestra.errors import DefinitionError
from orchestra.events.message import Command, Event, Undo
from orchestra.retry import Retry

T_co = TypeVar("T_co", covariant=True)
R_co = TypeVar("R_co", bound=Event, covariant=True)
E_co = TypeVar("E_co", bound=Event, covariant=True)
M = TypeVar("M", bound=Callable[..., Command[Any, Any]])

DEFAULT_TIMEOUT = "30s"
DEFAULT_RETRY = Retry(attempts=1)
DEFAULT_UNDO_RETRY = Retry(attempts=10, first="1s", cap="1m")

StepKind = Literal["retriable", "read_only"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """What a step was told, as it was told."""

    kind: StepKind | Literal["pivot"] | None = None
    timeout: Duration | None = DEFAULT_TIMEOUT
    retry: Retry = DEFAULT_RETRY
    undo: type[Undo[Any]] | None = None
    when: Callable[..., bool] | None = None
    needs: Sequence[Node[Any]] = ()
    after: Sequence[Node[Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoOptions:
    """What an undo was told. ``make`` is None for the built-in :class:`Undo`."""

    make: Callable[..., Command[Any, Any]] | None = None
    timeout: Duration | None = None
    retry: Retry = DEFAULT_UNDO_RETRY


class Node(Generic[T_co]):
    """A part of a flow that yields a value, which later parts may need."""

    def __init__(self, needs: Sequence[Node[Any]], after: Sequence[Node[Any]]) -> None:
        self.needs = tuple(needs)
        self.after = tuple(after)
        self.label = "?"

    def __set_name__(self, owner: type, name: str) -> None:
        self.label = name


class Undoable(Generic[R_co]):
    """A step that can be told how it is undone."""

    undos: list[UndoOptions]

    @overload
    def undo(self, make: Callable[[Any, R_co | None], Command[Any, Any]], /) -> Callable[[Any, R_co | None], Any]: ...
    @overload
    def undo(self, /, *, timeout: Duration | None = None, retry: Retry = DEFAULT_UNDO_RETRY) -> UndoDecorator[R_co]: ...
    def undo(
        self,
        make: Callable[[Any, R_co | None], Command[Any, Any]] | None = None,
        /,
        *,
        timeout: Duration | None = None,
        retry: Retry = DEFAULT_UNDO_RETRY,
    ) -> Any:
        """Declare how the step is undone. The method gets the reply, or None: it may have happened, nobody knows.

        Args:
            make: the method; it returns the command that undoes the step, on the same topic and with the same key.
            timeout: how long one try may stay unanswered. Default: as the step, or "30s".
            retry: how often a compensation is tried before the instance is stuck. Default: 10 tries.
        """
        declare = UndoDecorator(self, timeout, retry)
        return declare if make is None else declare(make)


class AnyStep(Node[T_co]):
    """One command and its outcome, whatever it yields."""

    def __init__(self, make: Callable[..., Any], options: StepOptions) -> None:
        super().__init__(options.needs, options.after)
        self.make = make
        self.options = options
        self.label = make.__name__
        self.undos: list[UndoOptions] = [] if options.undo is None else [UndoOptions()]


class Step(AnyStep[R_co], Undoable[R_co]):
    """One command and its outcome. Yields the reply."""


class OptionalStep(AnyStep[R_co | None], Undoable[R_co]):
    """A step with a guard. Yields the reply, or None where the guard says no."""


class Call(AnyStep[T_co]):
    """Another flow. Yields what that one says when it completes."""

    def __init__(self, make: Callable[..., Any], options: StepOptions, flow: type, yields: type[Event]) -> None:
        super().__init__(make, options)
        self.flow = flow
        self.yields = yields


class AnyOf(Node[T_co]):
    """The first of several branches that is done. Yields its value."""


class Settled(Node[T_co]):
    """All of several branches, done or failed. Yields a tuple of values and failures."""

    def __init__(self, needs: Sequence[Node[Any]], at_least: int) -> None:
        super().__init__(needs, ())
        self.at_least = at_least


class Delay(Node[None]):
    """A pause. Yields None."""

    def __init__(self, delay: Duration, after: Sequence[Node[Any]]) -> None:
        super().__init__((), after)
        self.delay = delay


class WaitFor(Node[T_co]):
    """An event from outside. Yields it."""

    def __init__(
        self,
        event: type[Event],
        after: Sequence[Node[Any]],
        *,
        by: str | Callable[[Any], str] | None,
        where: Callable[[Any, Any], bool] | None,
        timeout: Duration | None,
        on_timeout: str,
    ) -> None:
        super().__init__((), after)
        self.event = event
        self.by = by
        self.where = where
        self.timeout = timeout
        self.on_timeout = on_timeout


class Approve(Node[T_co]):
    """The decision of a person. Yields it."""

    def __init__(
        self,
        after: Sequence[Node[Any]],
        *,
        role: str,
        timeout: Duration | None,
        on_timeout: str,
        on_reject: str,
        escalate: Sequence[tuple[Duration, str]],
        requester: Callable[[Any], str] | None,
    ) -> None:
        super().__init__((), after)
        self.role = role
        self.timeout = timeout
        self.on_timeout = on_timeout
        self.on_reject = on_reject
        self.escalate = escalate
        self.requester = requester


class UndoDecorator(Generic[R_co]):
    """``@reserve.undo(timeout=..., retry=...)``."""

    def __init__(self, step: Undoable[R_co], timeout: Duration | None, retry: Retry) -> None:
        self._step = step
        self._timeout = timeout
        self._retry = retry

    def __call__(self, make: Callable[[Any, R_co | None], Command[Any, Any]], /) -> Callable[[Any, R_co | None], Any]:
        self._step.undos.append(UndoOptions(make=make, timeout=self._timeout, retry=self._retry))
        return make


class StartsOn(Generic[E_co]):
    """The event that starts a flow; on an instance of the flow, that event."""

    def __init__(self, *events: type[E_co]) -> None:
        self.events = events
        self.label = "?"

    def __set_name__(self, owner: type, name: str) -> None:
        self.label = name

    @overload
    def __get__(self, instance: None, owner: type) -> StartsOn[E_co]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> E_co: ...
    def __get__(self, instance: object | None, owner: type) -> StartsOn[E_co] | E_co:
        if instance is None:
            return self
        # A flow under way carries its start event in its __dict__; decoded on first use.
        event: E_co = instance.__dict__["_start"]()
        instance.__dict__[self.label] = event
        return event


class Ending:
    """An event that a flow publishes when it is over."""

    def __init__(
        self, when: Literal["completed", "compensated"], needs: Sequence[Node[Any]], make: Callable[..., Any]
    ) -> None:
        self.when = when
        self.needs = tuple(needs)
        self.make = make


def nodes_of(value: Node[Any] | Sequence[Node[Any]]) -> tuple[Node[Any], ...]:
    """``after=`` takes one node or several."""
    return (value,) if isinstance(value, Node) else tuple(value)


def only_nodes(where: str, given: Sequence[object]) -> None:
    """Raises DefinitionError for what is no node."""
    for one in given:
        if not isinstance(one, Node):
            raise DefinitionError(f"{where} takes nodes of the same flow, declared above it; {one!r} is none")
