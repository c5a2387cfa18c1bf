"""How does a team say what follows what, and what undoes it?

A flow is a typed dataflow: a step names the nodes it needs and gets what they yield as arguments; two steps that need
the same node run in parallel; a step that needs two is the join. What types cannot say is checked when the class is
made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, TypeVar, overload

from orchestra.duration import Duration
from orchestra.errors import DefinitionError
from orchestra.events.message import Command, Event, Undo
from orchestra.flows.compile import compile_flow
from orchestra.flows.decide import CompiledFlow
from orchestra.flows.decision import Definition
from orchestra.flows.decorator import (
    EndingOf0,
    EndingOf1,
    EndingOf2,
    EndingOf3,
    EndingOf4,
    EndingOf5,
    Events,
    StepOf0,
    StepOf1,
    StepOf2,
    StepOf3,
    StepOf4,
    StepOf5,
)
from orchestra.flows.failure import Failure
from orchestra.flows.graph import Graph
from orchestra.flows.machine.decide import CompiledMachine
from orchestra.flows.machine.declare import StateMachine
from orchestra.flows.node import (
    DEFAULT_RETRY,
    DEFAULT_TIMEOUT,
    Ending,
    Node,
    StartsOn,
    Step,
    StepKind,
    StepOptions,
    nodes_of,
    only_nodes,
)
from orchestra.retry import Retry

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
R = TypeVar("R", bound=Event)
E1 = TypeVar("E1", bound=Event)
E2 = TypeVar("E2", bound=Event)
E3 = TypeVar("E3", bound=Event)

After = Node[Any] | Sequence[Node[Any]]


@overload
def step(make: Callable[[Any], Command[R, Any]], /) -> Step[R]: ...
@overload
def step(
    *,
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> StepOf0: ...
@overload
def step(
    first: Node[A],
    /,
    *,
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> StepOf1[A]: ...
@overload
def step(
    first: Node[A],
    second: Node[B],
    /,
    *,
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> StepOf2[A, B]: ...
@overload
def step(
    first: Node[A],
    second: Node[B],
    third: Node[C],
    /,
    *,
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> StepOf3[A, B, C]: ...
@overload
def step(
    first: Node[A],
    second: Node[B],
    third: Node[C],
    fourth: Node[D],
    /,
    *,
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> StepOf4[A, B, C, D]: ...
@overload
def step(
    first: Node[A],
    second: Node[B],
    third: Node[C],
    fourth: Node[D],
    fifth: Node[E],
    /,
    *,
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> StepOf5[A, B, C, D, E]: ...
def step(
    *given: Any,
    kind: StepKind | None = None,
    undo: type[Undo[Any]] | None = None,
    after: After = (),
    timeout: Duration | None = DEFAULT_TIMEOUT,
    retry: Retry = DEFAULT_RETRY,
) -> Any:
    """Declare a step: a method that returns a command.

    Args:
        given: the nodes it needs, up to five; the method gets what they yield, in this order.
        kind: "read_only" (nothing to undo) or "retriable" (after the point of no return: retried for ever, with an
            alert). Without it a step of a saga needs an undo.
        undo: ``Undo`` sends the built-in ``Undo[...]`` of the step's command. Or write ``@<step>.undo``.
        after: nodes that must be done first, without taking what they yield.
        timeout: how long one try may stay unanswered, from the broker's acknowledgement. Default "30s". None: for ever.
        retry: how often the command is sent when no answer comes. Default: once. A rejection is never tried again.
    """
    options = StepOptions(kind=kind, undo=undo, after=nodes_of(after), timeout=timeout, retry=retry)
    return _step("step", given, options)


@overload
def pivot(make: Callable[[Any], Command[R, Any]], /) -> Step[R]: ...
@overload
def pivot(
    *,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> StepOf0: ...
@overload
def pivot(
    first: Node[A],
    /,
    *,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> StepOf1[A]: ...
@overload
def pivot(
    first: Node[A],
    second: Node[B],
    /,
    *,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> StepOf2[A, B]: ...
@overload
def pivot(
    first: Node[A],
    second: Node[B],
    third: Node[C],
    /,
    *,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> StepOf3[A, B, C]: ...
@overload
def pivot(
    first: Node[A],
    second: Node[B],
    third: Node[C],
    fourth: Node[D],
    /,
    *,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> StepOf4[A, B, C, D]: ...
@overload
def pivot(
    first: Node[A],
    second: Node[B],
    third: Node[C],
    fourth: Node[D],
    fifth: Node[E],
    /,
    *,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> StepOf5[A, B, C, D, E]: ...
def pivot(
    *given: Any,
    after: After = (),
    timeout: Duration | None = DEFAULT_TIMEOUT,
    retry: Retry = DEFAULT_RETRY,
) -> Any:
    """Declare the point of no return: a step that, once done, is never undone.

    While nobody knows whether it is done it is sent again, without end; once ``retry`` is spent, with an alert. Only
    its rejection starts the compensation. Arguments as for :func:`step`.
    """
    options = StepOptions(kind="pivot", after=nodes_of(after), timeout=timeout, retry=retry)
    return _step("pivot", given, options)


def _bare(given: tuple[Any, ...]) -> Any:
    """The method, where the decorator is written without arguments."""
    is_method = len(given) == 1 and callable(given[0]) and not isinstance(given[0], (Node, type))
    return given[0] if is_method else None


def _step(decorator: str, given: tuple[Any, ...], options: StepOptions) -> Any:
    def declare(make: Callable[..., Command[Any, Any]]) -> Step[Any]:
        return Step(make, options)

    if (method := _bare(given)) is not None:
        return declare(method)
    only_nodes(f"@{decorator}(...)", (*given, *options.after))
    options = replace(options, needs=given)
    return declare


@overload
def on_completed(make: Callable[[Any], Events], /) -> Ending: ...
@overload
def on_completed() -> EndingOf0: ...
@overload
def on_completed(first: Node[A], /) -> EndingOf1[A]: ...
@overload
def on_completed(first: Node[A], second: Node[B], /) -> EndingOf2[A, B]: ...
@overload
def on_completed(first: Node[A], second: Node[B], third: Node[C], /) -> EndingOf3[A, B, C]: ...
@overload
def on_completed(first: Node[A], second: Node[B], third: Node[C], fourth: Node[D], /) -> EndingOf4[A, B, C, D]: ...
@overload
def on_completed(
    first: Node[A],
    second: Node[B],
    third: Node[C],
    fourth: Node[D],
    fifth: Node[E],
    /,
) -> EndingOf5[A, B, C, D, E]: ...
def on_completed(*given: Any) -> Any:
    """Declare what the flow publishes when every step is done: a method that returns an event, several, or None.

    Args:
        given: the nodes whose values the method takes, up to five.
    """
    if (method := _bare(given)) is not None:
        return Ending("completed", (), method)
    only_nodes("@on_completed(...)", given)

    def declare(make: Callable[..., Events]) -> Ending:
        return Ending("completed", given, make)

    return declare


def on_compensated(make: Callable[[Any, Failure], Events], /) -> Ending:
    """Declare what the flow publishes when everything is undone: a method that takes the :class:`Failure`."""
    return Ending("compensated", (), make)


@overload
def starts_on(event: type[E1], /) -> StartsOn[E1]: ...
@overload
def starts_on(event: type[E1], other: type[E2], /) -> StartsOn[E1 | E2]: ...
@overload
def starts_on(event: type[E1], other: type[E2], third: type[E3], /) -> StartsOn[E1 | E2 | E3]: ...
def starts_on(*events: type[Event]) -> Any:
    """Declare the event that starts the flow, or several. The event's key is the instance's business key."""
    return StartsOn(*events)


class Flow:
    """A process of steps. When one fails it halts, shows why, and an operator retries it.

    Class keywords: ``name`` (what operators and records call it) and ``version`` (1, 2, ...; a changed graph needs a
    new one, for running instances stay on theirs), ``deadline`` (how long it may take in all; then it fails, or, past
    its point of no return, somebody is told), ``migrates`` (older versions whose running instances this one takes over;
    whatever they may have begun is in this one just as it was). Methods are plain, synchronous and pure.

    Raises:
        DefinitionError: when the class is made and cannot work; the text names class, step and remedy.
    """

    now: datetime
    """The recorded time at which the step started: the same on every retry and replay."""

    _saga: ClassVar[bool] = False
    _definition: ClassVar[CompiledFlow]

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        version: int = 1,
        deadline: Duration | None = None,
        migrates: Sequence[type[Flow]] = (),
        **keywords: object,
    ) -> None:
        super().__init_subclass__(**keywords)
        if cls.__module__ == __name__:
            return
        graph = compile_flow(cls, name=name, version=version, saga=cls._saga, deadline=deadline)
        cls._definition = CompiledFlow(graph, [_older(cls, old) for old in migrates])


class Saga(Flow):
    """A flow that is all or nothing: when a step fails, what was done is undone in reverse order."""

    _saga = True


def definition_of(flow: type[Flow] | type[StateMachine[Any]]) -> Definition:
    """The compiled definition of a flow's or machine's class, as a coordinator takes it.

    Raises:
        DefinitionError: it is the class of neither.
    """
    compiled = getattr(flow, "_definition", None)
    if isinstance(compiled, CompiledMachine):
        return compiled
    return _compiled(flow)


def graph_of(flow: type[Flow]) -> Graph:
    """The graph of a flow's class, to look at: ``orchestra.flows.flow_picture`` makes a picture of it.

    Raises:
        DefinitionError: it is no flow's class.
    """
    return _compiled(flow).graph


def _older(cls: type[Flow], old: object) -> CompiledFlow:
    if not (isinstance(old, type) and issubclass(old, Flow)) or old in (Flow, Saga):
        raise DefinitionError(f"{cls.__name__}: migrates names {old!r}, which is no flow's class; name older versions")
    return _compiled(old)


def _compiled(flow: type) -> CompiledFlow:
    compiled = getattr(flow, "_definition", None)
    if not isinstance(compiled, CompiledFlow):
        raise DefinitionError(f"{flow!r} is no flow: derive a class from Saga, Flow or StateMachine and give it a name")
    return compiled
