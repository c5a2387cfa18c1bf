"""How does a pause go?"""

from __future__ import annotations

from collections.abc import Iterator

from orchestra.flows.behaviour import Values, Yields
from orchestra.flows.draft import Draft
from orchestra.flows.failure import Cause, Failure
from orchestra.flows.graph import DelayNode
from orchestra.flows.instance import Instance
from orchestra.flows.waiting import Waiting, WaitState, WaitStatus, begin_waiting, until


class DelayBehaviour(Waiting):
    """It waits so long, and yields None."""

    kind = "delay"

    def begin(self, node: DelayNode, values: Values, draft: Draft) -> WaitState:
        draft.note("delay.started", node.name, note=f"{node.delay:g} s")
        return begin_waiting(draft, node.delay)

    def value(self, node: DelayNode, state: WaitState, yields: Yields) -> None:
        return None

    def failure(self, node: DelayNode, state: WaitState, yields: Yields) -> Failure:
        return Failure(node.name, Cause.CANCELLED, state.note)

    def time_is_up(self, node: DelayNode, state: WaitState, draft: Draft) -> None:
        state.settle(WaitStatus.DONE, draft.now)
        draft.note("delay.over", node.name)

    def waits_for(self, node: DelayNode, state: WaitState, instance: Instance) -> Iterator[str]:
        if state.status is WaitStatus.WAITING:
            yield f"{node.name}: {until(state.due)}"
