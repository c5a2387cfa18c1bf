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


class Step(Node[R_co]):
    """One command and its outcome. Yields the reply."""

    def __init__(self, make: Callable[..., Command[R_co, Any]], options: StepOptions) -> None:
        super().__init__(options.needs, options.after)
        self.make = make
        self.options = options
        self.label = make.__name__
        self.undos: list[UndoOptions] = [] if options.undo is None else [UndoOptions()]

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


class UndoDecorator(Generic[R_co]):
    """``@reserve.undo(timeout=..., retry=...)``."""

    def __init__(self, step: Step[R_co], timeout: Duration | None, retry: Retry) -> None:
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
            raise DefinitionError(f"{where} takes steps of the same flow, declared above it; {one!r} is none")
