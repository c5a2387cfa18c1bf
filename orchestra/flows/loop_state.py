"""What is known about a step that is done for each of many items? A place in the list, and the few that are under way.

What has become of an item that is over stands in a value of its own, ``<step>/<index>``, so that the record holds no
more than ``limit`` items, however many there are. An item's effects are numbered: by its index, and, where it is begun
anew because its effect is proven not done, by that plus the number of items, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestra.flows.decision import Json
from orchestra.flows.failure import Cause
from orchestra.flows.instance import Nodes, Recorded
from orchestra.flows.progress import Progress, Undoing, progress_of, undoing_of
from orchestra.flows.step_state import StepState


def load_item(name: str, raw: Mapping[str, Any]) -> StepState:
    """An item, as the state or its value has it."""
    return StepState.load(raw)


@dataclass(slots=True)
class ItemFailure:
    """Why the step fails: the item that failed first."""

    index: int
    cause: Cause
    reason: str
    dead_letter_id: str | None = None
    rejection: Recorded | None = None

    def dump(self) -> list[object]:
        rejection = None if self.rejection is None else self.rejection.dump()
        return [self.index, self.cause.value, self.reason, self.dead_letter_id, rejection]

    @classmethod
    def load(cls, raw: list[Any]) -> ItemFailure:
        rejection = None if raw[4] is None else Recorded.load(raw[4])
        return cls(raw[0], Cause(raw[1]), raw[2], raw[3], rejection)


@dataclass(slots=True)
class LoopState:
    """``status``: running, done, failed or cancelled; ``undo``: planned, running, stuck or done."""

    count: int
    digest: str
    """Of the items: the method that lists them must give the same ones whenever it is asked."""
    status: str = "running"
    next: int = 0
    """The first item that has not begun."""
    live: Nodes[StepState] = field(default_factory=lambda: Nodes({}, load_item))
    """Items under way, forwards or backwards, by index."""
    changed: Nodes[StepState] = field(default_factory=lambda: Nodes({}, load_item))
    """Items of which something came to light after they were stored."""
    to_undo: int = 0
    """How many items are done, or may be."""
    failure: ItemFailure | None = None
    failed: list[int] = field(default_factory=list[int])
    """Items that failed. No more begin once there is one, so they are few."""
    undo: str | None = None
    cursor: int = 0
    """While it is undone: items from here on are, or are under way, or need not be."""
    tolerated: int = 0
    """How many items failed without the step failing."""
    again: list[int] = field(default_factory=list[int])
    """Items that turned out to be done when their turn to be undone was over."""
    generation: int = 0
    """Of the timer that ends a pause between two turns; 0: no pause."""
    due: int | None = None
    turns: int = 0
    """How many turns a loop may take."""
    enough: bool = False
    """The last reply will do."""
    started: int = 0
    ended: int | None = None

    @property
    def progress(self) -> Progress:
        return progress_of(self.status)

    @property
    def undoing(self) -> Undoing:
        return undoing_of(self.undo)

    def dump(self) -> Json:
        raw: Json = {"s": self.status, "n": self.count, "h": self.digest, "t": self.started}
        for short, name in _SHORT:
            if value := getattr(self, name):
                raw[short] = value
        if live := self.live.dump():
            raw["l"] = live
        if changed := self.changed.dump():
            raw["v"] = changed
        if self.failure is not None:
            raw["f"] = self.failure.dump()
        if self.undo is not None:
            raw["u"] = {"s": self.undo, "x": self.cursor}
        return raw

    @classmethod
    def load(cls, raw: Mapping[str, Any]) -> LoopState:
        state = cls(raw["n"], raw["h"], raw["s"], started=raw["t"])
        for short, name in _SHORT:
            if short in raw:
                setattr(state, name, raw[short])
        state.failed, state.again = list(state.failed), list(state.again)
        state.live = Nodes(raw.get("l", {}), load_item)
        state.changed = Nodes(raw.get("v", {}), load_item)
        if "f" in raw:
            state.failure = ItemFailure.load(raw["f"])
        if "u" in raw:
            state.undo, state.cursor = raw["u"]["s"], raw["u"]["x"]
        return state


_SHORT = (
    ("x", "next"),
    ("m", "to_undo"),
    ("b", "failed"),
    ("r", "again"),
    ("z", "tolerated"),
    ("g", "generation"),
    ("d", "due"),
    ("k", "turns"),
    ("o", "enough"),
    ("e", "ended"),
)
