"""How does whatever else is declared in a flow become a node of the graph? Joins, pauses, waits, approvals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestra.errors import DefinitionError
from orchestra.events.message import Event, Message, spec_of
from orchestra.flows.compile_loop import compile_for_each, compile_repeat
from orchestra.flows.compile_step import compile_call, compile_step
from orchestra.flows.graph import AnyOfNode, ApprovalNode, DelayNode, GraphNode, SettledNode, WaitNode
from orchestra.flows.loop_node import ForEach, ForEachTolerant, Repeat
from orchestra.flows.method import check_method
from orchestra.flows.node import AnyOf, Approve, Call, Delay, Node, OptionalStep, Settled, Step, WaitFor
from orchestra.flows.place import Place


def _any_of(place: Place, node: AnyOf[Any]) -> AnyOfNode:
    return AnyOfNode(name=place.member, needs=_branches(place, node))


def _settled(place: Place, node: Settled[Any]) -> SettledNode:
    needs = _branches(place, node)
    if not 0 <= node.at_least <= len(needs):
        raise DefinitionError(f"{place}: at_least={node.at_least}: it is from 0 to {len(needs)}, the number of nodes")
    return SettledNode(name=place.member, needs=needs, at_least=node.at_least)


def _branches(place: Place, node: Node[Any]) -> tuple[str, ...]:
    if len(node.needs) < 2:
        raise DefinitionError(f"{place}: it takes two nodes or more")
    return place.names(node.needs)


def _delay(place: Place, node: Delay) -> DelayNode:
    return DelayNode(name=place.member, after=place.names(node.after), delay=place.seconds("delay", node.delay))


def _wait(place: Place, node: WaitFor[Any]) -> WaitNode:
    event = node.event
    if not _is_event(event):
        raise DefinitionError(f"{place}: wait_for takes an Event class; {event!r} is none")
    if node.on_timeout not in ("fail", "continue"):
        raise DefinitionError(f"{place}: on_timeout={node.on_timeout!r}: it is 'fail' or 'continue'")
    if node.where is not None:
        check_method(f"{place}, where=", node.where, ("the event",))
    return WaitNode(
        name=place.member,
        after=place.names(node.after),
        event=event,
        by=key_reader(str(place), event, node.by),
        where=node.where,
        timeout=place.limit("timeout", node.timeout),
        on_timeout="continue" if node.on_timeout == "continue" else "fail",
    )


def _is_event(event: object) -> bool:
    return isinstance(event, type) and issubclass(event, Event)


def key_reader(place: str, event: type[Message], by: str | Callable[[Any], str] | None) -> Callable[[Any], str]:
    """How the business key is read from an event: from a field, by a function, or, by default, from its Key.

    Raises:
        DefinitionError: there is no such field, or no key.
    """
    if callable(by):
        return by
    field = by or spec_of(event).key_field
    if field is None:
        raise DefinitionError(
            f"{place}: {event.__name__} has no key, and an instance is found by it; say by='<field>', or mark one of "
            "its fields, such as order_id: Key[str]"
        )
    if field not in event.model_fields:
        have = ", ".join(event.model_fields)
        raise DefinitionError(f"{place}: by={field!r}: {event.__name__} has no such field; it has {have}")
    return lambda value: str(getattr(value, field))


def _approval(place: Place, node: Approve[Any]) -> ApprovalNode:
    if not node.role:
        raise DefinitionError(f"{place}: role='': say who decides")
    if node.on_timeout not in ("fail", "continue", "approve") or node.on_reject not in ("fail", "continue"):
        raise DefinitionError(
            f"{place}: on_timeout is 'fail', 'continue' or 'approve', and on_reject 'fail' or 'continue'"
        )
    if node.requester is not None:
        check_method(f"{place}, requester=", node.requester, ())
    timeout = place.limit("timeout", node.timeout)
    escalations = tuple((place.seconds("escalate", after), role) for after, role in node.escalate)
    for after, role in escalations:
        if timeout is not None and after >= timeout:
            raise DefinitionError(f"{place}: it escalates to {role!r} after {after:g} s, when time is up already")
    return ApprovalNode(
        name=place.member,
        after=place.names(node.after),
        role=node.role,
        timeout=timeout,
        on_timeout=node.on_timeout,  # type: ignore[arg-type]  # it was compared just above
        on_reject=node.on_reject,  # type: ignore[arg-type]
        escalations=escalations,
        requester=node.requester,
    )


COMPILERS: Mapping[type[Node[Any]], Callable[[Place, Any], GraphNode]] = {
    Step: compile_step,
    OptionalStep: compile_step,
    Call: compile_call,
    ForEach: compile_for_each,
    ForEachTolerant: compile_for_each,
    Repeat: compile_repeat,
    AnyOf: _any_of,
    Settled: _settled,
    Delay: _delay,
    WaitFor: _wait,
    Approve: _approval,
}
"""What is done with each kind of declaration. A further kind is one more entry."""
