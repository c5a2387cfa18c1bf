"""How does a declared step become a node of the graph? Also one with a guard, and one that another flow does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from orchestra.errors import DefinitionError
from orchestra.events.message import Command, Done, Event, FlowFailed, Undo, spec_of
from orchestra.flows.called import called_by
from orchestra.flows.decision import Answers
from orchestra.flows.graph import CallNode, Kind, StepNode, UndoPart, answers_of
from orchestra.flows.method import check_method, returned
from orchestra.flows.node import DEFAULT_TIMEOUT, DEFAULT_UNDO_RETRY, AnyStep, Call, UndoOptions
from orchestra.flows.place import Place


def compile_step(
    place: Place, node: AnyStep[Any], *, first: Sequence[str] = (), undo_first: Sequence[str] = ()
) -> StepNode:
    """``first``: what the method gets before what the nodes yield; ``undo_first``: what its undo gets before the reply.

    Raises:
        DefinitionError: names class, member and remedy.
    """
    options = node.options
    command = returned(str(place), node.make, Command)
    if len(command) != 1:
        raise DefinitionError(f"{place}: a step returns one kind of command, not several; make a step of each")
    needs = place.names(node.needs)
    check_method(str(place), node.make, (*first, *needs))
    if options.when is not None:
        check_method(f"{place}, when={_named(options.when)}", options.when, needs)
    return StepNode(
        name=place.member,
        needs=needs,
        after=place.names(node.after),
        kind=_kind(place, node),
        make=node.make,
        answers=answers_of(command[0]),
        timeout=place.limit("timeout", options.timeout),
        retry=place.retry(options.retry),
        undo=_undo(place, node, command[0], undo_first),
        when=options.when,
    )


def compile_call(place: Place, node: Call[Any], *, first: Sequence[str] = ()) -> CallNode:
    """Likewise."""
    called = called_by(str(place), node.flow)
    event = returned(str(place), node.make, Event)
    if len(event) != 1 or spec_of(event[0]).type not in called.starts:
        starts = " or ".join(one.__name__ for one in called.starts.values())
        raise DefinitionError(f"{place}: it returns the event that starts {called.label}, which is {starts}")
    needs = place.names(node.needs)
    check_method(str(place), node.make, (*first, *needs))
    says = called.says
    if node.yields is not Done and node.yields not in says:
        known = ", ".join(one.__name__ for one in says) or "nothing, so leave yields= out"
        raise DefinitionError(f"{place}: yields={node.yields.__name__}: when {called.label} completes it says {known}")
    if place.saga and not called.saga:
        raise DefinitionError(
            f"{place}: {called.label} is no saga, so it cannot be undone as a part of this one; derive it from Saga"
        )
    replies = says or (Done,)
    return CallNode(
        name=place.member,
        needs=needs,
        after=place.names(node.after),
        kind=Kind.PIVOT if called.insists else Kind.COMPENSATABLE if called.saga else Kind.PLAIN,
        make=node.make,
        answers=Answers(event[0], replies, (FlowFailed,)),
        timeout=place.limit("timeout", node.options.timeout),
        retry=place.retry(node.options.retry),
        undo=None if called.insists or not called.saga else _undo_of_call(place, event[0]),
        flow=called.name,
    )


def _undo_of_call(place: Place, start: type[Event]) -> UndoPart:
    return UndoPart(
        make=None,
        label=f"undo of {place.member}",
        answers=Answers(start, (Done,), (FlowFailed,)),
        timeout=place.seconds("timeout", "5m"),
        retry=DEFAULT_UNDO_RETRY,
    )


def _named(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", repr(function))


def _kind(place: Place, step: AnyStep[Any]) -> Kind:
    declared = step.options.kind
    if declared is None:
        return Kind.COMPENSATABLE if step.undos else Kind.PLAIN
    if declared not in ("pivot", "retriable", "read_only"):
        raise DefinitionError(
            f"{place}: kind={declared!r}: a kind is 'retriable' or 'read_only'; or use undo or @pivot"
        )
    return Kind(declared)


def _undo(place: Place, step: AnyStep[Any], command: type[Command[Any, Any]], first: Sequence[str]) -> UndoPart | None:
    if not step.undos:
        return None
    if len(step.undos) > 1:
        raise DefinitionError(f"{place}: it is undone in two ways; keep one of undo=Undo and @{step.label}.undo")
    options = step.undos[0]
    undoing: type[Command[Any, Any]]
    if options.make is None:
        if step.options.undo is not Undo:
            raise DefinitionError(f"{place}: undo={step.options.undo!r}: write undo=Undo, or a method under .undo")
        undoing, label = Undo[command], f"undo of {step.label}"  # type: ignore[valid-type]
    else:
        undoing, label = _undo_command(place, options.make, command, first), options.make.__name__
    timeout = _undo_timeout(place, step, options)
    return UndoPart(
        make=options.make, label=label, answers=answers_of(undoing), timeout=timeout, retry=place.retry(options.retry)
    )


def _undo_command(
    place: Place, make: Callable[..., Any], command: type[Command[Any, Any]], first: Sequence[str]
) -> type[Command[Any, Any]]:
    where = f"{place}.undo ({make.__name__})"
    found = returned(where, make, Command)
    if len(found) != 1:
        raise DefinitionError(f"{where}: an undo returns one kind of command")
    check_method(where, make, (*first, "the reply or None"))
    if found[0] is command:
        raise DefinitionError(f"{where}: {command.__name__} is the action itself; return the command that undoes it")
    action, undoing = spec_of(command), spec_of(found[0])
    if action.topic != undoing.topic:
        raise DefinitionError(
            f"{where}: {found[0].__name__} goes to topic {undoing.topic!r} and the action {command.__name__} to "
            f"{action.topic!r}; a compensation goes where its action went, or it could overtake it: use the same topic"
        )
    return found[0]


def _undo_timeout(place: Place, step: AnyStep[Any], options: UndoOptions) -> float:
    if options.timeout is not None:
        return place.seconds("undo timeout", options.timeout)
    return place.seconds("timeout", step.options.timeout or DEFAULT_TIMEOUT)
