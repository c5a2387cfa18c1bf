"""What is known about a node that waits for something other than a service? Time, an event, a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from orchestra.flows.behaviour import Address, Quiet, Values
from orchestra.flows.decision import Json, OperatorRequest, Status, StepView, Timer
from orchestra.flows.draft import Draft
from orchestra.flows.graph import GraphNode
from orchestra.flows.instance import Instance, Recorded
from orchestra.flows.progress import Progress, Undoing, progress_of
from orchestra.flows.timer import from_micros

MICROS = 1_000_000


class WaitStatus(StrEnum):
    """How the waiting stands, or ended."""

    WAITING = "waiting"
    DONE = "done"
    OMITTED = "omitted"
    """Time was up, and the flow went on without it."""
    TIMED_OUT = "timed-out"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class WaitState:
    """A node that waits, or has waited. Times are microseconds since 1970."""

    status: WaitStatus = WaitStatus.WAITING
    started: int = 0
    ended: int | None = None
    generation: int = 0
    """Of the timer that ends the waiting; 0: none."""
    due: int | None = None
    outcome: Recorded | None = None
    taken: str | None = None
    """Source and id of the event that was taken, where another node waits for such events too."""
    by: str | None = None
    """Who decided."""
    note: str = ""
    calls: list[list[int]] | None = None
    """Generation and due time of each escalation; the generation is 0 once it has happened."""

    @property
    def progress(self) -> Progress:
        return progress_of(self.status)

    @property
    def undoing(self) -> Undoing:
        return Undoing.NONE

    def settle(self, status: WaitStatus, now: int, note: str = "") -> None:
        """It waits no longer."""
        self.status = status
        self.ended = now
        self.generation = 0
        self.due = None
        self.calls = None
        self.note = note

    def dump(self) -> Json:
        raw: Json = {"s": self.status.value}
        for short, name in _SHORT:
            if value := getattr(self, name):
                raw[short] = value
        if self.outcome is not None:
            raw["o"] = self.outcome.dump()
        return raw

    @classmethod
    def load(cls, raw: Mapping[str, Any]) -> WaitState:
        state = cls(WaitStatus(raw["s"]))
        for short, name in _SHORT:
            if short in raw:
                setattr(state, name, raw[short])
        if "o" in raw:
            state.outcome = Recorded.load(raw["o"])
        if state.calls is not None:
            state.calls = [list(call) for call in state.calls]
        return state


_SHORT = (
    ("t", "started"),
    ("e", "ended"),
    ("g", "generation"),
    ("d", "due"),
    ("k", "taken"),
    ("y", "by"),
    ("w", "note"),
    ("c", "calls"),
)


class Waiting(Quiet):
    """What all nodes that wait have in common."""

    def load(self, raw: Mapping[str, Any]) -> WaitState:
        return WaitState.load(raw)

    def cancel(self, node: Any, state: WaitState, draft: Draft) -> None:
        state.settle(WaitStatus.CANCELLED, draft.now)
        draft.note("wait.cancelled", node.name, note="the flow, or its branch, fails")

    def operate(
        self, node: Any, state: WaitState, request: OperatorRequest, values: Values, draft: Draft
    ) -> str | None:
        """A flow that halts because nothing came waits once more."""
        if request.action != "retry" or draft.instance.status is not Status.HALTED:
            return "it waits for no operator's retry, skip or resolve"
        if state.progress is not Progress.FAILED:
            return f"it is {state.status}"
        draft.instance.nodes[node.name] = self.begin(node, values, draft)
        return None

    def timer(
        self, node: Any, state: WaitState, address: Address, generation: int, values: Values, draft: Draft
    ) -> None:
        if not state.generation or state.generation != generation:
            draft.ignore("timer.stale", node.name, None, "action", f"generation {generation} is not the pending one")
        else:
            self.time_is_up(node, state, draft)

    def time_is_up(self, node: Any, state: WaitState, draft: Draft) -> None:
        """The timer that ends the waiting has fired."""
        raise NotImplementedError

    def begin(self, node: Any, values: Values, draft: Draft) -> WaitState:
        raise NotImplementedError

    def timers(self, node: Any, state: WaitState, instance: Instance) -> Iterator[Timer]:
        if state.generation and state.due is not None:
            yield Timer(str(Address(node.name, "action", 0)), state.generation, due=from_micros(state.due))
        for place, (generation, due) in enumerate(state.calls or (), 1):
            if generation:
                yield Timer(str(Address(node.name, "action", place)), generation, due=from_micros(due))

    def views(self, node: GraphNode, state: WaitState | None) -> Iterator[StepView]:
        if state is None:
            yield StepView(node.name, "waiting", self.kind)
            return
        yield StepView(
            name=node.name,
            status=state.status.value,
            kind=self.kind,
            started_at=from_micros(state.started).isoformat(),
            ended_at=None if state.ended is None else from_micros(state.ended).isoformat(),
            outcome=None if state.outcome is None else state.outcome.type,
            note=state.note if state.by is None else f"by {state.by}: {state.note}",
        )

    kind = "wait"
    """For people."""


def begin_waiting(draft: Draft, timeout: float | None) -> WaitState:
    """A node that waits from now on, at most so many seconds."""
    state = WaitState(started=draft.now)
    if timeout is not None:
        state.generation = draft.instance.next_generation()
        state.due = draft.now + round(timeout * MICROS)
    return state


def until(due: int | None) -> str:
    """How long it waits, for people."""
    return "for ever" if due is None else f"until {from_micros(due).isoformat()}"
