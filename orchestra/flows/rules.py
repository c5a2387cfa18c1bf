"""Which graphs make no sense as a saga? Rules about kinds of steps, each with its remedy."""

from __future__ import annotations

from collections.abc import Iterator

from orchestra.errors import DefinitionError
from orchestra.flows.graph import Graph, GraphNode, Kind, StepNode


def check_kinds(graph: Graph) -> None:
    """A saga is all or nothing: up to one point every step can fail and be undone, and from there on none can fail.

    Raises:
        DefinitionError: a step has neither undo nor kind, or comes on the wrong side of that point.
    """
    for step in _steps(graph):
        _check_undo(graph, step)
    if graph.saga:
        for step in _steps(graph):
            _check_sides(graph, step)


def _steps(graph: Graph) -> Iterator[StepNode]:
    return (node for node in graph.nodes.values() if isinstance(node, StepNode))


def _check_undo(graph: Graph, step: StepNode) -> None:
    place = f"{graph.label}.{step.name}"
    if step.kind is Kind.PLAIN and graph.saga:
        raise DefinitionError(
            f"{place}: a step of a saga says how it is undone, or that it need not be. Write @{step.name}.undo, or "
            f"undo=Undo, or kind='read_only' or 'retriable', or make it the @pivot"
        )
    if step.undo is not None and step.kind is not Kind.COMPENSATABLE:
        raise DefinitionError(f"{place}: a {step.kind} step is never undone; take its undo or its kind away")


def _check_sides(graph: Graph, step: StepNode) -> None:
    """Whatever may still fail must come before a step that cannot be taken back."""
    if not step.kind.insists:
        return
    for other in graph.nodes.values():
        if other is step or step.name in graph.descendants[other.name]:
            continue
        if isinstance(other, StepNode) and other.kind is Kind.PIVOT:
            raise _two_pivots(graph, step, other) if step.kind is Kind.PIVOT else _not_yet(graph, step, other)
        if other.name not in graph.guards and other.may_fail:
            raise _too_late(graph, step, other)


def _too_late(graph: Graph, step: StepNode, other: GraphNode) -> DefinitionError:
    where, remedy = "beside", f"Add after={other.name} to {step.name!r}, or make {other.name!r} kind='retriable'"
    if other.name in graph.descendants[step.name]:
        where, remedy = "after", f"Put {other.name!r} before {step.name!r}, or make it kind='retriable'"
    if not isinstance(other, StepNode):
        remedy = f"Put {other.name!r} before {step.name!r}, or let the flow go on without it: on_timeout='continue', "
        remedy += "on_reject='continue', at_least=0"
    return DefinitionError(
        f"{graph.label}.{other.name}: this {_what(other)} may fail {where} {step.name!r}, a {step.kind} step, which "
        f"is never undone. {remedy}"
    )


def _what(node: GraphNode) -> str:
    return f"{node.kind} step" if isinstance(node, StepNode) else "node"


def _not_yet(graph: Graph, step: StepNode, pivot: StepNode) -> DefinitionError:
    return DefinitionError(
        f"{graph.label}.{step.name}: a retriable step is never undone, but the pivot {pivot.name!r} may still be "
        f"rejected when it is done. Add after={pivot.name} to {step.name!r}"
    )


def _two_pivots(graph: Graph, first: StepNode, second: StepNode) -> DefinitionError:
    return DefinitionError(
        f"{graph.label}.{second.name}: the saga already has a pivot, {first.name!r}, and there is one point of no "
        f"return. Make what follows it kind='retriable', and what comes before it compensatable"
    )


def check_joins(graph: Graph) -> None:
    """What leads to ``any_of`` or ``settled`` leads nowhere else, and can be undone.

    Raises:
        DefinitionError: names the node and the remedy.
    """
    for join in graph.joins:
        for end in join.needs:
            if graph.guards.get(end) != join.name:
                others = ", ".join(one for one in graph.followers[end] if one != join.name)
                raise DefinitionError(
                    f"{graph.label}.{join.name}: {end!r} is needed by {others} as well, which would be left without it "
                    f"when it fails; let that take its value from {join.name!r}"
                )
    for step in _steps(graph):
        if step.kind.insists and step.name in graph.guards:
            raise DefinitionError(
                f"{graph.label}.{step.name}: a {step.kind} step is never undone, and a branch of "
                f"{graph.guards[step.name]!r} may have to be; put it behind that"
            )
