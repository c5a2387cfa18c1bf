"""How is a step repeated until a reply will do? Turn after turn, each an effect of its own, up to a bound."""

from __future__ import annotations

from collections.abc import Iterator

from orchestra.events.message import Event
from orchestra.flows.behaviour import Address, Values, Yields
from orchestra.flows.decision import OperatorRequest, Status, Timer
from orchestra.flows.draft import Draft
from orchestra.flows.failure import Cause
from orchestra.flows.for_each import load_stored, reply_of
from orchestra.flows.graph import RepeatNode
from orchestra.flows.instance import Instance
from orchestra.flows.loop import LoopBehaviour
from orchestra.flows.loop_state import ItemFailure, LoopState
from orchestra.flows.loop_work import Work, value_name
from orchestra.flows.progress import Progress
from orchestra.flows.step_state import StepState
from orchestra.flows.timer import from_micros

_MOST_TURNS = 1_000_000
"""More than any bound: a turn that is begun anew is numbered by so much more."""
_MICROS = 1_000_000


class RepeatWork(Work):
    """An item is a turn; its method gets the reply before it."""

    node: RepeatNode

    def given(self, index: int) -> list[object]:
        before = self.find(index - 1) if index else None
        previous = None if before is None else reply_of(self.node, before, self.draft.instance.stored)
        return [previous, *self.draft.values(self.node.needs)()]

    def replied(self, index: int, item: StepState) -> None:
        state, draft = self.state, self.draft
        state.enough = bool(self.node.until(draft.flow(None), reply_of(self.node, item, draft.instance.stored)))
        if not state.enough and state.next < state.turns and self.node.every:
            state.generation = draft.instance.next_generation()
            state.due = draft.now + round(self.node.every * _MICROS)

    def is_done(self) -> bool:
        return self.state.enough

    def begin_more(self) -> None:
        state = self.state
        if state.enough or state.generation or state.failed or len(state.live):
            return
        if state.next < state.turns:
            self.begin_next()
            return
        reason = f"{state.next} turns, and no reply will do"
        state.failure = ItemFailure(state.next - 1, Cause.FAILED, reason)
        self.fail()


class RepeatBehaviour(LoopBehaviour[RepeatNode]):
    """It yields the reply that will do."""

    def work(self, node: RepeatNode, state: LoopState, draft: Draft) -> Work:
        return RepeatWork(node, state, draft)

    def begin(self, node: RepeatNode, values: Values, draft: Draft) -> LoopState:
        state = LoopState(_MOST_TURNS, "", turns=node.at_most, started=draft.now)
        self.work(node, state, draft).go_on()
        return state

    def value(self, node: RepeatNode, state: LoopState, yields: Yields) -> Event:
        last = str(state.next - 1)
        item = state.changed.get(last) or load_stored(yields.stored[value_name(node.name, state.next - 1)])
        return reply_of(node, item, yields.stored)

    def timer(
        self, node: RepeatNode, state: LoopState, address: Address, generation: int, values: Values, draft: Draft
    ) -> None:
        if not state.generation or state.generation != generation:
            super().timer(node, state, address, generation, values, draft)
            return
        state.generation, state.due = 0, None
        self.work(node, state, draft).go_on()

    def operate(
        self, node: RepeatNode, state: LoopState, request: OperatorRequest, values: Values, draft: Draft
    ) -> str | None:
        """A retry of a loop whose bound is spent gives it as many turns again."""
        is_spent = state.progress is Progress.FAILED and not state.failed and state.undo is None
        if request.action != "retry" or not is_spent or draft.instance.status is not Status.HALTED:
            return super().operate(node, state, request, values, draft)
        state.status, state.ended, state.failure = "running", None, None
        state.turns = state.next + node.at_most
        self.work(node, state, draft).go_on()
        return None

    def timers(self, node: RepeatNode, state: LoopState, instance: Instance) -> Iterator[Timer]:
        if state.generation and state.due is not None:
            name = str(Address(node.name, "action", state.next))
            yield Timer(name, state.generation, due=from_micros(state.due))
        yield from super().timers(node, state, instance)

    def waits_for(self, node: RepeatNode, state: LoopState, instance: Instance) -> Iterator[str]:
        if state.generation and state.due is not None:
            yield f"{node.name}: {from_micros(state.due).isoformat()}, for turn {state.next + 1} of {state.turns}"
        yield from super().waits_for(node, state, instance)
