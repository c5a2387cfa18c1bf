"""What follows when something happens to one of the many effects of a step? One object for one decision.

Forwards, items begin in order while there is room. One that fails stops that: those under way are awaited, then the
step fails. Backwards, whatever is done or may be is undone, the newest first, with as much room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from pydantic_core import from_json, to_json

from orchestra.flows import action, compensation
from orchestra.flows.decision import Status
from orchestra.flows.draft import Draft
from orchestra.flows.effect import EffectStatus
from orchestra.flows.failure import Cause
from orchestra.flows.graph import LoopNode, StepNode
from orchestra.flows.loop_state import ItemFailure, LoopState
from orchestra.flows.progress import Progress
from orchestra.flows.step_state import StepState, undo_of

T = TypeVar("T")

_MAYBE_DONE = (EffectStatus.DONE, EffectStatus.UNKNOWN)
_UNDONE = (EffectStatus.DONE, EffectStatus.SKIPPED, EffectStatus.RESOLVED)


def _is_to_undo(item: StepState) -> bool:
    return item.action.status in _MAYBE_DONE and item.undo is None


def value_name(step: str, index: int) -> str:
    """Where an item that is over is stored."""
    return f"{step}/{index}"


class Work:
    """A step of many effects, here called items, while one input is taken."""

    def __init__(self, node: LoopNode, state: LoopState, draft: Draft) -> None:
        self.node = node
        self.state = state
        self.draft = draft
        if state.failed:
            draft.instance.failing.add(node.name)

    # ---- items

    def given(self, index: int) -> list[object]:
        """What the method gets for this item."""
        raise NotImplementedError

    def undo_node(self, index: int) -> StepNode:
        """How this item is undone."""
        return self.node.item

    @property
    def tolerates(self) -> int:
        """How many items may fail."""
        return 0

    def is_done(self) -> bool:
        """Nothing is under way: whether nothing more is to begin."""
        return self.state.next == self.state.count

    def replied(self, index: int, item: StepState) -> None:
        """An item is done, and stored."""

    def find(self, index: int) -> StepState | None:
        """An item that has begun. None: it has not, or is undone."""
        key = str(index)
        found = self.state.live.get(key) or self.state.changed.get(key)
        if found is None and (stored := self.draft.instance.stored.get(value_name(self.node.name, index))) is not None:
            found = StepState.load(from_json(stored))
        if found is not None:
            found.action.stride = self.state.count
        return found

    def live(self) -> Iterator[tuple[int, StepState]]:
        """The items under way, in the order in which they began."""
        for key in self.state.live:
            item = self.find(int(key))
            assert item is not None
            yield int(key), item

    def touch(self, index: int, item: StepState, do: Callable[[], T]) -> T:
        """Do something to an item, and see what becomes of it."""
        before = item.dump() if str(index) not in self.state.live else None
        was = _is_to_undo(item)
        self.draft.bears = partial(self._bear, index, item)
        try:
            result = do()
        finally:
            self.draft.bears = None
        if before is None:
            self._see(index, item)
        elif item.dump() != before:
            self.state.to_undo += _is_to_undo(item) - was
            self._came_late(index, item)
        return result

    def _bear(self, index: int, item: StepState, cause: Cause, reason: str, dead_letter_id: str | None) -> None:
        """An item failed. It is the step that fails, once nothing of it is under way; or it is tolerated."""
        state = self.state
        if state.tolerated < self.tolerates and not self.draft.instance.lets_go(self.node.name):
            state.tolerated += 1
            return
        if index not in state.failed:
            state.failed.append(index)
        if state.failure is None:
            rejection = item.action.outcome if cause is Cause.REJECTED else None
            state.failure = ItemFailure(index, cause, f"item {index}: {reason}", dead_letter_id, rejection)
        self.draft.instance.failing.add(self.node.name)

    def _see(self, index: int, item: StepState) -> None:
        """Whether an item under way is so no longer."""
        if item.undo is not None:
            if item.undo.status in _UNDONE:
                del self.state.live[str(index)]
                self._keep(index, item) if self.is_active() else self._drop(index)
        elif self._is_to_be_taken_back(item):
            item.undo = undo_of(item)
            self._send_undo(index, item)
        elif item.progress is not Progress.ACTIVE:
            del self.state.live[str(index)]
            self._keep(index, item)
            if item.progress is Progress.DONE:
                self.replied(index, item)

    def _is_to_be_taken_back(self, item: StepState) -> bool:
        """It failed, it may be done all the same, and the step goes on: it is undone by itself."""
        unknown = item.action.status is EffectStatus.UNKNOWN and self.node.undo is not None
        return unknown and not self.state.failed and not self.draft.instance.lets_go(self.node.name)

    def _drop(self, index: int) -> None:
        """It is undone, and nobody will ask for it."""
        if str(index) in self.state.changed:
            del self.state.changed[str(index)]
        self.draft.instance.stored.drop(value_name(self.node.name, index))

    def _keep(self, index: int, item: StepState) -> None:
        """It is over. Its name is used once: what comes to light later stands in the record."""
        self.state.to_undo += _is_to_undo(item)
        if str(index) in self.state.changed:
            self.state.changed[str(index)] = item
        else:
            self.draft.instance.stored.put(value_name(self.node.name, index), to_json(item.dump()))

    def take_up(self, index: int, item: StepState) -> None:
        """Something is done about an item that was over."""
        self.state.to_undo -= _is_to_undo(item)
        self.state.changed[str(index)] = self.state.live[str(index)] = item

    def _came_late(self, index: int, item: StepState) -> None:
        """Something about an item that was over."""
        state = self.state
        state.changed[str(index)] = item
        if index in state.failed and self.draft.instance.status is Status.HALTED and item.progress is Progress.DONE:
            state.failed.remove(index)
            self.forgive()
        if item.undo is None:
            return
        item.undo = None  # its turn comes
        if state.undo is None or index >= state.cursor:
            state.again.append(index)
            if state.undo is None or state.undo == "done":
                state.undo = "planned"

    def forgive(self) -> None:
        """An item that failed is under way again, or is done after all: a flow that halts because of it goes on."""
        state, instance = self.state, self.draft.instance
        if not state.failed:
            state.failure = None
            instance.failing.discard(self.node.name)
        if state.status == "failed" and instance.status is Status.HALTED and (len(state.live) or not state.failed):
            state.status, state.ended = "running", None

    # ---- forwards

    def go_on(self) -> None:
        """Begin what there is room for; or it is done, or has failed, or was let go of."""
        state, instance = self.state, self.draft.instance
        if not self.is_active() or state.undo is not None:
            return
        if not instance.lets_go(self.node.name):
            self.begin_more()
        if len(state.live) or state.generation or not self.is_active():
            return
        if state.failed:
            self.fail()
        elif self.is_done():
            self.settle("done")
            self.draft.note("step.done", self.node.name, note=f"all {state.next}")
        elif instance.lets_go(self.node.name):
            self.settle("cancelled")
            self.draft.note("step.cancelled", self.node.name, note=f"{state.next} had begun")

    def is_active(self) -> bool:
        return self.state.progress is Progress.ACTIVE

    def begin_more(self) -> None:
        state = self.state
        while len(state.live) < self.node.limit and state.next < state.count and not state.failed:
            self.begin_next()

    def begin_next(self) -> None:
        state = self.state
        index, item = state.next, StepState()
        item.action.iteration, item.action.stride = index, state.count
        state.next += 1
        state.live[str(index)] = item
        self.touch(index, item, lambda: action.send(self.node.item, item, partial(self.given, index), self.draft))

    def fail(self) -> None:
        """Nothing of it is under way any more."""
        self.settle("failed")
        failure = self.state.failure
        assert failure is not None  # whoever finds that it fails says why
        self.draft.note("step.failed", self.node.name, note=failure.reason)
        self.draft.fail(self.node.name, failure.cause, failure.reason, failure.dead_letter_id)

    def settle(self, status: str) -> None:
        self.state.status = status
        self.state.ended = self.draft.now

    def let_go(self) -> None:
        """No more begin; what is under way is awaited, and not tried again."""
        self.state.generation, self.state.due = 0, None
        for index, item in list(self.live()):
            if item.progress is Progress.ACTIVE:
                self.touch(index, item, partial(action.cancel, self.node.item, item, self.draft))
        self.go_on()

    # ---- backwards

    def plan_undo(self) -> None:
        state = self.state
        if self.node.undo is None or state.undo is not None or not state.to_undo:
            return
        state.undo, state.cursor = "planned", state.next
        self.draft.note("undo.planned", self.node.name, note=f"{state.to_undo} items are done, or may be")

    def undo_more(self) -> None:
        """Undo what there is room for; or all is undone."""
        state = self.state
        while len(state.live) < self.node.limit and (state.again or state.cursor):
            if state.again:
                index = state.again.pop()
            else:
                index = state.cursor = state.cursor - 1
            item = self.find(index)
            if item is not None and _is_to_undo(item):
                item.undo = undo_of(item)
                state.live[str(index)] = item
                self._send_undo(index, item)
        stuck = any(item.undo is not None and item.undo.status is EffectStatus.STUCK for _, item in self.live())
        if len(state.live) == 0:
            state.undo = "done"
            self.draft.note("undo.done", self.node.name, note="of all items")
        else:
            state.undo = "stuck" if stuck else "running"

    def _send_undo(self, index: int, item: StepState) -> None:
        self.touch(index, item, lambda: compensation.send(self.undo_node(index), item, self.draft))
