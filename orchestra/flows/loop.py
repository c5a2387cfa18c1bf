"""How does a step go that is done many times? Each time as a step goes; an operator may name one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Generic, TypeVar

from orchestra.events.envelope import Envelope
from orchestra.flows.behaviour import Address, Values, Yields
from orchestra.flows.decision import OperatorRequest, StepView, Timer
from orchestra.flows.draft import Draft
from orchestra.flows.effect import EffectStatus, answer_class
from orchestra.flows.failure import Failure
from orchestra.flows.graph import LoopNode
from orchestra.flows.instance import Instance
from orchestra.flows.loop_state import LoopState
from orchestra.flows.loop_work import Work
from orchestra.flows.progress import Progress
from orchestra.flows.step import StepBehaviour
from orchestra.flows.step_state import StepState
from orchestra.flows.timer import from_micros

N = TypeVar("N", bound=LoopNode)

_STEP = StepBehaviour()


class LoopBehaviour(Generic[N]):
    """What ``for_each`` and ``repeat`` have in common."""

    def work(self, node: N, state: LoopState, draft: Draft) -> Work:
        raise NotImplementedError

    def load(self, raw: Mapping[str, Any]) -> LoopState:
        return LoopState.load(raw)

    def failure(self, node: N, state: LoopState, yields: Yields) -> Failure:
        failure = state.failure
        assert failure is not None  # asked only when it has failed
        said = failure.rejection
        rejection = None if said is None else said.value(answer_class(said.type, node.answers), yields.stored)
        return Failure(node.name, failure.cause, failure.reason, rejection, failure.dead_letter_id)

    # ---- inputs

    def outcome(self, node: N, state: LoopState, address: Address, event: Envelope, draft: Draft) -> None:
        work, index = self.work(node, state, draft), address.iteration % max(state.count, 1)
        item = work.find(index)
        if item is None:
            what = f"item {index} is undone" if index < state.next else f"item {index} has not begun"
            draft.ignore("outcome.unknown", node.name, None, address.phase, what)
            return
        work.touch(index, item, lambda: _STEP.outcome(node.item, item, address, event, draft))
        self._follow(work)

    def timer(self, node: N, state: LoopState, address: Address, generation: int, values: Values, draft: Draft) -> None:
        work, index = self.work(node, state, draft), address.iteration % max(state.count, 1)
        item = work.find(index) if str(index) in state.live else None
        if item is None:
            draft.ignore("timer.stale", node.name, None, address.phase, f"item {index} is not under way")
            return
        of_item = work.undo_node(index) if address.phase == "undo" else node.item
        given = partial(work.given, index)
        work.touch(index, item, lambda: _STEP.timer(of_item, item, address, generation, given, draft))
        self._follow(work)

    def _follow(self, work: Work) -> None:
        state = work.state
        if state.failed and state.progress is Progress.ACTIVE:
            work.let_go()
        elif state.undo in ("running", "stuck"):
            work.undo_more()
        else:
            work.go_on()

    def cancel(self, node: N, state: LoopState, draft: Draft) -> None:
        self.work(node, state, draft).let_go()

    def is_final(self, node: N, state: LoopState) -> bool:
        return node.kind.insists and state.next > 0

    def plan_undo(self, node: N, state: LoopState, draft: Draft) -> None:
        self.work(node, state, draft).plan_undo()

    def undo(self, node: N, state: LoopState, draft: Draft) -> None:
        self.work(node, state, draft).undo_more()

    # ---- operators

    def operate(self, node: N, state: LoopState, request: OperatorRequest, values: Values, draft: Draft) -> str | None:
        """``step`` is the node's name for all items that wait for an operator, or ``<name>/<index>`` for one."""
        work = self.work(node, state, draft)
        found = _of_operator(work) if request.step in (None, node.name) else _one(request.step or "")
        refusals = [self._operate_item(work, index, request) for index in found]
        if not refusals:
            return "no item of it waits for an operator"
        if None not in refusals:
            return "; ".join(one for one in refusals if one)
        work.forgive()
        self._follow(work)
        return None

    def _operate_item(self, work: Work, index: int, request: OperatorRequest) -> str | None:
        item, state = work.find(index), work.state
        if item is None:
            return f"item {index} has not begun, or is undone"
        of_item = work.undo_node(index) if item.undo is not None else work.node.item
        if str(index) not in state.live and index in state.failed:
            work.take_up(index, item)
            state.failed.remove(index)
        given = partial(work.given, index)
        refusal = work.touch(index, item, lambda: _STEP.operate(of_item, item, request, given, work.draft))
        return refusal and f"item {index}: {refusal}"

    # ---- timers, and what people see

    def timers(self, node: N, state: LoopState, instance: Instance) -> Iterator[Timer]:
        for key in state.live:
            yield from _STEP.timers(node.item, state.live[key], instance)

    def views(self, node: N, state: LoopState | None) -> Iterator[StepView]:
        if state is None:
            yield StepView(node.name, "waiting", node.kind)
            return
        over = state.next - len(state.live)
        yield StepView(
            name=node.name,
            status=state.status,
            kind=node.kind,
            attempts=state.next,
            started_at=from_micros(state.started).isoformat(),
            ended_at=None if state.ended is None else from_micros(state.ended).isoformat(),
            note=state.failure.reason if state.failure is not None else f"{over} of {state.count} items are over",
        )
        if state.undo is not None and node.undo is not None:
            yield StepView(node.undo.label, state.undo, f"undo of {node.name}", note=f"{state.cursor} items to go")
        for key, item in _items(state):
            for view in _STEP.views(node.item, item):
                yield StepView(f"{view.name}/{key}", view.status, view.kind, view.attempts, view.started_at)

    def waits_for(self, node: N, state: LoopState, instance: Instance) -> Iterator[str]:
        for key, item in _items(state):
            for line in _STEP.waits_for(node.item, item, instance):
                yield f"item {key} of {line}"


def _items(state: LoopState) -> Iterator[tuple[str, StepState]]:
    for key in state.live:
        yield key, state.live[key]


def _of_operator(work: Work) -> list[int]:
    """The items that wait for an operator."""
    stuck = [i for i, item in work.live() if item.undo is not None and item.undo.status is EffectStatus.STUCK]
    return stuck or list(work.state.failed) or [i for i, _ in work.live()]


def _one(step: str) -> list[int]:
    index = step.partition("/")[2]
    return [int(index)] if index.isdecimal() and len(index) < 9 else []
