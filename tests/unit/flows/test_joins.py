"""any_of and settled: who wins, what becomes of the others, and what the flow gets."""

from __future__ import annotations

import pytest

from orchestra import Done, Saga, any_of, settled, starts_on, step
from orchestra.testing import run
from tests.unit.flows.holiday import (
    Ask,
    Asked,
    Book,
    Booked,
    CalledOff,
    Cancel,
    Full,
    Planned,
    Race,
    Survey,
)

ASKED = Asked(id="h-1")


def test_any_of_goes_on_with_the_first_and_undoes_the_rest() -> None:
    t = run(Race, ASKED)
    t.expect(Book, step="seat").reply(Booked(what="seat"))
    train = t.expect(Book, step="train")
    t.expect(Book, step="plane").reply(Booked(what="plane"))

    hotel = t.expect(Ask)
    t.nothing_sent()
    train.reply(Booked(what="train"))
    undone = t.expect(Cancel, step="train")
    assert undone.command.known
    t.nothing_sent()
    undone.reply(Done())
    hotel.reply(Booked(what="hotel"))
    t.expect(Cancel, step="seat").reply(Done())

    assert t.completed(Planned).note == "plane"


def test_a_flow_is_not_over_before_what_has_lost_is_undone() -> None:
    t = run(Race, ASKED)
    t.expect(Book, step="plane").reply(Booked(what="plane"))
    t.expect(Ask).reply(Booked(what="hotel"))
    seat = t.expect(Book, step="seat")

    with pytest.raises(AssertionError):
        t.completed(Planned)
    seat.times_out()
    undo = t.expect(Cancel, step="seat")
    assert not undo.command.known
    undo.reply(Done())

    assert t.completed(Planned).note == "plane"


def test_a_node_of_a_branch_that_has_lost_never_begins() -> None:
    t = run(Race, ASKED)
    seat = t.expect(Book, step="seat")
    t.expect(Book, step="plane").reply(Booked(what="plane"))
    seat.reply(Booked(what="seat"))

    t.expect(Cancel, step="seat").reply(Done())
    t.expect(Ask).reply(Booked(what="hotel"))

    assert t.completed(Planned).note == "plane"


def test_any_of_takes_the_other_when_one_fails() -> None:
    t = run(Race, ASKED)
    t.expect(Book, step="plane").reject(Full())
    t.expect(Book, step="seat").reply(Booked(what="seat"))
    t.expect(Book, step="train").reply(Booked(what="train"))
    t.expect(Ask).reply(Booked(what="hotel"))

    assert t.completed(Planned).note == "train"


def test_a_branch_that_fails_is_undone_at_once_in_reverse() -> None:
    t = run(Race, ASKED)
    t.expect(Book, step="seat").reply(Booked(what="seat"))
    t.expect(Book, step="train").times_out()

    t.expect(Cancel, step="train").reply(Done())
    t.expect(Cancel, step="seat").reply(Done())
    t.expect(Book, step="plane").reply(Booked(what="plane"))
    t.expect(Ask).reply(Booked(what="hotel"))

    assert t.completed(Planned).note == "plane"


def test_any_of_fails_when_all_have_failed() -> None:
    t = run(Race, ASKED)
    t.expect(Book, step="seat").reject(Full())
    t.expect(Book, step="plane").dead_letters()

    t.expect(Cancel, step="plane").reply(Done())

    assert t.compensated(CalledOff).why == "way: all failed: seat, plane"


def test_what_won_is_undone_when_the_flow_fails_later() -> None:
    t = run(Race, ASKED)
    t.expect(Book, step="plane").reply(Booked(what="plane"))
    t.expect(Book, step="seat").reject(Full())
    t.expect(Ask).reject(Full())

    t.expect(Cancel, step="plane").reply(Done())

    assert t.compensated(CalledOff).why == "hotel: rejected: Full"


def test_a_late_reply_in_a_branch_that_was_given_up_is_undone_once() -> None:
    t = run(Race, ASKED)
    plane = t.expect(Book, step="plane")
    plane.reject(Full())
    t.expect(Book, step="seat").reply(Booked(what="seat"))
    plane.reply_late(Booked(what="plane"))

    t.expect(Cancel, step="plane").reply(Done())
    t.expect(Book, step="train").reply(Booked(what="train"))
    t.expect(Ask).reply(Booked(what="hotel"))

    assert t.completed(Planned).note == "train"
    assert "outcome.contradiction" in [alert.code for alert in t.alerts]


def test_settled_waits_for_all_and_hands_on_what_failed() -> None:
    t = run(Survey, ASKED)
    t.expect(Book, step="two").reject(Full())
    t.expect(Book, step="one").reply(Booked(what="one"))
    t.expect(Book, step="more").reply(Booked(what="more"))
    t.expect(Ask).reply(Booked(what="three"))

    assert t.completed(Planned).note == "more rejected three"


def test_settled_names_the_failure_in_the_middle_of_a_branch_and_undoes_it_meanwhile() -> None:
    t = run(Survey, ASKED)
    t.expect(Book, step="one").times_out()
    t.expect(Cancel, step="one").reply(Done())
    t.expect(Book, step="two").reply(Booked(what="two"))
    t.expect(Ask).reply(Booked(what="three"))

    assert t.completed(Planned).note == "unknown two three"


def test_settled_fails_when_too_few_are_done() -> None:
    t = run(Survey, ASKED)
    t.expect(Book, step="one").reply(Booked(what="one"))
    t.expect(Book, step="more").reject(Full())
    t.expect(Cancel, step="one").reply(Done())
    t.expect(Book, step="two").reject(Full())
    t.expect(Ask).reply(Booked(what="three"))

    assert t.compensated(CalledOff).why == "all_of: 1 of 3, and 2 are needed: more, two"


def test_hazard_3_a_join_is_not_taken_twice() -> None:
    t = run(Race, ASKED)
    plane = t.expect(Book, step="plane")
    plane.reply(Booked(what="plane"))
    plane.reply_again()

    t.expect(Ask)
    t.expect(Book, step="seat").reply(Booked(what="seat"))
    t.expect(Cancel, step="seat")
    t.nothing_sent()


def test_a_compensation_of_a_lost_branch_that_is_stuck_keeps_the_flow_from_its_end() -> None:
    t = run(Race, ASKED)
    t.expect(Book, step="plane").reply(Booked(what="plane"))
    t.expect(Book, step="seat").reply(Booked(what="seat"))
    for _ in range(10):
        t.expect(Cancel, step="seat").times_out()
    t.expect(Ask).reply(Booked(what="hotel"))

    t.stuck()
    t.resolve("seat", by="ann", reason="by telephone")

    assert t.completed(Planned).note == "plane"


def test_cancelling_while_branches_race_undoes_them_all() -> None:
    t = run(Race, ASKED)
    seat = t.expect(Book, step="seat")
    plane = t.expect(Book, step="plane")
    t.cancel()
    plane.reply(Booked(what="plane"))
    seat.reply(Booked(what="seat"))

    t.expect(Cancel, step="plane").reply(Done())
    t.expect(Cancel, step="seat").reply(Done())
    t.compensated(CalledOff)


def test_a_late_reply_does_not_make_a_branch_the_winner() -> None:
    """It was rejected, so its branch is given up and its undo planned: going on with it would use what is undone."""
    t = run(Race, ASKED)
    plane = t.expect(Book, step="plane")
    plane.reject(Full())
    plane.reply_late(Booked(what="plane"))

    t.expect(Cancel, step="plane").reply(Done())
    t.expect(Book, step="seat").reject(Full())

    assert t.compensated(CalledOff).why == "way: all failed: seat, plane"


class Nested(Saga, name="nested"):
    """A race, and behind it two of which one is enough."""

    asked = starts_on(Asked)

    @step
    def train(self) -> Book:
        return Book(id=self.asked.id, what="train")

    @train.undo
    def no_train(self, booked: Booked | None) -> Cancel:
        return Cancel(id=self.asked.id, what="train", known=booked is not None)

    @step(kind="read_only")
    def plane(self) -> Ask:
        return Ask(id=self.asked.id)

    way = any_of(train, plane)

    @step(way, kind="read_only")
    def chart(self, way: Booked) -> Ask:
        return Ask(id=self.asked.id)

    @step(way, kind="read_only")
    def guide(self, way: Booked) -> Ask:
        return Ask(id=self.asked.id)

    extras = settled(chart, guide, at_least=1)


def test_a_join_does_not_wait_for_what_a_join_before_it_has_let_go_of() -> None:
    t = run(Nested, ASKED)
    train = t.expect(Book)
    t.expect(Ask, step="plane").reply(Booked(what="plane"))
    t.expect(Ask, step="guide").reject(Full())
    t.expect(Ask, step="chart").reply(Booked(what="chart"))
    assert t.steps["extras"] == "done"

    train.reply(Booked(what="train"))
    t.expect(Cancel).reply(Done())
    t.completed()
