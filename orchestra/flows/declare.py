"""What can stand in a flow beside steps? Guards, joins that bear failures, pauses, waits, approvals, other flows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar, overload

from orchestra.duration import Duration
from orchestra.errors import DefinitionError
from orchestra.events.message import Command, Done, Event, Undo
from orchestra.flows.approval import Approval
from orchestra.flows.decorator import CallOf0, CallOf1, CallOf2, OptionalOf0, OptionalOf1, OptionalOf2, OptionalOf3
from orchestra.flows.failure import Failure
from orchestra.flows.node import (
    DEFAULT_RETRY,
    DEFAULT_TIMEOUT,
    AnyOf,
    Approve,
    Call,
    Delay,
    Node,
    OptionalStep,
    Settled,
    StepKind,
    StepOptions,
    WaitFor,
    nodes_of,
    only_nodes,
)
from orchestra.retry import Retry

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
F = TypeVar("F")
E = TypeVar("E", bound=Event)
Y = TypeVar("Y", bound=Event)

After = Node[Any] | Sequence[Node[Any]]


@overload
def optional(
    *,
    when: Callable[[Any], bool],
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> OptionalOf0: ...
@overload
def optional(
    first: Node[A],
    /,
    *,
    when: Callable[[Any, A], bool],
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> OptionalOf1[A]: ...
@overload
def optional(
    first: Node[A],
    second: Node[B],
    /,
    *,
    when: Callable[[Any, A, B], bool],
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> OptionalOf2[A, B]: ...
@overload
def optional(
    first: Node[A],
    second: Node[B],
    third: Node[C],
    /,
    *,
    when: Callable[[Any, A, B, C], bool],
    kind: StepKind | None = ...,
    undo: type[Undo[Any]] | None = ...,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> OptionalOf3[A, B, C]: ...
def optional(
    *given: Any,
    when: Callable[..., bool],
    kind: StepKind | None = None,
    undo: type[Undo[Any]] | None = None,
    after: After = (),
    timeout: Duration | None = DEFAULT_TIMEOUT,
    retry: Retry = DEFAULT_RETRY,
) -> Any:
    """Declare a step that is only done where its guard says so: it yields the reply, or None.

    Two of them with opposite guards are a choice.

    Args:
        given: the nodes it needs, up to three.
        when: the guard: a method of the flow that takes what the step's method takes, and returns a bool. Asked once,
            when all that comes before is done.
        kind, undo, after, timeout, retry: as for :func:`orchestra.step`.
    """
    only_nodes("@optional(...)", given)
    options = StepOptions(
        kind=kind, undo=undo, when=when, needs=given, after=nodes_of(after), timeout=timeout, retry=retry
    )

    def declare(make: Callable[..., Command[Any, Any]]) -> OptionalStep[Any]:
        return OptionalStep(make, options)

    return declare


@overload
def any_of(first: Node[A], second: Node[B], /) -> AnyOf[A | B]: ...
@overload
def any_of(first: Node[A], second: Node[B], third: Node[C], /) -> AnyOf[A | B | C]: ...
@overload
def any_of(first: Node[A], second: Node[B], third: Node[C], fourth: Node[D], /) -> AnyOf[A | B | C | D]: ...
@overload
def any_of(*nodes: Node[A]) -> AnyOf[A]: ...
def any_of(*nodes: Node[Any]) -> AnyOf[Any]:
    """Declare a join that takes the first of several nodes that is done, and yields its value.

    What has lost is let go of: what is under way is awaited, and what was done, or may have been, is undone. It fails
    when all have failed. A node in here, and what only leads to it, must not be needed elsewhere.
    """
    only_nodes("any_of(...)", nodes)
    return AnyOf(nodes, ())


@overload
def settled(first: Node[A], second: Node[B], /, *, at_least: int = ...) -> Settled[tuple[A | Failure, B | Failure]]: ...
@overload
def settled(
    first: Node[A], second: Node[B], third: Node[C], /, *, at_least: int = ...
) -> Settled[tuple[A | Failure, B | Failure, C | Failure]]: ...
@overload
def settled(
    first: Node[A], second: Node[B], third: Node[C], fourth: Node[D], /, *, at_least: int = ...
) -> Settled[tuple[A | Failure, B | Failure, C | Failure, D | Failure]]: ...
@overload
def settled(
    first: Node[A], second: Node[B], third: Node[C], fourth: Node[D], fifth: Node[F], /, *, at_least: int = ...
) -> Settled[tuple[A | Failure, B | Failure, C | Failure, D | Failure, F | Failure]]: ...
@overload
def settled(*nodes: Node[A], at_least: int = ...) -> Settled[tuple[A | Failure, ...]]: ...
def settled(*nodes: Node[Any], at_least: int = 0) -> Settled[Any]:
    """Declare a join that waits for all nodes, done or failed, and yields each one's value or its :class:`Failure`.

    Nothing fails fast; a branch that fails is undone by itself, and the next step decides. A node in here, and what
    only leads to it, must not be needed elsewhere.

    Args:
        at_least: it fails when fewer than so many are done. Default 0: it never fails.
    """
    only_nodes("settled(...)", nodes)
    return Settled(nodes, at_least)


def delay(duration: Duration, *, after: After = ()) -> Delay:
    """Declare a pause: what needs it, or comes after it, begins so much later. It yields None.

    Args:
        duration: a timedelta, or text such as "2h".
        after: nodes that must be done first. Default: it begins with the flow.
    """
    nodes = nodes_of(after)
    only_nodes("delay(...)", nodes)
    return Delay(duration, nodes)


@overload
def wait_for(
    event: type[E],
    /,
    *,
    after: After = ...,
    by: str | Callable[[E], str] | None = ...,
    where: Callable[[Any, E], bool] | None = ...,
    timeout: Duration | None = ...,
    on_timeout: Literal["fail"] = ...,
) -> WaitFor[E]: ...
@overload
def wait_for(
    event: type[E],
    /,
    *,
    after: After = ...,
    by: str | Callable[[E], str] | None = ...,
    where: Callable[[Any, E], bool] | None = ...,
    timeout: Duration | None = ...,
    on_timeout: Literal["continue"],
) -> WaitFor[E | None]: ...
def wait_for(
    event: type[Event],
    /,
    *,
    after: After = (),
    by: str | Callable[[Any], str] | None = None,
    where: Callable[[Any, Any], bool] | None = None,
    timeout: Duration | None = None,
    on_timeout: Literal["fail", "continue"] = "fail",
) -> WaitFor[Any]:
    """Declare a wait for an event that somebody publishes, or sends to the instance as a signal. It yields the event.

    An event that comes before the wait begins is kept for it, up to 20; one that comes too late changes nothing.

    Args:
        event: its class; from its topic, if it has one.
        after: nodes that must be done before it waits. Default: it waits from the start.
        by: the field that holds the instance's business key, or a function that reads it. Default: the event's Key.
        where: a method of the flow that takes the event and says whether it is the one.
        timeout: how long it waits. Default None: for ever, which ``orchestra check`` reports.
        on_timeout: "fail", or "continue", and it yields None.
    """
    nodes = nodes_of(after)
    only_nodes("wait_for(...)", nodes)
    return WaitFor(event, nodes, by=by, where=where, timeout=timeout, on_timeout=on_timeout)


def approval(
    *after: Node[Any],
    role: str,
    timeout: Duration | None = None,
    on_timeout: Literal["fail", "continue", "approve"] = "fail",
    on_reject: Literal["fail", "continue"] = "fail",
    escalate: tuple[Duration, str] | Sequence[tuple[Duration, str]] = (),
    requester: Callable[[Any], str] | None = None,
) -> Approve[Approval]:
    """Declare that a person must decide: ``orchestra approvals list|approve|reject``. It yields an :class:`Approval`.

    The first decision counts. An alert ``approval.requested`` tells people, ``approval.escalated`` those after them.

    Args:
        after: nodes that must be done first.
        role: who may decide.
        timeout: how long it waits. Default None: for ever.
        on_timeout: "fail"; "approve"; or "continue", and it yields an approval that is not approved.
        on_reject: "fail", or "continue" likewise.
        escalate: after how long who may decide as well, once or several times: ("1d", "head-of-credit").
        requester: a method of the flow that says who asked for it, and so may not decide. Default: anybody may.
    """
    only_nodes("approval(...)", after)
    steps = [escalate] if escalate and isinstance(escalate[1], str) else escalate
    return Approve(
        after,
        role=role,
        timeout=timeout,
        on_timeout=on_timeout,
        on_reject=on_reject,
        escalate=steps,  # type: ignore[arg-type]  # one pair has become a list of it
        requester=requester,
    )


@overload
def call(
    flow: type, /, *, yields: type[Y], after: After = ..., timeout: Duration | None = ..., retry: Retry = ...
) -> CallOf0[Y]: ...
@overload
def call(flow: type, /, *, after: After = ..., timeout: Duration | None = ..., retry: Retry = ...) -> CallOf0[Done]: ...
@overload
def call(
    flow: type,
    first: Node[A],
    /,
    *,
    yields: type[Y],
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> CallOf1[Y, A]: ...
@overload
def call(
    flow: type, first: Node[A], /, *, after: After = ..., timeout: Duration | None = ..., retry: Retry = ...
) -> CallOf1[Done, A]: ...
@overload
def call(
    flow: type,
    first: Node[A],
    second: Node[B],
    /,
    *,
    yields: type[Y],
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> CallOf2[Y, A, B]: ...
@overload
def call(
    flow: type,
    first: Node[A],
    second: Node[B],
    /,
    *,
    after: After = ...,
    timeout: Duration | None = ...,
    retry: Retry = ...,
) -> CallOf2[Done, A, B]: ...
def call(
    flow: type,
    /,
    *given: Any,
    yields: type[Event] = Done,
    after: After = (),
    timeout: Duration | None = None,
    retry: Retry = DEFAULT_RETRY,
) -> Any:
    """Declare that another flow is run as a part of this one: a method that returns the event which starts it.

    The child is an instance of its own, in the same coordinator, found by its own business key. When this flow fails, a
    child under way is cancelled and awaited, and one that has completed undoes itself. A child that cannot be undone,
    because it has a point of no return, is this flow's pivot.

    Args:
        flow: the class of the other flow. In a saga it is a saga too.
        given: the nodes it needs, up to two.
        yields: which event of the other flow's ``@on_completed`` this node yields. Default: :class:`Done`, for flows
            that say nothing.
        after: nodes that must be done first.
        timeout: how long the child may take. Default None: as long as it takes; a deadline of its own is better.
        retry: how often it is asked for again. Default: once.
    """
    if not _is_class(flow):
        raise DefinitionError(f"@call(...) takes the class of a flow first; {flow!r} is none")
    only_nodes("@call(...)", given)
    options = StepOptions(needs=given, after=nodes_of(after), timeout=timeout, retry=retry)

    def declare(make: Callable[..., Event]) -> Call[Any]:
        return Call(make, options, flow, yields)

    return declare


def _is_class(flow: object) -> bool:
    return isinstance(flow, type)
