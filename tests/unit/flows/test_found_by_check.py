"""Histories that ``orchestra check``, or the reference, has found the engine to get wrong."""

from __future__ import annotations

from itertools import count

from orchestra import Done, Saga, any_of, optional, starts_on, step
from orchestra.events.envelope import compose
from orchestra.flows.decision import Decision, Occurred, Status, TimerFired
from orchestra.flows.saga import definition_of
from tests.unit.flows.incident import AlarmRaised, Incident
from tests.unit.flows.kinds import AnyOf, Began, Do, Ended, HaltingBranches, Halts, No, Paid, Parent, Settled, Waits
from tests.unit.flows.play import Play

BEGAN = Began(id="k")


def test_hazard_10_a_late_rejection_in_a_branch_that_was_let_go_of_leaves_a_completed_flow_alone() -> None:
    play = Play(Settled, BEGAN)
    play.answer("a", Done())
    play.dead_letter("b")
    play.undone("b", Done())
    play.answer("last", Done())
    assert play.status is Status.COMPLETED

    assert not play.answer("b", No()).changed


def test_hazard_13_a_stuck_undo_in_a_lost_branch_makes_the_instance_stuck_though_others_wait_for_it() -> None:
    play = Play(AnyOf, BEGAN)
    for name in ("first", "b", "a", "b2", "pay"):
        play.answer(name, Done())
    for _ in range(9):
        play.time_out("b2", "undo")
    assert play.status is Status.RUNNING

    play.fire("b2", "undo")

    assert play.status is Status.STUCK
    assert play.statuses()["undo of b"] == "planned"


def test_hazard_01_an_event_that_comes_twice_does_not_end_two_waits() -> None:
    play = Play(Waits, BEGAN)
    ids = count(1)

    def paid(number: int) -> Decision:
        event = compose(Paid(id="k", cents=3), id=f"p-{number}", source="/shop", time=play.now)
        return play.give(Occurred(event))

    play.answer("reserve", Done())
    first, second = next(ids), next(ids)
    assert paid(first).changed

    assert not paid(first).changed
    assert play.statuses()["more"] == "waiting"
    assert paid(second).changed
    assert not paid(second).changed


def test_hazard_16_an_early_event_that_its_wait_does_not_take_is_kept_for_the_next_one() -> None:
    play = Play(Waits, BEGAN)
    for number, cents in ((1, -1), (2, 5)):
        event = compose(Paid(id="k", cents=cents), id=f"p-{number}", source="/shop", time=play.now)
        assert play.give(Occurred(event)).changed

    play.answer("reserve", Done())

    assert play.statuses()["paid"] == "done"
    assert play.statuses()["more"] == "done", "the refund came first, and is for the second wait"


def test_hazard_16_an_event_that_is_kept_for_a_later_wait_is_not_kept_twice() -> None:
    play = Play(Waits, BEGAN)
    event = compose(Paid(id="k", cents=-1), id="p-1", source="/shop", time=play.now)
    play.answer("reserve", Done())
    assert play.give(Occurred(event)).changed

    assert not play.give(Occurred(event)).changed
    assert play.whats() == ["event.ignored"]


def test_hazard_01_a_duplicate_of_a_refusal_does_not_begin_the_pause_of_a_machines_command_anew() -> None:
    play = Play(Incident, AlarmRaised(incident_id="i-1", severity=2))
    play.refuse("page_first")
    pause = play.timer_of("page_first")

    assert not play.refuse("page_first").changed
    assert play.timer_of("page_first") == pause


def test_a_request_that_names_a_state_of_a_machine_is_refused() -> None:
    play = Play(Incident, AlarmRaised(incident_id="i-1", severity=2))

    assert not play.operate("retry", "first_line").changed
    assert play.whats() == ["operator.refused"]


def test_a_flow_whose_time_is_up_halts_until_somebody_retries_it() -> None:
    play = Play(Halts, BEGAN)
    play.give(TimerFired("deadline", 1))
    assert (play.status, play.codes()[-2:]) == (Status.HALTED, ["flow.halted", "flow.overdue"])
    play.give(Occurred(compose(Paid(id="k", cents=1), id="p-1", source="/shop", time=play.now)))
    assert play.status is Status.HALTED

    assert play.operate("retry").changed

    assert play.status is Status.RUNNING
    assert play.statuses()["paid"] == "done"


def test_hazard_10_a_branch_that_was_done_after_all_is_undone_though_the_flow_is_completed() -> None:
    play = Play(Settled, BEGAN)
    play.answer("a", Done())
    play.answer("b", No())
    play.answer("last", Done())
    assert play.status is Status.COMPLETED

    play.answer("b", Done())
    assert (play.status, play.phases()) == (Status.RUNNING, ["b/undo"])
    play.undone("b", Done())

    assert play.status is Status.COMPLETED
    assert [one.event.type for one in play.sent].count("kinds.ended.v1") == 1
    assert "outcome.contradiction" in play.codes()


def test_what_was_let_go_of_is_not_retried_when_a_flow_halts_because_of_it() -> None:
    play = Play(HaltingBranches, BEGAN)
    play.answer("a", No())
    play.answer("b", No())
    assert play.status is Status.HALTED

    for name in (None, "a", "either"):
        assert not play.operate("retry", name).changed
        assert "restart the flow, or cancel it" in play.last.journal[0].note
    assert play.operate("cancel").status is Status.COMPENSATED


class Eager(Saga, name="found-eager"):
    """One branch is done as the flow starts, so the other is let go of before anybody has answered it."""

    began = starts_on(Began)

    def never(self) -> bool:
        return False

    @optional(when=never, kind="read_only")
    def omitted(self) -> Do:
        return Do(id=self.began.id)

    @step(kind="read_only")
    def asked(self) -> Do:
        return Do(id=self.began.id)

    either = any_of(omitted, asked)


def test_hazard_30_a_flow_whose_last_branch_is_let_go_of_as_it_starts_is_over() -> None:
    assert Play(Eager, BEGAN).status is Status.COMPLETED


def test_what_a_called_flow_says_when_it_completes_answers_its_start_event() -> None:
    _, replies, _ = definition_of(Parent).answers("kinds.began.v1")

    assert replies == (Ended,)
