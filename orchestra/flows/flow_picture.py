"""What does a flow look like? Its graph as a picture that a product owner can read.

Each kind of node says how it is drawn in a function registered with :func:`draw_node`; a kind that has none is a plain
box. Names are shown as words: ``is_large`` as "is large".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import singledispatch
from inspect import cleandoc
from typing import Protocol, runtime_checkable

from orchestra.duration import in_words
from orchestra.errors import DefinitionError
from orchestra.events.message import Message
from orchestra.flows.decision import Definition
from orchestra.flows.graph import (
    AnyOfNode,
    ApprovalNode,
    CallNode,
    DelayNode,
    EndPart,
    ForEachNode,
    Graph,
    GraphNode,
    JoinNode,
    Kind,
    LoopNode,
    RepeatNode,
    SettledNode,
    StepNode,
    WaitNode,
)
from orchestra.flows.picture import Group, Line, LineKind, Part, PartKind, Picture, Shape, ShapeKind

START, COMPLETED, COMPENSATED = "!start", "!completed", "!compensated"
"""Ids of what is no node. A node's name is a Python name, so neither is one."""

_KINDS = {
    Kind.COMPENSATABLE: ShapeKind.STEP,
    Kind.PLAIN: ShapeKind.STEP,
    Kind.PIVOT: ShapeKind.PIVOT,
    Kind.RETRIABLE: ShapeKind.RETRIABLE,
    Kind.READ_ONLY: ShapeKind.READ_ONLY,
}


@runtime_checkable
class Drawn(Protocol):
    """A definition that draws itself: a state machine does."""

    def picture(self) -> Picture: ...


def draw(definition: Definition) -> Picture:
    """The picture of any definition.

    Raises:
        DefinitionError: it is of a kind that has no picture.
    """
    if isinstance(definition, Drawn):
        return definition.picture()
    graph = getattr(definition, "graph", None)
    if isinstance(graph, Graph):
        return picture_of(graph)
    raise DefinitionError(f"{definition.name}: a {type(definition).__name__} has no picture")


def picture_of(graph: Graph) -> Picture:
    """The picture of a flow: what follows what, how each step is undone, how long it may take, how it ends."""
    nodes = [replace(draw_node(node), group=_group_of(graph, node.name)) for node in graph.nodes.values()]
    return Picture(
        title=f"{graph.name}, version {graph.version}",
        subtitle=summary_of(graph.owner),
        nodes=[_start(graph), *nodes, *_ends(graph)],
        groups=list(_groups(graph)),
        edges=[*_lines(graph), *_ways_back(graph), *_ways_to_ends(graph)],
        notes=list(_notes(graph)),
    )


@singledispatch
def draw_node(node: GraphNode) -> Shape:
    """The shape of a node."""
    return Shape(id=node.name, label=words(node.name), kind=ShapeKind.STEP)


@draw_node.register
def _(node: StepNode) -> Shape:
    return Shape(
        id=node.name,
        label=words(node.name),
        kind=_KINDS[node.kind],
        caption=None if node.when is None else f"only if {rule_name(node.when)}",
        is_optional=node.when is not None,
        detail=(message_name(node.command), patience(node)),
        parts=undo_parts(node),
    )


@draw_node.register
def _(node: CallNode) -> Shape:
    detail = (f"flow {node.flow}", message_name(node.command), patience(node))
    shape = Shape(id=node.name, label=words(node.name), kind=ShapeKind.CALL, detail=detail, parts=undo_parts(node))
    if node.when is None:
        return shape
    return replace(shape, caption=f"runs another flow, only if {rule_name(node.when)}", is_optional=True)


@draw_node.register
def _(node: ForEachNode) -> Shape:
    return Shape(
        id=node.name,
        label=words(node.name),
        kind=ShapeKind.FOR_EACH,
        caption=f"for each of {rule_name(node.over)}, {node.limit} at a time",
        detail=_of_loop(node),
        parts=undo_parts(node),
    )


@draw_node.register
def _(node: RepeatNode) -> Shape:
    pace = f"every {in_words(node.every)}, " if node.every else ""
    return Shape(
        id=node.name,
        label=words(node.name),
        kind=ShapeKind.REPEAT,
        caption=f"again and again, until {rule_name(node.until)}",
        detail=(*_of_loop(node), f"{pace}{node.at_most} times at most, then fails"),
        parts=undo_parts(node),
    )


def _of_loop(node: LoopNode) -> tuple[str, ...]:
    flow = (f"flow {node.calls}",) if node.calls else ()
    return (*flow, message_name(node.command), patience(node))


@draw_node.register
def _(node: AnyOfNode) -> Shape:
    return Shape(id=node.name, label=words(node.name), kind=ShapeKind.ANY_OF)


@draw_node.register
def _(node: SettledNode) -> Shape:
    detail = (f"at least {node.at_least} must work",) if node.at_least else ("goes on whatever comes of them",)
    return Shape(id=node.name, label=words(node.name), kind=ShapeKind.SETTLED, detail=detail)


@draw_node.register
def _(node: DelayNode) -> Shape:
    return Shape(id=node.name, label=words(node.name), kind=ShapeKind.DELAY, detail=(in_words(node.delay),))


@draw_node.register
def _(node: WaitNode) -> Shape:
    detail = [message_name(node.event)]
    if node.where is not None:
        detail.append(f"where {rule_name(node.where)}")
    detail.append(_until(node.timeout, node.on_timeout))
    return Shape(id=node.name, label=words(node.name), kind=ShapeKind.WAIT, detail=detail)


@draw_node.register
def _(node: ApprovalNode) -> Shape:
    rejected = "fails" if node.on_reject == "fail" else "goes on"
    escalations = [f"after {in_words(after)} {role} too" for after, role in node.escalations]
    detail = [node.role, *escalations, _until(node.timeout, node.on_timeout), f"if rejected, {rejected}"]
    return Shape(id=node.name, label=words(node.name), kind=ShapeKind.APPROVAL, detail=detail)


_ON_TIMEOUT = {"fail": "fails", "continue": "goes on without", "approve": "counts as approved"}


def _until(timeout: float | None, on_timeout: str) -> str:
    if timeout is None:
        return "waits as long as it takes"
    return f"at most {in_words(timeout)}, then {_ON_TIMEOUT[on_timeout]}"


def rule_name(rule: Callable[..., object]) -> str:
    """A guard, for people: the words of its name."""
    name = getattr(rule, "__name__", "")
    return words(name) if name.isidentifier() else "a rule says so"


def patience(node: StepNode) -> str:
    """How long a step may take, and how often it is tried."""
    if node.timeout is None:
        return "waits as long as it takes"
    limit = in_words(node.timeout)
    if node.kind.insists:
        return f"tries of {limit}"
    return f"up to {node.retry.attempts} tries of {limit}" if node.retry.attempts > 1 else f"at most {limit}"


def undo_parts(node: StepNode) -> tuple[Part, ...]:
    """The compartment that says how a step is undone."""
    if node.undo is None:
        return ()
    label = words(node.name if node.undo.make is None else node.undo.label)
    return (Part(label=label, kind=PartKind.UNDO, name=node.undo.label),)


def words(name: str) -> str:
    """A Python name as words."""
    return name.strip("_").replace("_", " ")


def message_name(message: type[Message]) -> str:
    """A message's class, for people: ``Undo[ReserveItems]`` as "Undo ReserveItems"."""
    return message.__name__.replace("[", " ").replace("]", "")


def summary_of(owner: type) -> str:
    """The first paragraph of a class's own docstring."""
    return " ".join(cleandoc(owner.__doc__ or "").partition("\n\n")[0].split())


# ---- start and ends


def _start(graph: Graph) -> Shape:
    label = " or ".join(message_name(event) for event in graph.starts.values())
    detail = (f"all within {in_words(graph.deadline)}",) if graph.deadline else ()
    return Shape(id=START, label=label, kind=ShapeKind.START, detail=detail)


def _ends(graph: Graph) -> Iterator[Shape]:
    yield _end(COMPLETED, graph.completed, ShapeKind.END)
    if _failing(graph):
        yield _end(COMPENSATED, graph.compensated, ShapeKind.BAD_END)


def _end(name: str, end: EndPart | None, kind: ShapeKind) -> Shape:
    said = " or ".join(message_name(event) for event in end.events) if end else ""
    return Shape(id=name, label=said or "end", kind=kind)


# ---- lines


def _lines(graph: Graph) -> Iterator[Line]:
    for node in graph.nodes.values():
        if not node.before:
            yield Line(start=START, end=node.name)
        for name in _nearest(graph, node):
            yield Line(start=name, end=node.name, kind=LineKind.NEXT if name in node.needs else LineKind.AFTER)


def _nearest(graph: Graph, node: GraphNode) -> list[str]:
    """What it comes after, without what that comes after anyway."""
    before = node.before
    return [one for one in before if not any(other in graph.descendants[one] for other in before)]


def _ways_to_ends(graph: Graph) -> Iterator[Line]:
    for name in graph.nodes:
        if not graph.followers[name]:
            yield Line(start=name, end=COMPLETED)


def _ways_back(graph: Graph) -> Iterator[Line]:
    failing = _failing(graph)
    for name in failing:
        if not graph.descendants[name].intersection(failing):
            yield Line(start=name, end=COMPENSATED, label="if any step fails", kind=LineKind.UNDO)


def _failing(graph: Graph) -> list[str]:
    """The nodes by which a saga can fail; what fails within a join does not make it fail."""
    if not graph.saga:
        return []
    return [name for name, node in graph.nodes.items() if node.may_fail and name not in graph.guards]


# ---- frames around what a join takes upon itself


def _group_of(graph: Graph, name: str) -> str | None:
    join = name if isinstance(graph.nodes[name], JoinNode) else graph.guards.get(name)
    return None if join is None else _frame(join)


def _frame(join: str) -> str:
    return f"!{join}"


def _groups(graph: Graph) -> Iterator[Group]:
    for join in graph.joins:
        outer = graph.guards.get(join.name)
        yield Group(id=_frame(join.name), label="", parent=None if outer is None else _frame(outer))


def _notes(graph: Graph) -> Iterator[str]:
    if graph.joins:
        yield "What fails within a frame is undone within it; the flow goes on from the join."
    if not graph.saga:
        yield "When a step fails, the flow halts there and shows why. An operator retries it, starts anew or cancels."
        return
    yield "When a step fails, what was done is undone, last first, as the orange lines in the boxes say."
    if any(isinstance(node, StepNode) and node.kind is Kind.PIVOT for node in graph.nodes.values()):
        yield "What is done once the point of no return is passed stays done; what is left is tried until it works."
