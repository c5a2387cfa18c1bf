"""What messages, timers and journal lines a decision holds; and how operators move an instance."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestra.errors import DecodeError, DefinitionError
from orchestra.events.envelope import compose
from orchestra.events.message import Done, Event, Key, Undo, decode_data
from orchestra.flows.decision import OperatorRequest, Outcome, Status
from orchestra.flows.failure import Cause, Failure
from orchestra.flows.saga import Flow, Saga, definition_of, on_compensated, on_completed, starts_on, step
from orchestra.ids import derived_id
from orchestra.retry import Retry
from tests.unit.flows import holiday
from tests.unit.flows.holiday import Asked, Careful, Paid
from tests.unit.flows.play import EPOCH, Play, without
from tests.unit.flows.shop import (
    PLACED,
    CardDeclined,
    Charged,
    DriverAssigned,
    FoodOrder,
    ItemsReleased,
    ItemsReserved,
    OutOfStock,
    Refunded,
)
from tests.unit.flows.trip import ASKED, Book, Booked, Ingest, Rating, SoldOut, Told, Trip

RESERVED = ItemsReserved(order_id="o-1")
CHARGED = Charged(order_id="o-1", amount_cents=2500)


# ---- messages


def test_a_command_carries_what_design_says() -> None:
    play = Play(FoodOrder, PLACED)

    sent = play.command("reserve")
    assert (sent.kind, sent.topic, sent.key) == ("command", "inventory.commands", b"o-1")
    assert sent.event.source == "/flows/food-order"
    assert sent.event.type == "inventory.items.reserve.v1"
    assert sent.event.time == EPOCH
    assert sent.event.id == derived_id("food-order/o-1/0/reserve/action/0", 1)
    assert dict(sent.event.extensions) == {
        "correlationid": "e-1",
        "causationid": "e-1",
        "flowid": "food-order/o-1",
        "flowname": "food-order",
        "flowversion": "1",
        "flowstep": "reserve",
        "flowphase": "action",
        "effectid": "food-order/o-1/0/reserve/action/0",
        "expirytime": "2026-08-01T12:00:30Z",
        "traceparent": "00-1-2-01",
        "hopcount": 1,
    }


def test_the_correlation_id_of_the_start_event_is_inherited() -> None:
    definition = definition_of(FoodOrder)
    event = compose(PLACED, id="e-1", source="/t", time=EPOCH, extensions={"correlationid": "c-9"})

    decision = definition.start(event, instance_id="food-order/o-1", run=3, now=EPOCH)

    assert decision.messages[0].event.get("correlationid") == "c-9"
    assert decision.messages[0].event.get("effectid") == "food-order/o-1/3/reserve/action/0"


def test_a_command_names_the_outcome_that_caused_it_and_its_trace() -> None:
    play = Play(FoodOrder, PLACED)
    command = play.command("reserve").event
    effect = str(command.get("effectid"))
    extensions: dict[str, Any] = {"traceparent": "00-3-4-01", "causationid": command.id}
    play.give(
        Outcome(effect, compose(RESERVED, id="r-77", source="/inventory", time=EPOCH, extensions=extensions)),
    )

    assert play.command("charge").event.get("causationid") == "r-77"
    assert play.command("charge").event.get("traceparent") == "00-3-4-01"


def test_a_retry_names_the_message_that_was_not_answered() -> None:
    play = Play(FoodOrder, PLACED)
    play.answer("reserve", RESERVED)
    play.time_out("charge")

    assert play.command("charge").event.get("causationid") == play.command("charge", nth=0).event.id


def test_an_outcome_without_causation_id_answers_the_newest_try() -> None:
    play = Play(FoodOrder, PLACED)
    play.answer("reserve", RESERVED)
    play.time_out("charge")
    effect = str(play.command("charge").event.get("effectid"))
    declined = CardDeclined(order_id="o-1", reason="no")
    event = without(compose(declined, id="r-9", source="/x", time=EPOCH), "causationid")

    play.give(Outcome(effect, event))

    assert play.status is Status.COMPENSATING


def test_the_end_event_is_published_once_with_an_id_of_its_own() -> None:
    play = Play(FoodOrder, PLACED)
    play.answer("reserve", RESERVED)
    play.answer("charge", CHARGED)
    play.answer("assign", DriverAssigned(order_id="o-1", driver_id="ana"))

    (sent,) = play.last.messages
    assert (sent.kind, sent.topic, sent.key) == ("event", "shop.orders", b"o-1")
    assert sent.event.id == derived_id("food-order/o-1/0/completed/action/0", 1)
    assert sent.event.get("effectid") is None, "it is no outcome, and must not be taken for one"
    assert sent.event.get("flowid") == "food-order/o-1"
    assert play.last.timers == []


def test_an_ending_may_publish_several_events() -> None:
    play = Play(Ingest, ASKED)
    play.answer("fetch", Booked(price=2))
    play.answer("scan", Rating(stars=3))
    play.answer("load", Told())

    assert play.types() == ["trip.booked.v1", "trip.booked.v1"]
    assert len({one.event.id for one in play.last.messages}) == 2


def test_a_flow_without_endings_publishes_nothing() -> None:
    class Silent(Saga, name="silent"):
        ask = starts_on(type(ASKED))

        @step(undo=Undo)
        def book(self) -> Book:
            return Book(trip_id=self.ask.trip_id, what="x")

    done, undone = Play(Silent, ASKED), Play(Silent, ASKED)
    done.answer("book", Booked(price=1))
    undone.answer("book", SoldOut(what="x"))

    assert (done.status, done.last.messages) == (Status.COMPLETED, [])
    assert (undone.status, undone.last.messages) == (Status.COMPENSATED, [])


def test_the_built_in_undo_carries_the_action_and_its_reply() -> None:
    play = Play(Trip, ASKED)
    play.answer("hotel", Booked(price=4))
    play.answer("flight", SoldOut(what="flight"))

    undo = decode_data(Undo[Book], play.command("hotel", "undo").event.data)
    assert undo.effect_id == play.command("hotel").event.get("effectid")
    assert undo.command == Book(trip_id=ASKED.trip_id, what="hotel")
    assert undo.reply == Booked(price=4)
    assert play.command("hotel", "undo").key == play.command("hotel").key


def test_the_built_in_undo_of_an_unknown_action_has_no_reply() -> None:
    play = Play(Trip, ASKED)
    play.answer("flight", SoldOut(what="flight"))
    play.fire("hotel")

    assert decode_data(Undo[Book], play.command("hotel", "undo").event.data).reply is None


# ---- the failure


@pytest.mark.parametrize(
    ("how", "cause", "reason"),
    [
        ("reject", Cause.REJECTED, "rejected: CardDeclined"),
        ("silent", Cause.UNKNOWN, "no answer within 30 s, in 3 tries"),
        ("dead", Cause.UNKNOWN, "dead-lettered: PERMANENT"),
        ("cancel", Cause.CANCELLED, "cancelled by ann: because"),
    ],
)
def test_the_failure_says_what_happened(how: str, cause: Cause, reason: str) -> None:
    seen: list[Failure] = []

    class Watched(FoodOrder, name="watched"):
        @on_compensated
        def reject(self, failure: Failure) -> None:
            seen.append(failure)

    play = Play(Watched, PLACED)
    play.answer("reserve", RESERVED)
    declined = CardDeclined(order_id="o-1", reason="stolen")
    if how == "reject":
        play.answer("charge", declined)
    elif how == "silent":
        play.give_up("charge")
    elif how == "dead":
        play.dead_letter("charge")
    else:
        play.operate("cancel")
        play.answer("charge", declined)
    if "charge/undo" in play.phases():
        play.undone("charge", Refunded(order_id="o-1"))
    play.undone("reserve", ItemsReleased(order_id="o-1"))

    (failure,) = seen
    assert (failure.cause, failure.reason) == (cause, reason)
    assert failure.step == (None if how == "cancel" else "charge")
    assert failure.rejection == (declined if how == "reject" else None)
    assert failure.dead_letter_id == ("dl-1" if how == "dead" else None)


# ---- time


class Clocked(Saga, name="clocked"):
    """Its command tells the time."""

    ask = starts_on(type(ASKED))

    @step(undo=Undo, retry=Retry(attempts=5))
    def book(self) -> Book:
        return Book(trip_id=self.ask.trip_id, what=self.now.isoformat())


def test_now_is_the_recorded_time_at_which_the_step_started_also_on_a_retry() -> None:
    play = Play(Clocked, ASKED, now=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC))
    play.now += timedelta(hours=1)
    play.time_out("book")

    first, second = play.command("book", nth=0).event, play.command("book", nth=1).event
    assert b"2026-01-02T03:04:05.678901+00:00" in (first.data or b"")
    assert second.data == first.data
    assert second.time != first.time


def test_a_step_timer_starts_when_its_message_is_acknowledged() -> None:
    play = Play(FoodOrder, PLACED)
    timer = play.timer_of("reserve")

    assert (timer.due, timer.after, timer.delay) == (None, play.command("reserve").event.id, 30.0)


def test_a_back_off_is_due_within_the_policy_and_differs_from_one_instance_to_the_next() -> None:
    dues = set()
    for number in range(20):
        play = Play(FoodOrder, PLACED.model_copy(update={"order_id": f"o-{number}"}))
        play.answer("reserve", RESERVED)
        play.fire("charge")
        wait = play.timer_of("charge").due - play.now
        assert timedelta(0) <= wait <= timedelta(milliseconds=200)
        dues.add(wait)
    assert len(dues) == 20


def test_a_step_without_timeout_waits_and_an_operator_may_send_it_again() -> None:
    class Patient(Saga, name="patient"):
        ask = starts_on(type(ASKED))

        @step(undo=Undo, timeout=None)
        def book(self) -> Book:
            return Book(trip_id=self.ask.trip_id, what="x")

    play = Play(Patient, ASKED)
    assert play.last.timers == []
    assert play.command("book").event.get("expirytime") is None
    assert play.definition.waits_for(play.last.state) == ["book: the answer to booking.book.v1, try 1, for ever"]

    play.operate("retry", "book")

    assert len(play.sent) == 2
    play.answer("book", SoldOut(what="x"))
    assert play.status is Status.COMPENSATED


# ---- what flows may not do


def test_an_exception_in_a_flows_method_leaves_advance() -> None:
    class Broken(Saga, name="broken"):
        ask = starts_on(type(ASKED))

        @step(undo=Undo)
        def book(self) -> Book:
            return Book(trip_id=self.ask.trip_id, what="x")

        @on_completed(book)
        def over(self, booked: Booked) -> None:
            raise ZeroDivisionError("oh")

    play = Play(Broken, ASKED)
    before = json.dumps(play.last.state)

    with pytest.raises(ZeroDivisionError, match="oh"):
        play.answer("book", Booked(price=1))
    assert json.dumps(play.last.state) == before


@pytest.mark.parametrize("made", [None, Booked(price=1), Told(), "text"])
def test_a_step_that_returns_something_else_is_named(made: Any) -> None:
    class Lying(Flow, name="lying"):
        ask = starts_on(type(ASKED))

        @step
        def book(self) -> Book:
            return made  # type: ignore[no-any-return]

    with pytest.raises(DefinitionError, match=r"Lying\.book: it returned .* Book"):
        Play(Lying, ASKED)


def test_an_ending_that_returns_something_else_is_named() -> None:
    class Lying(Flow, name="lying"):
        ask = starts_on(type(ASKED))

        @step
        def book(self) -> Book:
            return Book(trip_id="1", what="x")

        @on_completed
        def over(self) -> type(ASKED):  # type: ignore[valid-type]
            return [Told()]

    play = Play(Lying, ASKED)
    with pytest.raises(DefinitionError, match=r"Lying\.over: it returned Told"):
        play.answer("book", Booked(price=1))


def test_an_undo_with_another_key_than_its_action_raises() -> None:
    class Overtaking(Saga, name="overtaking"):
        ask = starts_on(type(ASKED))

        @step
        def book(self) -> Book:
            return Book(trip_id=self.ask.trip_id, what="x")

        @book.undo
        def unbook(self, booked: Booked | None) -> Undo[Book]:
            return Undo.of(Book(trip_id="another", what="x"), effect_id="1")

        @step(book, undo=Undo)
        def more(self, booked: Booked) -> Book:
            return Book(trip_id=self.ask.trip_id, what="y")

    play = Play(Overtaking, ASKED)
    play.answer("book", Booked(price=1))
    with pytest.raises(DefinitionError, match=r"Overtaking\.book.*'another'.*'t/1 ä'.*same key"):
        play.answer("more", SoldOut(what="y"))


def test_a_start_event_that_is_not_valid_is_a_decode_error() -> None:
    definition = definition_of(FoodOrder)
    event = compose(PLACED, id="e-1", source="/t", time=EPOCH)

    for bad in (event.evolve(data=b"{}"), event.evolve(data=b"\xff"), event.evolve(type="other.v1")):
        for ask in (
            lambda bad=bad: definition.key_of(bad),
            lambda bad=bad: definition.start_digest(bad),
            lambda bad=bad: definition.start(bad, instance_id="food-order/o-1", run=0, now=EPOCH),
        ):
            with pytest.raises(DecodeError):
                ask()


def test_a_key_of_any_text_finds_its_instance() -> None:
    play = Play(Trip, ASKED)

    assert play.id == "trip/t%2F1%20%C3%A4"
    assert play.answer("flight", Booked(price=1)).changed


def test_a_flow_may_start_on_several_events() -> None:
    class Again(Event, type="trip.asked-again.v1", topic="trips.again"):
        trip_id: Key[int]

    class Twice(Flow, name="twice"):
        ask = starts_on(type(ASKED), Again)

        @step
        def book(self) -> Book:
            return Book(trip_id=str(self.ask.trip_id), what=type(self.ask).__name__)

    assert definition_of(Twice).starts_on == {"trip.asked.v1": "trips", "trip.asked-again.v1": "trips.again"}
    play = Play(Twice, Again(trip_id=7))
    assert play.id == "twice/7"
    assert b'"what":"Again"' in (play.command("book").event.data or b"")


# ---- a flow that is no saga


def test_a_flow_halts_and_an_operator_retries_it_from_the_failed_step() -> None:
    play = Play(Ingest, ASKED)
    play.answer("scan", Rating(stars=3))
    play.answer("fetch", SoldOut(what="fetch"))
    assert play.status is Status.HALTED
    assert play.last.messages == []
    assert play.definition.waits_for(play.last.state) == ["fetch: an operator, to retry or cancel (rejected: SoldOut)"]

    play.operate("retry")

    assert play.status is Status.RUNNING
    assert play.phases() == ["fetch/action"]
    assert play.command("fetch").event.get("effectid") == f"{play.id}/0/fetch/action/1", "the rejection is recorded"
    play.answer("fetch", Booked(price=2))
    play.answer("load", Told())
    assert play.status is Status.COMPLETED


def test_a_halted_unknown_step_is_retried_under_its_effect_id_with_a_fresh_budget() -> None:
    play = Play(Ingest, ASKED)
    play.give_up("fetch")
    assert play.status is Status.HALTED
    play.operate("retry", "fetch")

    assert play.command("fetch").event.get("effectid") == f"{play.id}/0/fetch/action/0"
    assert len({one.event.id for one in play.sent}) == len(play.sent)
    play.fire("fetch")
    assert play.status is Status.RUNNING


def test_siblings_of_a_halted_step_go_on_and_nothing_new_begins() -> None:
    play = Play(Ingest, ASKED)
    play.answer("fetch", SoldOut(what="fetch"))

    play.answer("scan", Rating(stars=3))

    assert (play.status, play.last.messages) == (Status.HALTED, [])
    assert play.statuses() == {"fetch": "rejected", "scan": "done", "load": "waiting"}


def test_a_halted_flow_goes_on_when_the_answer_comes_late() -> None:
    play = Play(Ingest, ASKED)
    play.answer("scan", Rating(stars=3))
    play.give_up("fetch")

    play.answer("fetch", Booked(price=2))

    assert (play.status, play.phases()) == (Status.RUNNING, ["load/action"])


def test_a_flow_with_two_failed_steps_goes_on_when_both_are_retried() -> None:
    play = Play(Ingest, ASKED)
    play.answer("scan", SoldOut(what="scan"))
    play.answer("fetch", SoldOut(what="fetch"))
    play.operate("retry", "fetch")
    assert play.status is Status.HALTED

    play.operate("retry", "scan")

    assert play.status is Status.RUNNING


def test_a_contradiction_after_a_retry_alerts_and_changes_nothing() -> None:
    play = Play(Ingest, ASKED)
    play.answer("fetch", SoldOut(what="fetch"))
    play.operate("retry")

    assert not play.answer("fetch", Booked(price=2), nth=0).changed
    assert play.codes() == ["flow.halted", "outcome.contradiction"]


def test_a_cancelled_flow_undoes_what_it_can() -> None:
    play = Play(Ingest, ASKED)
    play.answer("fetch", Booked(price=2))
    play.answer("scan", SoldOut(what="scan"))
    play.operate("cancel")

    assert (play.status, play.phases()) == (Status.COMPENSATING, ["fetch/undo"])
    play.undone("fetch", Done())
    assert play.status is Status.COMPENSATED


def test_an_undo_has_the_iteration_of_its_action_by_which_a_ledger_finds_it() -> None:
    play = Play(Ingest, ASKED)
    play.answer("fetch", SoldOut(what="fetch"))
    play.operate("retry")
    play.answer("fetch", Booked(price=2))
    play.answer("scan", SoldOut(what="scan"))
    play.operate("cancel")

    assert play.command("fetch", "undo").event.get("effectid") == f"{play.id}/0/fetch/undo/1"


# ---- operators


def test_a_running_saga_is_cancelled_with_compensation() -> None:
    play = Play(FoodOrder, PLACED)
    play.answer("reserve", RESERVED)
    play.operate("cancel")
    assert (play.status, [one.kind for one in play.last.messages]) == (Status.COMPENSATING, ["cancel"])

    play.answer("charge", CHARGED)
    assert play.phases() == ["charge/undo"]


def test_a_saga_is_not_cancelled_at_or_after_its_pivot() -> None:
    play = Play(FoodOrder, PLACED)
    play.answer("reserve", RESERVED)
    play.answer("charge", CHARGED)

    decision = play.operate("cancel")

    assert not decision.changed
    assert "never undone" in decision.journal[0].note
    assert play.answer("assign", DriverAssigned(order_id="o-1", driver_id="a")).status is Status.COMPLETED
    assert not play.operate("cancel").changed


@pytest.mark.parametrize("action", ["retry", "skip", "resolve"])
@pytest.mark.parametrize("named", [None, "reserve", "charge", "nonsense"])
def test_an_operators_request_that_makes_no_sense_changes_nothing_and_says_why(action: Any, named: str | None) -> None:
    play = Play(FoodOrder, PLACED)

    decision = play.operate(action, named)

    assert not decision.changed
    assert play.whats() == ["operator.refused"]
    assert "because" in decision.journal[0].note


def test_an_operator_may_end_a_back_off() -> None:
    play = Play(FoodOrder, PLACED)
    play.answer("reserve", RESERVED)
    play.fire("charge")
    assert play.statuses()["charge"] == "backing-off"

    play.operate("retry", "charge")

    assert play.phases() == ["charge/action"]


def test_what_an_operator_did_is_in_the_journal_with_name_and_reason() -> None:
    play = Play(FoodOrder, PLACED)
    play.operate("cancel")

    assert ("operator.cancel", "cancel by ann: because") in [(line.what, line.note) for line in play.last.journal]


# ---- for people


def test_steps_are_shown_in_order_with_times_and_outcomes() -> None:
    play = Play(FoodOrder, PLACED)
    play.now += timedelta(seconds=1)
    play.answer("reserve", RESERVED)
    play.answer("charge", CardDeclined(order_id="o-1", reason="no"))

    views = play.definition.steps(play.last.state)
    assert [(view.name, view.status, view.kind, view.attempts, view.outcome) for view in views] == [
        ("reserve", "done", "compensatable", 1, "inventory.items.reserved.v1"),
        ("release", "running", "undo of reserve", 1, None),
        ("charge", "rejected", "compensatable", 1, "payments.payment.declined.v1"),
        ("assign", "waiting", "pivot", 0, None),
    ]
    assert (views[0].started_at, views[0].ended_at) == ("2026-08-01T12:00:00+00:00", "2026-08-01T12:00:01+00:00")


def test_a_finished_instance_waits_for_nothing() -> None:
    play = Play(FoodOrder, PLACED)
    play.answer("reserve", OutOfStock(order_id="o-1", sku="x"))

    assert play.status is Status.COMPENSATED
    assert play.definition.waits_for(play.last.state) == []


def test_an_instance_that_drains_says_what_it_awaits() -> None:
    play = Play(Trip, ASKED)
    play.answer("flight", SoldOut(what="flight"))

    assert play.definition.waits_for(play.last.state) == [
        "hotel: the answer to booking.book.v1, try 1, at most 30 s after it was sent"
    ]


def test_a_flow_is_one_hop_however_many_steps_it_has() -> None:
    play = Play(FoodOrder, PLACED, hopcount=7)
    assert play.command("reserve").event.extensions["hopcount"] == 8

    for step_, reply in (
        ("reserve", RESERVED),
        ("charge", CHARGED),
        ("assign", DriverAssigned(order_id="o-1", driver_id="d")),
    ):
        play.answer(step_, reply, hopcount=8)

    assert {one.event.extensions["hopcount"] for one in play.sent} == {8}
    assert play.status is Status.COMPLETED


def test_after_an_answer_without_a_count_the_start_event_counts() -> None:
    play = Play(FoodOrder, PLACED, hopcount=7)

    play.answer("reserve", RESERVED)

    assert play.command("charge").event.extensions["hopcount"] == 8


def test_a_timer_and_a_person_begin_to_count_anew() -> None:
    play = Play(FoodOrder, PLACED, hopcount=7)
    play.answer("reserve", RESERVED, hopcount=8)

    play.time_out("charge")
    assert play.command("charge").event.extensions["hopcount"] == 1

    play.operate("cancel")
    play.answer("charge", CHARGED, hopcount=1)
    assert play.command("charge", "undo").event.extensions["hopcount"] == 1


def test_what_follows_from_an_event_from_outside_is_one_hop_more_than_that() -> None:
    play = Play(Careful, Asked(id="h-1", days=3), hopcount=1)
    play.answer("room", holiday.Booked(what="room"), hopcount=2)
    play.give(OperatorRequest("approve", by="ann", reason="fine", step="agreed", roles=("boss",)))
    play.fire("night")

    play.occur(Paid(holiday="h-1"), hopcount=5)

    assert play.command("go").event.extensions["hopcount"] == 6
