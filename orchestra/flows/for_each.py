"""How does a step go over many items? Each goes as a step does, and its reply is one of those that the node yields."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from pydantic_core import from_json

from orchestra.events.message import Event, Message
from orchestra.flows.behaviour import Values, Yields
from orchestra.flows.draft import Draft
from orchestra.flows.effect import answer_class
from orchestra.flows.for_each_items import items_of
from orchestra.flows.graph import ForEachNode, LoopNode, StepNode
from orchestra.flows.loop import LoopBehaviour
from orchestra.flows.loop_state import LoopState
from orchestra.flows.loop_work import Work, value_name
from orchestra.flows.progress import Progress
from orchestra.flows.step import StepBehaviour
from orchestra.flows.step_state import StepState
from orchestra.flows.stored import Stored

T = TypeVar("T")

_MOST_LISTS = 16


class EachWork(Work):
    """An item is whatever the flow's method lists."""

    node: ForEachNode

    def given(self, index: int) -> list[object]:
        return [self._item(index), *self.draft.values(self.node.needs)()]

    @property
    def tolerates(self) -> int:
        return self.node.tolerate

    def undo_node(self, index: int) -> StepNode:
        undo = self.node.undo
        assert undo is not None  # it is undone only where it says how
        if undo.make is None:
            return self.node.item
        return replace(self.node.item, undo=replace(undo, make=partial(_of_item, undo.make, self._item(index))))

    def _item(self, index: int) -> object:
        return items_of(self.node, self.state.digest, self.state.started, self.draft)[0][index]


def _of_item(make: Callable[..., T], item: object, flow: object, reply: Event | None) -> T:
    return make(flow, item, reply)


class ForEachBehaviour(LoopBehaviour[ForEachNode]):
    """It yields the replies, in the order of the items; and where some may fail, their failures."""

    def __init__(self) -> None:
        self._lists: OrderedDict[tuple[type[Message], tuple[bytes, ...]], list[object]] = OrderedDict()

    def work(self, node: ForEachNode, state: LoopState, draft: Draft) -> Work:
        return EachWork(node, state, draft)

    def begin(self, node: ForEachNode, values: Values, draft: Draft) -> LoopState:
        items, digest = items_of(node, None, draft.now, draft)
        state = LoopState(len(items), digest, started=draft.now)
        draft.note("step.started", node.name, note=f"{len(items)} items, at most {node.limit} at once")
        self.work(node, state, draft).go_on()
        return state

    def value(self, node: ForEachNode, state: LoopState, yields: Yields) -> list[object]:
        stored = tuple(yields.stored[value_name(node.name, index)] for index in range(state.next))
        if state.changed:
            items = (state.changed.get(str(index)) or load_stored(each) for index, each in enumerate(stored))
            return [_yielded(node, item, yields) for item in items]
        known = self._lists.get((node.command, stored))
        if known is None:
            known = [_yielded(node, load_stored(each), yields) for each in stored]
            self._lists[node.command, stored] = known
            while len(self._lists) > _MOST_LISTS:
                self._lists.popitem(last=False)
        return list(known)


def _yielded(node: ForEachNode, item: StepState, yields: Yields) -> object:
    if item.progress is Progress.DONE:
        return reply_of(node, item, yields.stored)
    return StepBehaviour().failure(node.item, item, yields)


def load_stored(stored: bytes) -> StepState:
    """An item that is over, as its value has it."""
    return StepState.load(from_json(stored))


def reply_of(node: LoopNode, item: StepState, stored: Stored) -> Event:
    """What an item that is done was answered."""
    outcome = item.action.outcome
    assert outcome is not None  # it is done
    return outcome.value(answer_class(outcome.type, node.answers), stored)
