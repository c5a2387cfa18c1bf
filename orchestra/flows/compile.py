"""How does a flow's class become a graph? Every mistake that types cannot show is an error here, at import."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from orchestra.duration import Duration
from orchestra.errors import DefinitionError
from orchestra.events.message import Event, Message, spec_of
from orchestra.flows.compile_node import COMPILERS
from orchestra.flows.graph import EndPart, Graph, GraphNode, StepNode, WaitNode, in_order
from orchestra.flows.method import check_method, returned
from orchestra.flows.node import Ending, Node, StartsOn
from orchestra.flows.place import Place
from orchestra.flows.rules import check_joins, check_kinds

RESERVED = frozenset({"now", "start", "started", "completed", "compensated", "undo", "cancel"})
_FLOW_NAME = re.compile(r"[a-z0-9]+(?:[-._][a-z0-9]+)*")


def compile_flow(cls: type, *, name: object, version: object, saga: bool, deadline: Duration | None = None) -> Graph:
    """The graph of a flow's class.

    Raises:
        DefinitionError: the class cannot work; the text names class, step and remedy.
    """
    label = cls.__name__
    members = members_of(cls)
    named, start = flow_name(label, name), start_of(label, members)
    nodes = {id(node): node for node in members.values() if isinstance(node, Node)}
    if not nodes:
        raise DefinitionError(f"{label}: a flow without steps does nothing; add a method under @step")
    completed, compensated = _ending(label, members, nodes, "completed"), _ending(label, members, nodes, "compensated")
    graph = Graph(
        name=named,
        version=version_of(label, version),
        label=label,
        owner=cls,
        saga=saga,
        starts={spec_of(event).type: event for event in start.events},
        nodes=in_order(label, [_compiled(label, member, node, nodes, saga) for member, node in _named(members)]),
        completed=completed,
        compensated=compensated,
        deadline=None if deadline is None else Place(label, "deadline", nodes, saga=saga).seconds("deadline", deadline),
    )
    check_kinds(graph)
    check_joins(graph)
    _check_types(label, graph)
    return graph


def members_of(cls: type) -> dict[str, object]:
    """What the class and the flows that it derives from hold, in order; the nearest class wins."""
    found: dict[str, object] = {}
    for owner in reversed(cls.__mro__):
        found.update(vars(owner))
    return found


def flow_name(label: str, name: object) -> str:
    if name is None:
        raise DefinitionError(f"{label}: a flow needs a name; write class {label}(..., name='{_kebab(label)}')")
    if not isinstance(name, str) or not _FLOW_NAME.fullmatch(name) or len(name) > 100:
        raise DefinitionError(
            f"{label}: name={name!r}: use lower-case letters, digits and '-', such as '{_kebab(label)}'"
        )
    return name


def _kebab(label: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", label).lower().strip("_")


def version_of(label: str, version: object) -> int:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DefinitionError(f"{label}: version={version!r}: a version is a whole number from 1")
    return version


# ---- the start


def start_of(label: str, members: dict[str, object]) -> StartsOn[Any]:
    starts = [member for member in members.values() if isinstance(member, StartsOn)]
    if not starts:
        raise DefinitionError(f"{label}: nothing starts it; add a line such as: order = starts_on(OrderPlaced)")
    if len(starts) > 1:
        places = " and ".join(start.label for start in starts)
        raise DefinitionError(f"{label}: {places} both start it; write one line: {starts[0].label} = starts_on(A, B)")
    start: StartsOn[Any] = starts[0]
    _check_name(label, start.label)
    for event in start.events:
        _check_start_event(f"{label}.{start.label}", event)
    return start


def _check_start_event(place: str, event: object) -> None:
    if not (isinstance(event, type) and issubclass(event, Event)):
        raise DefinitionError(f"{place}: starts_on takes Event classes; {event!r} is none")
    spec = spec_of(event)
    if spec.key_field is None:
        raise DefinitionError(
            f"{place}: {event.__name__} has no key, and an instance is found by it; mark one of its fields, such as "
            f"order_id: Key[str]"
        )
    if spec.topic is None:
        raise DefinitionError(f"{place}: {event.__name__} has no topic, where would it come from? Add topic=... to it")


# ---- the nodes


def _named(members: dict[str, object]) -> Iterator[tuple[str, Node[Any]]]:
    for member, value in members.items():
        if isinstance(value, Node):
            yield member, value


def _compiled(label: str, member: str, node: Node[Any], nodes: dict[int, Node[Any]], saga: bool) -> GraphNode:
    place = Place(label, member, nodes, saga=saga)
    _check_name(label, member)
    if node.label != member:
        raise DefinitionError(
            f"{place}: this is the node {node.label!r} under a second name; declare a node of its own"
        )
    compiler = COMPILERS.get(type(node))
    if compiler is None:
        raise DefinitionError(f"{place}: {type(node).__name__} is no node of a flow")
    return compiler(place, node)


def _check_name(label: str, member: str) -> None:
    if member in RESERVED or member.startswith("_"):
        taken = ", ".join(sorted(RESERVED))
        raise DefinitionError(f"{label}.{member}: this name is orchestra's own; rename it ({taken} and _... are taken)")


def _check_types(label: str, graph: Graph) -> None:
    """A flow tells messages apart by their type, so a type is one class."""
    seen: dict[str, type[Message]] = {}
    for message in _messages(graph):
        kind = spec_of(message).type
        if (other := seen.setdefault(kind, message)) is not message:
            raise DefinitionError(
                f"{label}: {other.__qualname__} and {message.__qualname__} both have the type {kind!r}; "
                f"give each its own"
            )


def _messages(graph: Graph) -> Iterator[type[Message]]:
    yield from graph.starts.values()
    for node in graph.nodes.values():
        if isinstance(node, StepNode):
            for answers in (node.answers, *([node.undo.answers] if node.undo else ())):
                yield from (answers.command, *answers.replies, *answers.rejections)
        elif isinstance(node, WaitNode):
            yield node.event
    for end in (graph.completed, graph.compensated):
        yield from end.events if end else ()


# ---- the endings


def _ending(label: str, members: dict[str, object], nodes: dict[int, Node[Any]], when: str) -> EndPart | None:
    endings = {name: one for name, one in members.items() if isinstance(one, Ending) and one.when == when}
    if not endings:
        return None
    if len(endings) > 1:
        both = " and ".join(endings)
        raise DefinitionError(f"{label}: {both} are both @on_{when}; let one method return both events in a list")
    (name, ending), *_ = endings.items()
    place = f"{label}.{name}"
    _check_name(label, name)
    needs = Place(label, name, nodes, saga=False).names(ending.needs)
    check_method(place, ending.make, needs if when == "completed" else ("the failure",))
    events = tuple(returned(place, ending.make, Event))
    for event in events:
        if spec_of(event).topic is None:
            raise DefinitionError(f"{place}: {event.__name__} has no topic, where would it go? Add topic=... to it")
    return EndPart(label=name, make=ending.make, needs=needs, events=events)
