"""Guards, pauses, waits for events, people's decisions, deadlines."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from orchestra import Done
from orchestra.flows.wait import MOST_EARLY
from orchestra.testing import run
from orchestra.testing.story import Refused, Story
from tests.unit.flows.holiday import (
    Ask,
    Asked,
    Book,
    Booked,
    CalledOff,
    Cancel,
    Careful,
    Full,
    Paid,
    Patient,
    Planned,
    Quick,
)

PAID = Paid(holiday="h-1")


def booked(days: int) -> Story:
    """A careful holiday whose room is booked."""
    t = run(Careful, Asked(id="h-1", days=days))
    t.expect(Book, step="room").reply(Booked(what="room"))
    return t


def agreed() -> Story:
    """A short one that is agreed on."""
    t = booked(days=3)
    t.approve(by="ann", roles=["boss"])
    return t


# ---- optional


def test_a_step_whose_guard_says_no_is_left_out_and_yields_none() -> None:
    t = agreed()
    t.advance("8h")
    t.publish(PAID)
    t.expect(Ask).reply(Booked(what="all"))

    assert t.completed(Planned).note == "None ann"
    assert t.steps["insurance"] == "omitted"


def test_a_step_whose_guard_says_yes_is_done_and_undone_like_any_other() -> None:
    t = booked(days=10)
    t.expect(Book, step="insurance").reply(Booked(what="insurance"))
    t.reject(by="ann", roles=["boss"], reason="too long")

    t.expect(Cancel, step="insurance").reply(Done())
    t.expect(Cancel, step="room").reply(Done())

    assert t.compensated(CalledOff).why == "agreed: disapproved"


# ---- delay


def test_a_delay_lasts_as_long_as_it_says() -> None:
    t = agreed()
    t.publish(PAID)
    t.advance(timedelta(hours=7, minutes=59))
    t.nothing_sent()
    t.advance("1m")

    t.expect(Ask)


# ---- wait_for


def test_hazard_17_an_event_that_comes_before_its_wait_is_kept_for_it() -> None:
    t = booked(days=3)
    t.publish(PAID)
    t.approve(by="ann", roles=["boss"])
    t.advance("8h")

    t.expect(Ask)


def test_an_event_that_is_not_the_one_is_not_taken() -> None:
    t = agreed()
    t.advance("8h")
    t.publish(Paid(holiday="h-1", cents=99))
    t.nothing_sent()
    t.publish(PAID)

    t.expect(Ask)


def test_an_early_event_that_is_not_the_one_is_passed_over() -> None:
    t = booked(days=3)
    t.publish(Paid(holiday="h-1", cents=99))
    t.publish(Paid(holiday="h-1", cents=150))
    t.approve(by="ann", roles=["boss"])
    t.advance("8h")

    t.expect(Ask)


def test_a_wait_that_times_out_fails_the_flow() -> None:
    t = agreed()
    t.advance("8h")
    t.advance("5d")
    t.expect(Cancel, step="room").reply(Done())

    assert t.compensated(CalledOff).why == "paid: timed-out"


def test_hazard_17_an_event_that_comes_too_late_changes_nothing() -> None:
    t = agreed()
    t.advance("8h")
    t.publish(PAID)
    t.publish(PAID)
    t.expect(Ask)

    assert "nothing waits for holiday.paid.v1" in t.story()
    t.nothing_sent()


def test_early_events_are_bounded_and_the_loss_is_told() -> None:
    t = booked(days=3)
    for number in range(MOST_EARLY + 1):
        t.publish(Paid(holiday="h-1", cents=number))

    assert "event.dropped" in [alert.code for alert in t.alerts]


def test_a_flow_that_is_no_saga_halts_when_nothing_comes_and_waits_again_when_asked() -> None:
    t = run(Patient, Asked(id="h-1"))
    t.advance("1d")
    t.halted()
    t.retry("paid")
    t.publish(PAID)
    t.advance("1d")
    t.approve(by="ann", roles=["boss"])
    t.expect(Ask).reply(Booked(what="x"))

    assert t.completed(Planned).note == "None True ann"


def test_one_event_is_for_one_wait() -> None:
    t = run(Patient, Asked(id="h-1"))
    t.publish(Paid(holiday="h-1", cents=1))
    t.publish(Paid(holiday="h-1", cents=2))
    t.reject(by="ann", roles=["boss"])
    t.expect(Ask).reply(Booked(what="x"))

    assert t.completed(Planned).note == "2 False ann"


# ---- approval


def test_hazard_23_the_first_decision_counts() -> None:
    t = agreed()

    with pytest.raises(Refused, match="approved by ann already"):
        t.reject("agreed", by="bob", roles=["boss"])


def test_hazard_23_who_asked_for_it_does_not_decide() -> None:
    t = booked(days=3)

    with pytest.raises(Refused, match="mia asked for it"):
        t.approve(by="mia", roles=["boss"])


def test_hazard_23_somebody_without_the_role_does_not_decide() -> None:
    t = booked(days=3)

    with pytest.raises(Refused, match="bob is not known as boss"):
        t.approve(by="bob", roles=["owner"])


def test_after_the_escalation_another_role_decides_as_well() -> None:
    t = booked(days=3)
    t.advance("2d")
    assert "approval.escalated" in [alert.code for alert in t.alerts]

    t.approve(by="bob", roles=["owner"])

    assert "approved" in t.story()


def test_an_approval_that_nobody_gives_fails_the_flow() -> None:
    t = booked(days=3)
    t.advance("7d")
    t.expect(Cancel, step="room").reply(Done())

    assert t.compensated(CalledOff).why == "agreed: timed-out"


def test_a_request_for_approval_is_an_alert_so_that_somebody_hears_of_it() -> None:
    assert [alert.code for alert in booked(days=3).alerts] == ["approval.requested"]


def test_what_waits_for_a_person_says_so() -> None:
    assert any("a decision by boss" in line for line in booked(days=3).waits_for)


# ---- deadline


def test_a_deadline_fails_the_flow_and_what_was_done_is_undone() -> None:
    t = run(Quick, Asked(id="h-1"))
    room = t.expect(Book)
    t.advance("5m")
    room.reply(Booked(what="room"))
    t.expect(Cancel).reply(Done())

    assert t.compensated(CalledOff).why == "None: timed-out"


def test_a_deadline_behind_the_point_of_no_return_is_an_alert() -> None:
    t = run(Quick, Asked(id="h-1"))
    t.expect(Book).reply(Booked(what="room"))
    ask = t.expect(Ask)
    t.advance("10m")

    assert [alert.code for alert in t.alerts] == ["flow.overdue"]
    ask.reply(Booked(what="all"))
    t.completed(Planned)


def test_a_flow_that_is_over_in_time_hears_nothing_of_its_deadline() -> None:
    t = run(Quick, Asked(id="h-1"))
    t.expect(Book).reply(Booked(what="room"))
    t.expect(Ask).reply(Booked(what="all"))
    t.advance("10m")

    t.completed(Planned)
    assert t.alerts == []


def test_a_cancelled_flow_waits_for_nothing() -> None:
    t = booked(days=3)
    t.cancel()
    t.expect(Cancel, step="room").reply(Done())

    assert t.compensated(CalledOff).why == "None: cancelled"
    assert t.steps["agreed"] == "cancelled"


def test_a_rejected_room_needs_no_decision() -> None:
    t = run(Careful, Asked(id="h-1"))
    t.expect(Book, step="room").reject(Full())

    assert t.compensated(CalledOff).why == "room: rejected"
    assert json.dumps(t.waits_for) == "[]"
