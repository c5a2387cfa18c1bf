"""When are two states of an instance one and the same, as far as what may follow goes?

There are two answers for each node. The *exact* one leaves out times, generations of timers and numbers of tries beyond
the second. The *coarse* one also takes as equal what the engine treats alike from then on: an action that is being
undone was done or may have been; a step that is over is over, however many tries it took. States are merged by the
coarse answer; and so that nothing is taken on trust, every exact state of a node that a merge would hide is tried too.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from orchestra.flows.check_model import EXPLORED_TRIES, Model
from orchestra.flows.check_world import MOST_EARLY, Move, Point, Sent, World, nodes_of
from orchestra.flows.effect import EffectStatus

_OPEN = (EffectStatus.RUNNING, EffectStatus.BACKING_OFF)
_UNDONE = (EffectStatus.DONE, EffectStatus.SKIPPED, EffectStatus.RESOLVED)


class Shape:
    """What counts of one point, node by node."""

    def __init__(self, model: Model, point: Point) -> None:
        state: Any = point.state
        self._model = model
        self._world = point.world
        self._lost = frozenset(state.get("lost", ()))
        self._early: Mapping[str, Any] = state.get("early", {})
        self.nodes = nodes_of(point.state)
        self.flags = (
            point.status,
            *(bool(state.get(name)) for name in ("failure", "frozen", "overdue", "recalled")),
            point.world.ended,
        )
        self._exact: dict[str, Hashable] = {}

    def exact(self, name: str) -> Hashable:
        """All that counts of a node, and where the flow stands."""
        if (known := self._exact.get(name)) is None:
            sent = tuple(map(_of_sent, self._world.sent.get(name, ())))
            known = (self.flags, name, _of_node(self.nodes.get(name)), sent, self._around(name))
            self._exact[name] = known
        return known

    def _around(self, name: str) -> Hashable:
        return name in self._lost, min(len(self._early.get(name, ())), MOST_EARLY), name in self._world.decided

    def of(self, move: Move) -> Hashable:
        """A move that changes nothing changes nothing wherever this is the same."""
        if move.step:
            return move, self.exact(move.step)
        return move, self.flags, tuple(map(self.exact, self.nodes))

    def fingerprint(self) -> Hashable:
        """Equal for points from which the same may follow."""
        nodes = {
            name: (*_coarse(self.nodes.get(name), name, self._world), self._around(name)) for name in self._model.parts
        }
        for group in self._model.twins:
            nodes.update(zip(group, sorted((nodes[name] for name in group), key=repr), strict=True))
        heard = tuple(sorted(self._world.heard))
        return self.flags, heard, tuple(nodes.values())


def _of_node(raw: Any) -> Hashable:
    if raw is None:
        return None
    waits = tuple(bool(generation) for generation, _ in raw["c"]) if isinstance(raw.get("c"), list) else ()
    return raw["s"], _tries(raw), raw.get("l"), bool(raw.get("g")), raw.get("q"), waits, _of_node(raw.get("u"))


def _tries(raw: Mapping[str, int]) -> int:
    """How many tries of the present budget, as far as it counts."""
    return min(raw.get("a", 0) - raw.get("b", 0), EXPLORED_TRIES)


def _of_sent(sent: Sent) -> Hashable:
    more, ghost = len(sent.ids) > 1, sent.ghost is not None
    return sent.phase, sent.truth, sent.awaited, sent.dead, more, sent.expires, ghost


def _coarse(raw: Any, name: str, world: World) -> tuple[Hashable, ...]:
    if raw is None:
        return (None,)
    if (undo := raw.get("u")) is not None:
        return ("undone",) if undo["s"] in _UNDONE else ("undo", undo["s"], _tries(undo) if undo["s"] in _OPEN else 0)
    sent = world.of(name, "action")
    if raw["s"] in _OPEN:
        return "open", _of_node(raw), *map(_of_sent, sent)
    if raw["s"] == "waiting":
        return "waiting", _of_node(raw)
    return raw["s"], *(one.truth for one in sent)
