"""Which states can an instance be in, and which of them break a rule? Breadth first, so the first one found is nearest.

Equal states (``check_state``) are explored once. An input that changed nothing where a node and the flow stood as they
stand now is not tried again.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from orchestra.flows.check.model import MOST_QUESTIONS, START_TIME, Model
from orchestra.flows.check.moves import given, moves
from orchestra.flows.check.rules import ENDS, Broken, broken_rules
from orchestra.flows.check.state import Shape, Spot
from orchestra.flows.check.world import Move, Point, World, after_decision, after_move, nodes_of
from orchestra.flows.decision import Decision


class Came(NamedTuple):
    """How a state was first reached."""

    parent: int
    move: Move | None
    script: tuple[int, ...]


@dataclass(slots=True)
class Found:
    """A state from which, or on the way to which, a rule is broken."""

    broken: Broken
    history: Sequence[Came]


@dataclass(slots=True)
class Explored:
    """How far the search got."""

    states: int = 0
    transitions: int = 0
    depth: int = 0
    finished: bool = False
    """Every state was seen, and every move from it tried."""
    found: Found | None = None
    reached: set[str] = field(default_factory=set)
    """Names of nodes that began in some state."""
    statuses: dict[str, int] = field(default_factory=dict)


class Search:
    """One search through everything that may happen to one instance."""

    def __init__(self, model: Model, *, limit: int, out_of_time: Callable[[], bool]) -> None:
        self._model = model
        self._limit = limit
        self._out_of_time = out_of_time
        self._points: list[Point | None] = []
        self._only: dict[int, frozenset[Spot]] = {}
        """For a point that is merged into another: where its exact state was new."""
        self._came: list[Came] = []
        self._depths = array("i")
        self._known: dict[Hashable, int] = {}
        self._edges: tuple[array[int], array[int]] = (array("i"), array("i"))
        self._ends: list[int] = []
        self._idle: set[Hashable] = set()
        self._tried: set[Hashable] = set()
        self.explored = Explored()

    def run(self) -> Explored:
        explored = self.explored
        self._begin()
        index = 0
        while explored.found is None and index < len(self._points):
            if self.explored.states > self._limit or (index % 64 == 0 and self._out_of_time()):
                return explored
            self._expand(index)
            self._points[index] = None
            index += 1
        explored.finished = explored.found is None and not self._model.oracle.exceeded
        if explored.finished:
            self._find_trap()
        return explored

    def has_seen(self, point: Point) -> bool:
        """Whether an equal state was reached."""
        return Shape(self._model, point).fingerprint() in self._known

    # ---- one state after another

    def _begin(self) -> None:
        model = self._model
        for script in self._scripts():
            decision = model.definition.start(model.start, instance_id=model.instance, run=0, now=START_TIME)
            self._arrive(Came(-1, None, script), None, decision, World(), START_TIME)

    def _scripts(self) -> Iterator[tuple[int, ...]]:
        """One run for each way in which the guards may answer."""
        script: list[int] | None = []
        while script is not None and self.explored.found is None:
            self._model.oracle.begin(script)
            yield tuple(script)
            script = self._model.oracle.next_script()

    def _only_no(self) -> Iterator[tuple[int, ...]]:
        script = (1,) * MOST_QUESTIONS
        self._model.oracle.begin(script)
        yield script

    def _expand(self, index: int) -> None:
        point = self._points[index]
        assert point is not None
        shape, only = Shape(self._model, point), self._only.pop(index, None)
        for move in moves(self._model, point):
            if self.explored.found is not None:
                return
            if only is not None and shape.spot(move) not in only:
                continue
            idle = shape.of(move)
            if idle not in self._idle:
                self._try(index, point, move, idle)

    def _try(self, index: int, point: Point, move: Move, idle: Hashable) -> None:
        model = self._model
        what, now = given(model, point, move)
        changed = False
        # A guard that is asked about an event once more says what it said: had it been yes, it would not be asked.
        scripts = self._scripts() if move.what != "event again" else self._only_no()
        for script in scripts:
            self.explored.transitions += 1
            try:
                decision = model.definition.advance(point.state, what, now=now, values=point.world.values.__getitem__)
            except Exception as error:
                self._report(Broken("every input is taken", f"it raises {type(error).__name__}: {error}"), index, move)
                return
            changed = changed or decision.changed
            world = after_move(point.world, point, move) if decision.changed else point.world
            self._arrive(Came(index, move, script), point, decision, world, now)
        if not changed:
            self._idle.add(idle)

    def _arrive(self, came: Came, before: Point | None, decision: Decision, world: World, now: datetime) -> None:
        for broken in broken_rules(self._model, before, came.move, decision, world):
            self.explored.found = Found(broken, [*self._history(came.parent), came])
            return
        if not decision.changed:
            return
        point = Point(decision.state, decision.status, decision.timers, after_decision(world, decision), now)
        shape = Shape(self._model, point)
        fingerprint = shape.fingerprint()
        index = self._known.get(fingerprint)
        new = frozenset(spot for spot in shape.spots() if shape.exact(spot) not in self._tried)
        self._tried.update(map(shape.exact, new))
        if index is None:
            index = self._known[fingerprint] = self._keep(point, came)
            self._count(index, point)
        elif new:
            hidden = self._keep(point, came)
            self._only[hidden] = new
            self._edge(hidden, index)
        if came.move is None or came.move.what != "cancel":  # an end that only a cancellation leads to is none
            self._edge(came.parent, index)

    def _keep(self, point: Point, came: Came) -> int:
        self._points.append(point)
        self._came.append(came)
        self._depths.append(0 if came.parent < 0 else self._depths[came.parent] + 1)
        return len(self._points) - 1

    def _edge(self, source: int, target: int) -> None:
        self._edges[0].append(source)
        self._edges[1].append(target)

    def _count(self, index: int, point: Point) -> None:
        explored = self.explored
        explored.states += 1
        explored.depth = self._depths[index]
        explored.statuses[point.status] = explored.statuses.get(point.status, 0) + 1
        explored.reached.update(nodes_of(point.state))
        if point.status in ENDS:
            self._ends.append(index)

    def _report(self, broken: Broken, parent: int, move: Move) -> None:
        self.explored.found = Found(broken, [*self._history(parent), Came(parent, move, ())])

    def _history(self, index: int) -> list[Came]:
        steps: list[Came] = []
        while index >= 0:
            steps.append(self._came[index])
            index = self._came[index].parent
        return steps[::-1]

    # ---- the whole

    def _find_trap(self) -> None:
        """A state from which no end can be reached, whatever happens."""
        back: list[list[int]] = [[] for _ in self._came]
        for source, target in zip(*self._edges, strict=True):
            if source >= 0:
                back[target].append(source)
        good = set(self._ends)
        todo = list(self._ends)
        while todo:
            for source in back[todo.pop()]:
                if source not in good:
                    good.add(source)
                    todo.append(source)
        for index in range(len(self._came)):
            if index not in good:
                broken = Broken(
                    "every history can end", "whatever happens from here, it never ends, unless somebody cancels it"
                )
                self.explored.found = Found(broken, self._history(index))
                return
