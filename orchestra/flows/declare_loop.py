"""How does a team say that a step is done for each of many items, or again and again?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from orchestra.duration import Duration
from orchestra.events.message import Command, Done, Event, Undo
from orchestra.flows.loop_node import (
    EachCallOf0,
    EachCallOf1,
    EachCallOf2,
    EachOf0,
    EachOf1,
    EachOf2,
    ForEach,
    ForEachTolerant,
    Repeat,
    RepeatOf0,
    RepeatOf1,
    RepeatOf2,
    TolerantOf0,
    TolerantOf1,
    TolerantOf2,
)
from orchestra.flows.node import DEFAULT_RETRY, DEFAULT_TIMEOUT, Node, StepKind, StepOptions, nodes_of, only_nodes
from orchestra.retry import Retry

A = TypeVar("A")
B = TypeVar("B")
I = TypeVar("I")  # noqa: E741  # an item
R = TypeVar("R", bound=Event)
Y = TypeVar("Y", bound=Event)

After = Node[Any] | Sequence[Node[Any]]


@overload
def for_each(
    *,
    over: Callable[[Any], Sequence[I]],
    limit: int = ...,
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> EachOf0[I]: ...
@overload
def for_each(
    first: Node[A],
    /,
    *,
    over: Callable[[Any, A], Sequence[I]],
    limit: int = ...,
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> EachOf1[I, A]: ...
@overload
def for_each(
    first: Node[A],
    second: Node[B],
    /,
    *,
    over: Callable[[Any, A, B], Sequence[I]],
    limit: int = ...,
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> EachOf2[I, A, B]: ...
@overload
def for_each(
    *,
    over: Callable[[Any], Sequence[I]],
    tolerate: int,
    limit: int = ...,
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> TolerantOf0[I]: ...
@overload
def for_each(
    first: Node[A],
    /,
    *,
    over: Callable[[Any, A], Sequence[I]],
    tolerate: int,
    limit: int = ...,
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> TolerantOf1[I, A]: ...
@overload
def for_each(
    first: Node[A],
    second: Node[B],
    /,
    *,
    over: Callable[[Any, A, B], Sequence[I]],
    tolerate: int,
    limit: int = ...,
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> TolerantOf2[I, A, B]: ...
@overload
def for_each(
    *,
    over: Callable[[Any], Sequence[I]],
    call: type,
    yields: type[Y],
    limit: int = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> EachCallOf0[I, Y]: ...
@overload
def for_each(
    first: Node[A],
    /,
    *,
    over: Callable[[Any, A], Sequence[I]],
    call: type,
    yields: type[Y],
    limit: int = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> EachCallOf1[I, Y, A]: ...
@overload
def for_each(
    first: Node[A],
    second: Node[B],
    /,
    *,
    over: Callable[[Any, A, B], Sequence[I]],
    call: type,
    yields: type[Y],
    limit: int = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> EachCallOf2[I, Y, A, B]: ...
def for_each(  # noqa: PLR0913  # what users can say, each by its name
    *given: Any,
    over: Callable[..., Sequence[Any]],
    limit: int = 10,
    tolerate: int | None = None,
    call: type | None = None,
    yields: type[Event] = Done,
    kind: StepKind | None = None,
    undo: type[Undo[Any]] | None = None,
    after: After = (),
    timeout: Duration | None = DEFAULT_TIMEOUT,
    retry: Retry = DEFAULT_RETRY,
) -> Any:
    """Declare a step that is done for each of many items. It yields the replies, as a list in the order of the items.

    The method gets the item, then what the nodes yield. Thousands of items cost no more than dozens: the instance's
    record holds those under way, and what has become of the others stands beside it. When an item fails, no more
    begin, those under way are awaited, and the step fails; then what is done, or may be, is undone, the newest first.

    Args:
        given: the nodes it needs, up to two.
        over: a method of the flow that lists the items, from the start event and what the nodes yield: always the same
            ones, in the same order. At most 100,000; none is fine.
        limit: how many may be under way at once, 1 to 1000. Default: 10.
        tolerate: how many items may fail all the same. In the list stands a :class:`Failure` in the place of each, and
            what may have been done of it is undone by itself. Default: none may, and the list holds replies alone.
        call: a flow to run for each item: the method returns the event that starts it. As for :func:`orchestra.call`.
        yields: which event of that flow's end is the reply. Default: :class:`Done`.
        kind, undo, after, timeout, retry: as for :func:`orchestra.step`; timeout and retry are an item's own. Where a
            flow is called, the default timeout is None: as long as it takes.
    """
    only_nodes("@for_each(...)", given)
    if call is not None and timeout == DEFAULT_TIMEOUT:
        timeout = None
    options = StepOptions(kind=kind, undo=undo, needs=given, after=nodes_of(after), timeout=timeout, retry=retry)

    def declare(make: Callable[..., Any]) -> Any:
        made = ForEach[Any, Any] if tolerate is None else ForEachTolerant[Any, Any]
        return made(make, options, over, limit, tolerate=tolerate or 0, flow=call, yields=yields)

    return declare


@overload
def repeat(
    *,
    until: Callable[[Any, R], bool],
    at_most: int,
    every: Duration = ...,
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> RepeatOf0[R]: ...
@overload
def repeat(
    first: Node[A],
    /,
    *,
    until: Callable[[Any, R], bool],
    at_most: int,
    every: Duration = ...,
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> RepeatOf1[R, A]: ...
@overload
def repeat(
    first: Node[A],
    second: Node[B],
    /,
    *,
    until: Callable[[Any, R], bool],
    at_most: int,
    every: Duration = ...,
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> RepeatOf2[R, A, B]: ...
def repeat(
    *given: Any,
    until: Callable[[Any, Any], bool],
    at_most: int,
    every: Duration = "0s",
    kind: StepKind | None = None,
    undo: type[Undo[Any]] | None = None,
    after: After = (),
    timeout: Duration | None = DEFAULT_TIMEOUT,
    retry: Retry = DEFAULT_RETRY,
) -> Any:
    """Declare a step that is done again and again until a reply will do. It yields that reply.

    Each turn is an effect of its own. The method gets the previous reply, None at first, then what the nodes yield. A
    turn that fails fails the step, and so does the bound once it is spent.

    Args:
        given: the nodes it needs, up to two.
        until: a method of the flow that takes a reply and says whether it will do.
        at_most: how many turns there may be, 1 to 10,000. An operator's retry of a flow that halts gives as many again.
        every: the pause between a reply and the next turn. Default: none.
        kind, undo, after, timeout, retry: as for :func:`orchestra.step`; timeout and retry are a turn's own. An undo is
            done for each turn that is done, or may be, the newest first.
    """
    only_nodes("@repeat(...)", given)
    options = StepOptions(kind=kind, undo=undo, needs=given, after=nodes_of(after), timeout=timeout, retry=retry)

    def declare(make: Callable[..., Command[Any, Any]]) -> Repeat[Any]:
        return Repeat(make, options, until=until, at_most=at_most, every=every)

    return declare
