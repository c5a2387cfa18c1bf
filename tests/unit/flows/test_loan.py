"""A loan's machine: a flow and a command side by side inside a state, and then people."""

from __future__ import annotations

import json
from typing import Any, Literal

from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Done, Event, FlowFailed
from orchestra.flows.decision import Decision, Emission, OperatorRequest, Outcome, Status
from tests.unit.flows.loan import CreditScored, Identified, Loan, LoanRequested, LoanWithdrawn
from tests.unit.flows.play import Play


def loan() -> Play:
    return Play(Loan, LoanRequested(loan_id="l-1", amount=9000, clerk="carl"))


def active(play: Play) -> set[str]:
    views = play.definition.steps(play.last.state)
    return {view.name for view in views if (view.kind, view.status) == ("state", "running")}


def data(play: Play) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(str(play.last.state["data"]))
    return value


def sent(play: Play, kind: str) -> list[Emission]:
    return [one for one in play.sent if one.kind == kind]


def child_says(play: Play, event: Event, phase: Literal["action", "undo"] = "action") -> Decision:
    """The outcome of the flow that the machine called."""
    effect = f"{play.id}/{play.run}/score/{phase}/0"
    made: Envelope = compose(event, id=f"c-{phase}", source="/child", time=play.now, extensions={"effectid": effect})
    return play.give(Outcome(effect, made))


def decide(play: Play, action: Literal["approve", "reject"], by: str, *roles: str, step: str | None = None) -> Decision:
    return play.give(OperatorRequest(action, by=by, reason="I looked", step=step, roles=roles))


def checked() -> Play:
    play = loan()
    child_says(play, CreditScored(score=700))
    play.answer("identify", Identified())
    return play


def test_two_checks_run_side_by_side_and_a_person_decides_when_both_are_done() -> None:
    play = loan()
    assert active(play) == {"pending", "checking", "credit", "scoring", "identity", "identifying"}
    (start,) = sent(play, "start")
    assert start.key == b"credit-check/l-1-credit"
    assert start.event.get("effectid") == f"{play.id}/0/score/action/0"
    assert start.event.get("flowid") == play.id

    child_says(play, CreditScored(score=700))
    assert active(play) == {"pending", "checking", "credit", "identity", "identifying"}
    play.answer("identify", Identified())
    assert active(play) == {"pending", "review"}
    assert data(play)["score"] == 700
    assert play.codes() == ["approval.requested"]

    decide(play, "approve", "olga", "credit-officer")
    assert play.status is Status.COMPLETED
    assert json.loads(play.sent[-1].event.data or b"")["officer"] == "olga"


def test_a_guard_on_what_both_checks_found_says_no_before_anybody_is_asked() -> None:
    play = loan()
    play.answer("identify", Identified())
    child_says(play, CreditScored(score=100))

    assert play.status is Status.COMPLETED
    assert json.loads(play.sent[-1].event.data or b"")["reason"] == "a score of 100"


def test_hazard_23_a_decision_counts_once_and_not_from_everybody() -> None:
    play = checked()
    for by, roles in (("carl", ("credit-officer",)), ("olga", ()), ("olga", ("clerk",))):
        decide(play, "approve", by, *roles)
        assert play.whats() == ["operator.refused"]
    assert "carl asked for it" in play.journal[-3].note
    assert "olga is not known as credit-officer" in play.journal[-1].note

    decide(play, "reject", "olga", "credit-officer")
    assert play.status is Status.COMPLETED
    decide(play, "approve", "omar", "credit-officer")
    assert play.whats() == ["input.ignored"]


def test_an_approval_escalates_when_nobody_decides() -> None:
    play = checked()
    play.fire("review", "after")
    assert active(play) == {"pending", "second_review"}
    assert play.statuses()["decision"] == "cancelled"

    decide(play, "approve", "olga", "credit-officer")
    assert play.whats() == ["operator.refused"]
    decide(play, "approve", "olga", "credit-officer", "head-of-credit", step="decision")
    assert "no longer wanted" in play.journal[-1].note
    decide(play, "approve", "hanna", "head-of-credit")
    assert data_of_end(play)["officer"] == "hanna"


def data_of_end(play: Play) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(play.sent[-1].event.data or b"")
    return value


def test_leaving_a_state_cancels_the_flow_inside_and_waits_for_it() -> None:
    play = loan()
    play.occur(LoanWithdrawn(loan="l-1", by="the customer"))

    (request,) = sent(play, "request")
    assert request.key == b"credit-check/l-1-credit"
    assert json.loads(request.event.data or b"")["action"] == "cancel"
    assert play.status == "running"
    assert any("which was asked to stop" in line for line in play.definition.waits_for(play.last.state))

    play.answer("identify", Identified())
    assert play.whats() == ["command.replied"]
    child_says(play, FlowFailed(step=None, cause="cancelled", reason="withdrawn was left"))
    assert play.status is Status.COMPLETED


def test_a_flow_that_completed_before_it_could_be_cancelled_is_undone() -> None:
    play = loan()
    play.occur(LoanWithdrawn(loan="l-1", by="the customer"))
    child_says(play, CreditScored(score=700))

    assert [json.loads(one.event.data or b"")["action"] for one in sent(play, "request")] == ["cancel", "undo"]
    assert sent(play, "request")[1].event.get("effectid") == f"{play.id}/0/score/undo/0"
    play.answer("identify", Identified())
    child_says(play, Done(), "undo")
    assert play.status is Status.COMPLETED


def test_a_flow_that_fails_triggers_a_transition_with_its_failure() -> None:
    play = loan()
    child_says(play, FlowFailed(step="bureau", cause="rejected", reason="rejected: Unknown"))
    assert data(play)["reason"] == "bureau: rejected: Unknown"

    play.answer("identify", Identified())
    assert play.status is Status.COMPLETED


def test_a_flow_inside_a_state_answers_once() -> None:
    play = checked()
    child_says(play, CreditScored(score=100))
    assert play.whats() == ["input.ignored"]
    assert data(play)["score"] == 700


def test_a_cancel_without_a_transition_ends_the_machine_when_nothing_is_under_way() -> None:
    play = loan()
    play.operate("cancel")
    assert play.status == "compensating"
    child_says(play, FlowFailed(step=None, cause="cancelled", reason="it was cancelled"))
    play.answer("identify", Identified())

    assert play.status is Status.COMPENSATED
    assert play.types() == []


def called(end: str) -> Emission:
    play = Play(
        Loan,
        LoanRequested(loan_id="l-1", amount=9000, clerk="carl"),
        effectid="house/h-1/7/loan/action/0",
        flowid="house/h-1",
        replyto="food.inbox",
        replypartition=3,
    )
    if end == "cancelled":
        play.operate("cancel")
        child_says(play, FlowFailed(step=None, cause="cancelled", reason="x"))
        play.answer("identify", Identified())
    else:
        play.answer("identify", Identified())
        child_says(play, CreditScored(score=700 if end == "paid" else 100))
        if end == "paid":
            decide(play, "approve", "olga", "credit-officer")
    (outcome,) = sent(play, "outcome")
    assert (outcome.topic, outcome.partition, outcome.key) == ("food.inbox", 3, b"house/h-1")
    assert outcome.event.get("effectid") == "house/h-1/7/loan/action/0"
    assert outcome.event.get("flowid") == "house/h-1"
    return outcome


def test_whoever_called_the_machine_gets_what_its_final_state_says() -> None:
    assert called("paid").event.type == "loans.loan.paid-out.v1"


def test_whoever_called_the_machine_hears_of_a_final_state_that_is_a_failure() -> None:
    outcome = called("declined")
    assert outcome.event.type == "orchestra.flow.failed.v1"
    assert outcome.event.value(FlowFailed).step == "declined"


def test_whoever_called_the_machine_hears_that_it_was_cancelled() -> None:
    assert called("cancelled").event.value(FlowFailed).cause == "cancelled"
