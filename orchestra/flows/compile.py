"""How does a flow's class become a graph? Every mistake that types cannot show is an error here, at import."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from orchestra.duration import Duration, seconds
from orchestra.errors import DefinitionError
from orchestra.events.message import Command, Event, Message, Undo, spec_of
from orchestra.flows.graph import EndPart, Graph, Kind, StepNode, UndoPart, in_order
from orchestra.flows.node import DEFAULT_TIMEOUT, Ending, Node, StartsOn, Step, UndoOptions
from orchestra.flows.rules import check_kinds
from orchestra.retry import Retry

RESERVED = frozenset({"now", "start", "started", "completed", "compensated", "undo", "cancel"})
_FLOW_NAME = re.compile(r"[a-z0-9]+(?:[-._][a-z0-9]+)*")


def compile_flow(cls: type, *, name: object, version: object, saga: bool) -> Graph:
    """The graph of a flow's class.

    Raises:
        DefinitionError: the class cannot work; the text names class, step and remedy.
    """
    label = cls.__name__
    members = _members(cls)
    named, start = _name(label, name), _start(label, members)
    nodes = {id(node): node for node in members.values() if isinstance(node, Node)}
    if not nodes:
        raise DefinitionError(f"{label}: a flow without steps does nothing; add a method under @step")
    completed, compensated = _ending(label, members, nodes, "completed"), _ending(label, members, nodes, "compensated")
    graph = Graph(
        name=named,
        version=_version(label, version),
        label=label,
        owner=cls,
        saga=saga,
        starts={spec_of(event).type: event for event in start.events},
        nodes=in_order(label, [_compiled(label, member, node, nodes, saga) for member, node in _named(members)]),
        completed=completed,
        compensated=compensated,
    )
    check_kinds(graph)
    _check_types(label, graph)
    return graph


def _members(cls: type) -> dict[str, object]:
    """What the class and the flows that it derives from hold, in order; the nearest class wins."""
    found: dict[str, object] = {}
    for owner in reversed(cls.__mro__):
        found.update(vars(owner))
    return found


def _name(label: str, name: object) -> str:
    if name is None:
        raise DefinitionError(f"{label}: a flow needs a name; write class {label}(..., name='{_kebab(label)}')")
    if not isinstance(name, str) or not _FLOW_NAME.fullmatch(name) or len(name) > 100:
        raise DefinitionError(
            f"{label}: name={name!r}: use lower-case letters, digits and '-', such as '{_kebab(label)}'"
        )
    return name


def _kebab(label: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", label).lower().strip("_")


def _version(label: str, version: object) -> int:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DefinitionError(f"{label}: version={version!r}: a version is a whole number from 1")
    return version


# ---- the start


def _start(label: str, members: dict[str, object]) -> StartsOn[Any]:
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


def _compiled(label: str, member: str, node: Node[Any], nodes: dict[int, Node[Any]], saga: bool) -> StepNode:
    place = f"{label}.{member}"
    _check_name(label, member)
    if not isinstance(node, Step):
        raise DefinitionError(f"{place}: {type(node).__name__} is no node of a flow")
    if node.label != member:
        raise DefinitionError(
            f"{place}: this is the step {node.label!r} under a second name; declare a step of its own"
        )
    options = node.options
    command = _returned(place, node.make, Command)
    if len(command) != 1:
        raise DefinitionError(f"{place}: a step returns one kind of command, not several; make a step of each")
    needs = _names(place, node.needs, nodes)
    _check_method(place, node.make, needs)
    return StepNode(
        name=member,
        needs=needs,
        after=_names(place, node.after, nodes),
        kind=_kind(place, node),
        make=node.make,
        command=command[0],
        timeout=None if options.timeout is None else _seconds(place, "timeout", options.timeout),
        retry=_retry(place, options.retry),
        undo=_undo(place, node, command[0]),
    )


def _kind(place: str, step: Step[Any]) -> Kind:
    declared = step.options.kind
    if declared is None:
        return Kind.COMPENSATABLE if step.undos else Kind.PLAIN
    if declared not in ("pivot", "retriable", "read_only"):
        raise DefinitionError(
            f"{place}: kind={declared!r}: a kind is 'retriable' or 'read_only'; or use undo or @pivot"
        )
    return Kind(declared)


def _retry(place: str, retry: Retry) -> Retry:
    if retry.later or retry.errors or retry.order != "block_key":
        raise DefinitionError(
            f"{place}: later, order and errors of a Retry are for handlers; a step is tried again as attempts, first, "
            "factor and cap say"
        )
    return retry


def _names(place: str, given: Sequence[Node[Any]], nodes: dict[int, Node[Any]]) -> tuple[str, ...]:
    for node in given:
        if id(node) not in nodes:
            have = ", ".join(one.label for one in nodes.values())
            raise DefinitionError(
                f"{place}: it needs {node.label!r}, which is no step of this flow (of another class, or replaced by a "
                f"later one of that name); use one of {have}"
            )
    names = tuple(node.label for node in given)
    if len(set(names)) < len(names):
        raise DefinitionError(f"{place}: it names {', '.join(names)}; name each step once")
    return names


def _undo(place: str, step: Step[Any], command: type[Command[Any, Any]]) -> UndoPart | None:
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
        undoing, label = _undo_command(place, options.make, command), options.make.__name__
    timeout = _undo_timeout(place, step, options)
    return UndoPart(
        make=options.make, label=label, command=undoing, timeout=timeout, retry=_retry(place, options.retry)
    )


def _undo_command(place: str, make: Callable[..., Any], command: type[Command[Any, Any]]) -> type[Command[Any, Any]]:
    place = f"{place}.undo ({make.__name__})"
    found = _returned(place, make, Command)
    if len(found) != 1:
        raise DefinitionError(f"{place}: an undo returns one kind of command")
    _check_method(place, make, ("the reply or None",))
    if found[0] is command:
        raise DefinitionError(f"{place}: {command.__name__} is the action itself; return the command that undoes it")
    action, undoing = spec_of(command), spec_of(found[0])
    if action.topic != undoing.topic:
        raise DefinitionError(
            f"{place}: {found[0].__name__} goes to topic {undoing.topic!r} and the action {command.__name__} to "
            f"{action.topic!r}; a compensation goes where its action went, or it could overtake it: use the same topic"
        )
    return found[0]


def _undo_timeout(place: str, step: Step[Any], options: UndoOptions) -> float:
    if options.timeout is not None:
        return _seconds(f"{place}.undo", "timeout", options.timeout)
    return _seconds(place, "timeout", step.options.timeout or DEFAULT_TIMEOUT)


def _seconds(place: str, what: str, duration: Duration) -> float:
    try:
        return seconds(duration)
    except DefinitionError as error:
        raise DefinitionError(f"{place}: {what}: {error}") from None


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
            for command in (node.command, *([node.undo.command] if node.undo else ())):
                yield from (command, *spec_of(command).replies, *spec_of(command).rejections)
    for end in (graph.completed, graph.compensated):
        yield from end.events if end else ()


# ---- methods


def _check_method(place: str, make: Callable[..., Any], arguments: Sequence[str]) -> None:
    if inspect.iscoroutinefunction(make) or inspect.isasyncgenfunction(make):
        raise DefinitionError(f"{place}: a flow's methods are plain functions; write def, and do I/O in a handler")
    try:
        inspect.signature(make).bind(None, *arguments)
    except TypeError as error:
        given = ", ".join(arguments) or "nothing"
        raise DefinitionError(f"{place}: the method is given self and {given}, and cannot take it: {error}") from None


def _returned(place: str, make: Callable[..., Any], wanted: type) -> list[type[Any]]:
    """The classes that a method says it returns; None is left out."""
    try:
        hints = get_type_hints(make)
    except (NameError, TypeError, AttributeError) as error:
        raise DefinitionError(
            f"{place}: its annotations cannot be read ({error}); import what they name at module level, not under "
            f"TYPE_CHECKING"
        ) from None
    if "return" not in hints:
        raise DefinitionError(f"{place}: it does not say what it returns; add -> and the message's class")
    alternatives = list(_alternatives(hints["return"], unpack=wanted is Event))
    found = [one for one in alternatives if one is not NoneType]
    for one in found:
        if not _can_be_sent(one, wanted):
            said = getattr(one, "__name__", one)
            raise DefinitionError(f"{place}: it returns {said}, which is no {wanted.__name__} that can be sent")
    if wanted is Command and NoneType in alternatives:
        raise DefinitionError(f"{place}: it may return None; a step always returns its command")
    return found


def _can_be_sent(one: object, wanted: type) -> bool:
    if not (isinstance(one, type) and issubclass(one, wanted) and issubclass(one, Message)):
        return False
    try:
        spec_of(one)
    except DefinitionError:  # abstract
        return False
    return True


def _alternatives(annotation: object, *, unpack: bool) -> Iterator[Any]:
    """The classes of a union; and, where ``unpack``, of a list or tuple."""
    origin = get_origin(annotation)
    is_several = unpack and isinstance(origin, type) and issubclass(origin, Sequence)
    if origin in (Union, UnionType) or is_several:
        for part in get_args(annotation):
            if part is not Ellipsis:
                yield from _alternatives(part, unpack=unpack)
    else:
        yield NoneType if annotation is None else annotation


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
    needs = _names(place, ending.needs, nodes)
    _check_method(place, ending.make, needs if when == "completed" else ("the failure",))
    events = tuple(_returned(place, ending.make, Event))
    for event in events:
        if spec_of(event).topic is None:
            raise DefinitionError(f"{place}: {event.__name__} has no topic, where would it go? Add topic=... to it")
    return EndPart(label=name, make=ending.make, needs=needs, events=events)
