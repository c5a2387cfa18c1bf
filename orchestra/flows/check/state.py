"""When are two states of an instance one and the same, as far as what may follow goes?

There are two answers for each node, and for each item of a step that goes over many. The *exact* one leaves out times,
generations of timers and numbers of tries beyond the second. The *coarse* one also takes as equal what the engine
treats alike from then on: an action that is being undone was done or may have been; a step that is over is over,
however many tries it took. States are merged by the coarse answer; and so that nothing is taken on trust, every exact
state of a node that a merge would hide is tried too.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from orchestra.flows.check.model import EXPLORED_TRIES, Model, Part
from orchestra.flows.check.world import MOST_EARLY, Move, Point, Sent, World, nodes_of, slot_of
from orchestra.flows.effect import EffectStatus

_OPEN = (EffectStatus.RUNNING, EffectStatus.BACKING_OFF)
_UNDONE = (EffectStatus.DONE, EffectStatus.SKIPPED, EffectStatus.RESOLVED)
_FLAGS = ("failure", "frozen", "overdue", "recalled", "final", "cancelled")


class Spot(NamedTuple):
    """A node, or one item of a step that goes over many; and its action, or its undo. Either knows of the other only
    how far it is."""

    name: str
    slot: int
    phase: str = "action"


class Shape:
    """What counts of one point, node by node."""

    def __init__(self, model: Model, point: Point) -> None:
        state: Any = point.state
        self._model = model
        self._state = point.state
        self._world = point.world
        self._lost = frozenset(state.get("lost", ()))
        self._early: Mapping[str, Any] = state.get("early", {})
        self._nodes = nodes_of(point.state)
        self._flags = (point.status, *(bool(state.get(name)) for name in _FLAGS), point.world.ended)
        self._deferred = tuple(kind for kind, _ in state.get("deferred", ()))
        self._exact: dict[Spot, Hashable] = {}

    def spots(self) -> Iterator[Spot]:
        """Every node that has begun, item by item."""
        for name, raw in self._nodes.items():
            for slot in _indices(raw) if is_loop(raw) else (0,):
                yield Spot(name, slot)
                yield Spot(name, slot, "undo")

    def spot(self, move: Move) -> Spot | None:
        """What a move is about, where it is about one thing."""
        if not move.step or (move.what in ("operator", "decision") and is_loop(self._nodes.get(move.step, {}))):
            return None
        phase = "undo" if move.phase == "undo" else "action" if move.phase == "action" else ""
        return Spot(move.step, slot_of(self._state, move.step, move.iteration), phase)

    def exact(self, spot: Spot) -> Hashable:
        """All that counts there, and where the flow stands."""
        if (known := self._exact.get(spot)) is None:
            name, slot, phase = spot
            raw = self._nodes.get(name)
            all_sent = self._world.sent.get(name, ())
            sent = tuple(_of_sent(one) for one in all_sent if one.slot == slot and phase in ("", one.phase))
            of = _of_item(raw, spot, self._world) if is_loop(raw) else _of_phase(raw, phase)
            known = self._exact[spot] = (self._flags, name, of, sent, self._around(name))
        return known

    def _around(self, name: str) -> Hashable:
        return name in self._lost, min(len(self._early.get(name, ())), MOST_EARLY), name in self._world.decided

    def of(self, move: Move) -> Hashable:
        """A move that changes nothing changes nothing wherever this is the same."""
        kind = (move.what, move.step, move.phase, move.detail if move.what in ("event", "event again") else "")
        if (spot := self.spot(move)) is not None:
            return *kind, move.detail if move.what in ("operator", "decision") else "", self.exact(spot)
        return *kind, move.detail, self.fingerprint()

    def fingerprint(self) -> Hashable:
        """Equal for points from which the same may follow."""
        nodes = {name: self._coarse(part) for name, part in self._model.parts.items()}
        for group in self._model.twins:
            nodes.update(zip(group, sorted((nodes[name] for name in group), key=repr), strict=True))
        heard = tuple(sorted(self._world.heard)) if self._model.graph is not None else ()
        return self._flags, heard, self._deferred, tuple(nodes.values())

    def _coarse(self, part: Part) -> tuple[Hashable, ...]:
        raw = self._nodes.get(part.name)
        if part.within is not None and raw is not None and self._is_of_the_past(part, raw):
            return ("open",) if raw["s"] in _OPEN else ("over",)
        return *_coarse(raw, part.name, self._world), self._around(part.name)

    def _is_of_the_past(self, part: Part, raw: Any) -> bool:
        """A machine's state that was left began it: no answer triggers anything any more."""
        around = self._nodes.get(part.within or "", {"s": "left"})
        is_let_go = raw["s"] == EffectStatus.RUNNING and not part.owed
        is_over = raw["s"] not in (*_OPEN, "stuck", "waiting") and "u" not in raw
        return around["s"] == "left" and (is_let_go or is_over)


def is_loop(raw: Any) -> bool:
    """Whether this is the state of a step that goes over many items, or takes many turns."""
    return raw is not None and "h" in raw


# ---- exactly


def _of_phase(raw: Any, phase: str) -> Hashable:
    if raw is None or not phase:
        return _of_node(raw)
    undo: Any = raw.get("u")
    if phase == "undo":
        return raw["s"], _of_node(undo)
    return _of_node({name: value for name, value in raw.items() if name != "u"}), undo and undo["s"]


def _of_node(raw: Any) -> Hashable:
    if raw is None:
        return None
    calls = tuple(bool(generation) for generation, _ in raw["c"]) if isinstance(raw.get("c"), list) else ()
    timers = tuple(raw["d"]) if isinstance(raw.get("d"), dict) else ()
    last, stopped, undo = raw.get("l"), raw.get("q"), _of_node(raw.get("u"))
    return raw["s"], _tries(raw), last, bool(raw.get("g")), stopped, "c" in raw, calls, timers, undo


def _tries(raw: Mapping[str, int]) -> int:
    """How many tries of the present budget, as far as it counts."""
    return min(raw.get("a", 0) - raw.get("b", 0), EXPLORED_TRIES)


def _of_item(raw: Any, spot: Spot, world: World) -> Hashable:
    """An item, and what it needs to know of the step."""
    item = _live(raw, spot.slot)
    value = world.values.get(f"{spot.name}/{spot.slot}")
    state = _of_phase(item, spot.phase) if item is not None else None if value is None else _of_value(value)
    undo = raw.get("u", {})
    is_turn = bool(undo) and spot.slot < undo["x"]
    return _shift(raw, spot.slot), state, item is None, raw["s"], bool(raw.get("b")), undo.get("s"), is_turn


def _live(raw: Any, slot: int) -> Any:
    return raw.get("l", {}).get(str(slot)) or raw.get("v", {}).get(str(slot))


def _shift(raw: Any, index: int) -> int:
    """Items are numbered from the first; turns, of which there is no end, from the one that comes next."""
    return index - raw.get("x", 0) if "k" in raw else index


@lru_cache(maxsize=4096)
def _of_value(value: bytes) -> Hashable:
    return _coarse_step(json.loads(value), ())


def _of_sent(sent: Sent) -> Hashable:
    more, ghost = len(sent.ids) > 1, sent.ghost is not None and sent.ghost.truth
    return sent.phase, sent.truth, sent.awaited, sent.dead, more, sent.expires, ghost


# ---- coarsely


def _coarse(raw: Any, name: str, world: World) -> tuple[Hashable, ...]:
    if raw is None or raw["s"] == "left":  # a machine's state that was left is as one that was never entered
        return (None,)
    return _coarse_loop(raw, name, world) if is_loop(raw) else _coarse_step(raw, world.of(name, "action"))


def _coarse_step(raw: Any, sent: Sequence[Sent]) -> tuple[Hashable, ...]:
    if (undo := raw.get("u")) is not None:
        return ("undone",) if undo["s"] in _UNDONE else ("undo", undo["s"], _tries(undo) if undo["s"] in _OPEN else 0)
    if raw["s"] in _OPEN:
        return "open", _of_node(raw), *map(_of_sent, sent)
    if raw["s"] in ("waiting", "active"):
        return raw["s"], _of_node(raw)
    return raw["s"], "c" in raw, *(one.truth for one in sent)


def _coarse_loop(raw: Any, name: str, world: World) -> tuple[Hashable, ...]:
    """Item by item: from the state, or, where it is over, from its value; one that has neither is undone."""
    undo = raw.get("u", {})
    items: list[Hashable] = []
    for slot in _indices(raw):
        sent = [one for one in world.of(name, "action") if one.slot == slot]
        if (item := _live(raw, slot)) is not None:
            items.append(_coarse_step(item, sent))
        elif (value := world.values.get(f"{name}/{slot}")) is not None:
            items.append((_of_value(value), *(one.truth for one in sent)))
        else:
            items.append("undone")
    left = raw.get("k", raw["n"]) - raw.get("x", 0)
    undoing = undo.get("s"), _shift(raw, undo["x"]) if undo else None
    failed = tuple(sorted(_shift(raw, index) for index in raw.get("b", ())))
    return raw["s"], left, bool(raw.get("g")), raw.get("o"), "f" in raw, undoing, failed, tuple(items)


def _indices(raw: Any) -> range:
    """The items that have begun; of turns, the last few."""
    begun = raw.get("x", 0)
    return range(max(0, begun - EXPLORED_TRIES), begun) if "k" in raw else range(begun)
