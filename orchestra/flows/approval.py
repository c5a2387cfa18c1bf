"""How does a person decide? The first decision counts; who asked for it does not decide, unless that is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from orchestra.flows.behaviour import Address, Values, Yields
from orchestra.flows.decision import OperatorRequest
from orchestra.flows.draft import Draft
from orchestra.flows.failure import Cause, Failure
from orchestra.flows.graph import ApprovalNode
from orchestra.flows.instance import Instance
from orchestra.flows.timer import from_micros
from orchestra.flows.waiting import MICROS, Waiting, WaitState, WaitStatus, begin_waiting, until


@dataclass(frozen=True, slots=True)
class Approval:
    """What an approval yields.

    Attributes:
        approved: whether somebody said yes. False only where the flow goes on after a no, or without a decision.
        by: who; None where time was up.
        reason: what they wrote.
        at: when, in recorded time.
    """

    approved: bool
    by: str | None
    reason: str
    at: datetime


class ApprovalBehaviour(Waiting):
    """It waits for somebody with the right role."""

    kind = "approval"

    def begin(self, node: ApprovalNode, values: Values, draft: Draft) -> WaitState:
        state = begin_waiting(draft, node.timeout)
        calls = [[draft.instance.next_generation(), draft.now + round(after * MICROS)] for after, _ in node.escalations]
        state.calls = calls or None
        draft.note("approval.requested", node.name, note=f"of {node.role}")
        draft.alert("approval.requested", node.name, f"{node.role} must decide, {until(state.due)}")
        return state

    def value(self, node: ApprovalNode, state: WaitState, yields: Yields) -> Approval:
        at = from_micros(state.ended or 0)
        return Approval(state.status is WaitStatus.DONE, state.by, state.note, at)

    def failure(self, node: ApprovalNode, state: WaitState, yields: Yields) -> Failure:
        timed_out = state.status is WaitStatus.TIMED_OUT
        return Failure(node.name, Cause.TIMED_OUT if timed_out else Cause.DISAPPROVED, state.note)

    def operate(
        self, node: ApprovalNode, state: WaitState, request: OperatorRequest, values: Values, draft: Draft
    ) -> str | None:
        if request.action not in ("approve", "reject"):
            return super().operate(node, state, request, values, draft)
        if state.status is not WaitStatus.WAITING:
            return f"it is {_said(state)} already"
        if node.requester is not None and node.requester(draft.flow(None)) == request.by:
            return f"{request.by} asked for it, and does not decide"
        called = [role for place, (_, role) in enumerate(node.escalations) if self._is_called(state, place)]
        roles = [node.role, *called]
        if not set(roles) & set(request.roles):
            return f"{request.by} is not known as {' or '.join(roles)}"
        state.by = request.by
        self._decide(node, state, request, draft)
        return None

    def _is_called(self, state: WaitState, place: int) -> bool:
        """Whether that escalation has happened: its timer is spent."""
        return state.calls is None or state.calls[place][0] == 0

    def _decide(self, node: ApprovalNode, state: WaitState, request: OperatorRequest, draft: Draft) -> None:
        if request.action == "approve":
            state.settle(WaitStatus.DONE, draft.now, request.reason)
            draft.note("approval.approved", node.name, note=f"by {request.by}: {request.reason}")
        else:
            self._no(node, state, draft, f"rejected by {request.by}: {request.reason}", request.reason)

    def _no(self, node: ApprovalNode, state: WaitState, draft: Draft, why: str, note: str) -> None:
        if node.on_reject == "continue":
            state.settle(WaitStatus.OMITTED, draft.now, note)
            draft.note("approval.rejected", node.name, note=f"{why}; the flow goes on")
        else:
            state.settle(WaitStatus.REJECTED, draft.now, note)
            draft.note("approval.rejected", node.name, note=why)
            draft.fail(node.name, Cause.DISAPPROVED, why)

    def timer(
        self, node: ApprovalNode, state: WaitState, address: Address, generation: int, values: Values, draft: Draft
    ) -> None:
        if address.iteration:
            self._escalate(node, state, address.iteration - 1, generation, draft)
        else:
            super().timer(node, state, address, generation, values, draft)

    def _escalate(self, node: ApprovalNode, state: WaitState, place: int, generation: int, draft: Draft) -> None:
        calls = state.calls or []
        if place >= len(calls) or calls[place][0] != generation or not generation:
            draft.ignore("timer.stale", node.name, None, "action", "that escalation is no longer due")
            return
        calls[place][0] = 0
        note = f"no decision yet; {node.escalations[place][1]} may decide as well"
        draft.note("approval.escalated", node.name, note=note)
        draft.alert("approval.escalated", node.name, note)

    def time_is_up(self, node: ApprovalNode, state: WaitState, draft: Draft) -> None:
        reason = f"nobody decided within {node.timeout:g} s"
        draft.note("approval.timed_out", node.name, note=reason)
        if node.on_timeout == "approve":
            state.settle(WaitStatus.DONE, draft.now, reason)
        elif node.on_timeout == "continue":
            state.settle(WaitStatus.OMITTED, draft.now, reason)
        else:
            state.settle(WaitStatus.TIMED_OUT, draft.now, reason)
            draft.fail(node.name, Cause.TIMED_OUT, reason)

    def waits_for(self, node: ApprovalNode, state: WaitState, instance: Instance) -> Iterator[str]:
        if state.status is WaitStatus.WAITING:
            yield f"{node.name}: a decision by {node.role}, {until(state.due)}"


def _said(state: WaitState) -> str:
    if state.by is None:
        return str(state.status)
    return f"{'approved' if state.status is WaitStatus.DONE else 'rejected'} by {state.by}"
