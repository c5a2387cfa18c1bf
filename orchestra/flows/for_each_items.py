"""Which items does a step go over? What the flow's method lists, kept between decisions, and compared when it is not.

The method is pure, so a list that is known by its digest need not be made again: what a decision costs does not grow
with the number of items.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from pydantic_core import to_json

from orchestra.errors import DefinitionError
from orchestra.flows.draft import Draft
from orchestra.flows.graph import ForEachNode

MOST_ITEMS = 100_000
_MOST_KNOWN = 64

_known: OrderedDict[tuple[Callable[..., Any], str], Sequence[Any]] = OrderedDict()


def items_of(node: ForEachNode, digest: str | None, at: int, draft: Draft) -> tuple[Sequence[Any], str]:
    """The items, and their digest. ``digest``: what it was before; None: nothing yet. ``at``: when the step began.

    Raises:
        DefinitionError: the method gives no sequence, too many, or others than before. The instance parks.
    """
    if digest is not None and (known := _known.get((node.over, digest))) is not None:
        _known.move_to_end((node.over, digest))
        return known, digest
    place = f"{draft.graph.label}.{node.name}, over={getattr(node.over, '__name__', 'its method')}"
    made = node.over(draft.flow(at), *draft.values(node.needs)())
    if not _is_list(made):
        raise DefinitionError(f"{place}: it gives {type(made).__name__}; it gives a list, always in the same order")
    if len(made) > MOST_ITEMS:
        raise DefinitionError(
            f"{place}: it gives {len(made)} items, and one step takes at most {MOST_ITEMS}; split them"
        )
    items = tuple(made)
    fresh = _digest(items)
    if digest is not None and fresh != digest:
        raise DefinitionError(
            f"{place}: it gives other items than when the step began; it must give the same ones, in the same order, "
            "whenever it is asked: make it from the start event and the arguments alone"
        )
    _known[node.over, fresh] = items
    while len(_known) > _MOST_KNOWN:
        _known.popitem(last=False)
    return items, fresh


def forget_items() -> None:
    """As in a process that has just started."""
    _known.clear()


def _digest(items: Sequence[Any]) -> str:
    content = to_json(items, fallback=repr, inf_nan_mode="constants")
    return hashlib.sha256(content).hexdigest()[:16]


def _is_list(made: object) -> bool:
    return isinstance(made, Sequence) and not isinstance(made, str | bytes)
