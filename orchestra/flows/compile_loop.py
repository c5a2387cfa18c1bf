"""How does a step that is done many times become a node of the graph?"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from orchestra.errors import DefinitionError
from orchestra.flows.compile_step import compile_call, compile_step
from orchestra.flows.graph import ForEachNode, RepeatNode, StepNode
from orchestra.flows.loop_node import AnyForEach, Repeat
from orchestra.flows.method import check_method
from orchestra.flows.node import Call
from orchestra.flows.place import Place

MOST_AT_ONCE = 1000
MOST_TURNS = 10_000


def compile_for_each(place: Place, node: AnyForEach[Any, Any, Any]) -> ForEachNode:
    """Raises DefinitionError."""
    if not callable(node.over):
        raise DefinitionError(f"{place}: over={node.over!r}: it is a method of the flow that lists the items")
    if not 1 <= node.limit <= MOST_AT_ONCE:
        raise DefinitionError(f"{place}: limit={node.limit}: from 1 to {MOST_AT_ONCE} items are under way at once")
    if node.tolerate < 0:
        raise DefinitionError(f"{place}: tolerate={node.tolerate}: it is how many items may fail, 0 or more")
    item = (
        _call(place, node)
        if node.flow is not None
        else compile_step(place, node, first=("the item",), undo_first=("the item",))
    )
    check_method(f"{place}, over={getattr(node.over, '__name__', 'its method')}", node.over, item.needs)
    return ForEachNode(**_parts(item), over=node.over, limit=node.limit, item=item, tolerate=node.tolerate)


def _call(place: Place, node: AnyForEach[Any, Any, Any]) -> StepNode:
    if node.undos:
        raise DefinitionError(f"{place}: a flow that is called undoes itself; take the undo away")
    assert node.flow is not None
    call: Call[Any] = Call(node.make, node.options, node.flow, node.yields)
    return compile_call(place, call, first=("the item",))


def compile_repeat(place: Place, node: Repeat[Any]) -> RepeatNode:
    """Raises DefinitionError."""
    if not callable(node.until):
        raise DefinitionError(f"{place}: until={node.until!r}: it is a method of the flow that looks at a reply")
    if not 1 <= node.at_most <= MOST_TURNS:
        raise DefinitionError(f"{place}: at_most={node.at_most}: a loop has from 1 to {MOST_TURNS} turns")
    check_method(f"{place}, until={getattr(node.until, '__name__', 'its method')}", node.until, ("the reply",))
    item = compile_step(place, node, first=("the previous reply or None",))
    every = place.seconds("every", node.every) if node.every else 0.0
    return RepeatNode(**_parts(item), item=item, until=node.until, at_most=node.at_most, every=every)


def _parts(item: StepNode) -> dict[str, Any]:
    """What a loop has in common with the step that it repeats."""
    return {each.name: getattr(item, each.name) for each in fields(StepNode)}
