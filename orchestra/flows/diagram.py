"""What does a flow look like? Its graph as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator

from orchestra.events.message import Message, spec_of
from orchestra.flows.graph import EndPart, Graph, GraphNode, Kind, StepNode

_SHAPES = {
    Kind.COMPENSATABLE: ("[", "]"),
    Kind.PLAIN: ("[", "]"),
    Kind.PIVOT: ("{{", "}}"),
    Kind.RETRIABLE: ("[[", "]]"),
    Kind.READ_ONLY: ("[/", "/]"),
}
_STYLES = (
    "classDef ending fill:#e8f5e9,stroke:#2e7d32,color:#1b5e20",
    "classDef undo fill:#fff3e0,stroke:#ef6c00,color:#5d2c00",
    "classDef pivot fill:#e3f2fd,stroke:#1565c0,color:#0d2f66,stroke-width:3px",
)


def mermaid(graph: Graph) -> str:
    """The flow as Mermaid text: what follows what, and, dotted, what undoes it. A hexagon is the point of no return."""
    return "\n".join(["flowchart TD", *(f"    {line}" for line in _lines(graph))]) + "\n"


def _lines(graph: Graph) -> Iterator[str]:
    starts = "<br/>".join(_name(event) for event in graph.starts.values())
    yield f'start(["{starts}"])'
    for node in graph.nodes.values():
        yield from _node(node)
    for node in graph.nodes.values():
        yield from _edges(node)
    yield from _undos(graph)
    yield from _endings(graph)
    yield from _STYLES


def _node(node: GraphNode) -> Iterator[str]:
    if not isinstance(node, StepNode):
        yield f'{_id(node.name)}["{node.name}"]'
        return
    opening, closing = _SHAPES[node.kind]
    limit = "waits for ever" if node.timeout is None else f"{node.timeout:g} s"
    tries = "without end" if node.kind.insists else f"{node.retry.attempts} tries" if node.retry.attempts > 1 else ""
    detail = ", ".join(part for part in (limit, tries) if part)
    label = f"<b>{node.name}</b><br/>{_name(node.command)}<br/><i>{detail}</i>"
    style = ":::pivot" if node.kind is Kind.PIVOT else ""
    yield f'{_id(node.name)}{opening}"{label}"{closing}{style}'


def _edges(node: GraphNode) -> Iterator[str]:
    if not node.before:
        yield f"start --> {_id(node.name)}"
    for name in node.needs:
        yield f"{_id(name)} --> {_id(node.name)}"
    for name in node.after:
        if name not in node.needs:
            yield f"{_id(name)} -- after --> {_id(node.name)}"


def _undos(graph: Graph) -> Iterator[str]:
    for node in graph.nodes.values():
        if isinstance(node, StepNode) and node.undo is not None:
            label = f"{node.undo.label}<br/>{_name(node.undo.command)}"
            yield f'undo_{node.name}["{label}"]:::undo'
            yield f"{_id(node.name)} -. undone by .-> undo_{node.name}"
            yield from (f"undo_{later} -.-> undo_{node.name}" for later in _undone_just_before(graph, node.name))


def _undone_just_before(graph: Graph, name: str) -> Iterator[str]:
    """The undoable nodes that come after this one, with no undoable node between."""
    undoable = [one.name for one in graph.nodes.values() if isinstance(one, StepNode) and one.undo is not None]
    later = [other for other in undoable if other in graph.descendants[name]]
    for other in later:
        if not any(other in graph.descendants[between] for between in later):
            yield other


def _endings(graph: Graph) -> Iterator[str]:
    last = [node for node in graph.nodes.values() if not graph.followers[node.name]]
    yield f'completed(["{_said(graph.completed, "completed")}"]):::ending'
    yield from (f"{_id(node.name)} --> completed" for node in last)
    fallible = [node for node in graph.nodes.values() if isinstance(node, StepNode) and node.kind is not Kind.RETRIABLE]
    if graph.saga and fallible:
        yield f'compensated(["{_said(graph.compensated, "compensated")}"]):::ending'
        first = [f"undo_{node.name}" for node in fallible if node.undo is not None and not node.before]
        yield from (f"{undo} -.-> compensated" for undo in first or [_id(fallible[0].name)])


def _said(end: EndPart | None, otherwise: str) -> str:
    return otherwise if end is None or not end.events else "<br/>".join(_name(event) for event in end.events)


def _id(name: str) -> str:
    # Not the bare name: "end", "graph" and others are words of Mermaid's own.
    return f"step_{name}"


def _name(message: type[Message]) -> str:
    return f"{message.__name__.replace('[', ' ').replace(']', '')}<br/><small>{spec_of(message).type}</small>"
