"""The hazards of sagas that the decision alone must answer, each by its number in the list of thirty."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from orchestra.errors import DecodeError
from orchestra.events.message import Done
from orchestra.flows.decision import Outcome, Status, TimerFired
from orchestra.flows.saga import definition_of
from orchestra.ids import derived_id
from tests.unit.flows.play import EPOCH, Play
from tests.unit.flows.shop import (
    PLACED,
    CardDeclined,
    Charged,
    DriverAssigned,
    FoodOrder,
    ItemsReleased,
    ItemsReserved,
    NoDriverFree,
    OutOfStock,
    Refunded,
    RefundImpossible,
)
from tests.unit.flows.trip import ASKED, Booked, Ingest, Rating, SoldOut, Told, Trip

RESERVED = ItemsReserved(order_id="o-1")
CHARGED = Charged(order_id="o-1", amount_cents=2500)
DECLINED = CardDeclined(order_id="o-1", reason="stolen")
ASSIGNED = DriverAssigned(order_id="o-1", driver_id="ana")
NO_DRIVER = NoDriverFree(order_id="o-1")
RELEASED = ItemsReleased(order_id="o-1")
REFUNDED = Refunded(order_id="o-1")


def order() -> Play:
    return Play(FoodOrder, PLACED)


def charged() -> Play:
    play = order()
    play.answer("reserve", RESERVED)
    play.answer("charge", CHARGED)
    return play


def refunding() -> Play:
    play = charged()
    play.answer("assign", NO_DRIVER)
    return play


def paid_trip() -> Play:
    play = Play(Trip, ASKED)
    play.answer("flight", Booked(price=3))
    play.answer("hotel", Booked(price=4))
    play.answer("rating", Rating(stars=5))
    play.answer("visa", Booked(price=1))
    return play


# ---- 1: duplicate outcome


def test_hazard_01_a_duplicate_reply_changes_nothing() -> None:
    play = order()
    play.answer("reserve", RESERVED)

    decision = play.answer("reserve", RESERVED)

    assert not decision.changed
    assert [line.what for line in decision.journal] == ["input.ignored"]


def test_hazard_01_a_duplicate_is_known_however_late_it_comes() -> None:
    play = charged()
    play.answer("assign", ASSIGNED)
    play.now += timedelta(days=400)

    assert not play.answer("charge", CHARGED).changed
    assert not play.answer("charge", DECLINED).changed
    assert play.status is Status.COMPLETED


def test_hazard_01_a_duplicate_reply_to_an_undo_changes_nothing() -> None:
    play = refunding()
    play.undone("charge", REFUNDED)

    assert not play.undone("charge", REFUNDED).changed


# ---- 3: a join fires twice or early


def test_hazard_03_a_join_waits_for_every_branch_and_begins_once() -> None:
    play = Play(Trip, ASKED)
    play.answer("hotel", Booked(price=4))
    play.answer("hotel", Booked(price=4))
    play.answer("flight", Booked(price=3))
    play.answer("visa", Booked(price=1))
    assert "pay" not in [one.event.get("flowstep") for one in play.sent]

    play.answer("rating", Rating(stars=1))
    play.answer("rating", Rating(stars=1))
    play.answer("hotel", Booked(price=9))

    assert [one.event.get("flowstep") for one in play.sent].count("pay") == 1
    assert b'"total":7' in (play.command("pay").event.data or b"")


# ---- 4: duplicate start


def test_hazard_04_the_start_digest_sees_content_and_not_form() -> None:
    definition = definition_of(FoodOrder)
    event = order().event
    spaced = event.evolve(id="e-2", data=json.dumps(json.loads(event.data or b""), indent=2).encode())
    other = event.evolve(data=(event.data or b"").replace(b"2500", b"2501"))

    assert definition.start_digest(spaced) == definition.start_digest(event)
    assert definition.start_digest(other) != definition.start_digest(event)


# ---- 6: a crash between state write and publish


def test_hazard_06_deciding_again_gives_the_same_bytes() -> None:
    first, again = refunding(), refunding()

    assert [one.event for one in first.sent] == [one.event for one in again.sent]
    assert json.dumps(first.last.state) == json.dumps(again.last.state)
    assert first.last.timers == again.last.timers


# ---- 7: timeout and outcome race


def test_hazard_07_a_timer_that_fires_behind_the_reply_changes_nothing() -> None:
    play = order()
    timer = play.timer_of("reserve")
    play.answer("reserve", RESERVED)

    decision = play.give(TimerFired(timer.name, timer.generation))

    assert not decision.changed
    assert play.whats() == ["timer.stale"]


def test_hazard_07_a_timer_of_an_earlier_try_changes_nothing() -> None:
    play = order()
    play.answer("reserve", RESERVED)
    timer = play.timer_of("charge")
    play.time_out("charge")

    assert not play.give(TimerFired(timer.name, timer.generation)).changed


def test_hazard_07_a_reply_behind_the_timeout_is_taken_while_it_is_tried_again() -> None:
    play = order()
    play.answer("reserve", RESERVED)
    play.time_out("charge")

    play.answer("charge", CHARGED, nth=0)

    assert play.statuses()["charge"] == "done"
    assert play.phases() == ["assign/action"]


# ---- 8: lost timers


def test_hazard_08_every_decision_names_all_pending_timers() -> None:
    play = Play(Trip, ASKED)
    play.answer("rating", Rating(stars=1))

    assert {timer.name for timer in play.last.timers} == {"flight/action/0", "hotel/action/0"}


def test_hazard_08_an_overdue_timer_fires_once() -> None:
    play = order()
    timer = play.timer_of("reserve")
    play.now += timedelta(days=3)

    assert play.give(TimerFired(timer.name, timer.generation)).changed
    assert not play.give(TimerFired(timer.name, timer.generation)).changed


# ---- 9: timeout though the work may be done


def test_hazard_09_a_timeout_is_retried_under_the_same_effect_id() -> None:
    play = order()
    play.answer("reserve", RESERVED)
    play.time_out("charge")

    first, second = play.command("charge", nth=0).event, play.command("charge", nth=1).event
    assert second.get("effectid") == first.get("effectid")
    assert second.id != first.id
    assert second.id == derived_id(str(first.get("effectid")), 2)
    assert second.data == first.data
    assert second.get("expirytime") != first.get("expirytime")


def test_hazard_09_a_step_that_stays_unknown_is_undone_too() -> None:
    play = order()
    play.answer("reserve", RESERVED)
    play.give_up("charge")

    assert play.phases() == ["charge/undo"]
    assert play.command("charge", "undo").event.data == b'{"order_id":"o-1","amount_cents":null}'
    assert len([one for one in play.sent if one.event.get("flowstep") == "charge"]) == 3 + 1


def test_hazard_09_a_rejected_step_is_not_undone() -> None:
    play = order()
    play.answer("reserve", RESERVED)
    play.answer("charge", DECLINED)

    assert play.phases() == ["reserve/undo"]
    assert "refund" not in play.statuses()


def test_hazard_09_a_dead_letter_is_unknown_at_once_and_not_tried_again() -> None:
    play = order()
    play.answer("reserve", RESERVED)
    play.dead_letter("charge")

    assert play.status is Status.COMPENSATING
    assert play.phases() == ["charge/undo"]


def test_hazard_09_a_refusal_is_proven_not_done_and_is_tried_again() -> None:
    play = order()
    play.answer("reserve", RESERVED)
    for _ in range(2):
        play.refuse("charge")
        play.fire("charge")

    effects = [str(play.command("charge", nth=nth).event.get("effectid")) for nth in range(3)]
    assert [effect.rsplit("/", 1)[1] for effect in effects] == ["0", "1", "2"], "the service has shut the refused ones"
    play.refuse("charge")
    assert play.phases() == ["reserve/undo"]
    assert play.statuses()["charge"] == "refused"


def test_hazard_09_a_rejection_of_an_older_try_does_not_settle_the_newer() -> None:
    play = order()
    play.answer("reserve", RESERVED)
    play.time_out("charge")

    assert not play.answer("charge", DECLINED, nth=0).changed
    assert not play.dead_letter("charge", nth=0).changed
    assert not play.refuse("charge", nth=0).changed
    assert play.statuses()["charge"] == "running"
    assert play.answer("charge", DECLINED, nth=1).status is Status.COMPENSATING


# ---- 10: late outcome after compensation began


def test_hazard_10_a_late_reply_does_not_resume_the_flow() -> None:
    play = order()
    play.answer("reserve", RESERVED)
    play.give_up("charge")

    decision = play.answer("charge", CHARGED)

    assert not decision.changed
    assert play.whats() == ["outcome.late"]
    assert play.status is Status.COMPENSATING


def test_hazard_10_a_late_reply_reaches_an_undo_that_has_not_begun() -> None:
    play = Play(Trip, ASKED)
    play.answer("flight", Booked(price=3))
    play.time_out("hotel")
    play.give_up("visa")
    play.answer("hotel", SoldOut(what="hotel"))
    assert play.statuses()["cancel_visa"] == "running"
    play.undone("visa", Done())

    assert b'"price":3' in (play.command("flight", "undo").event.data or b"")


def test_hazard_10_a_late_reply_of_an_effect_that_is_not_planned_appends_its_undo() -> None:
    play = order()
    play.answer("reserve", RESERVED)
    play.answer("charge", DECLINED)
    assert play.phases() == ["reserve/undo"]

    play.answer("charge", CHARGED)

    assert play.phases() == ["charge/undo"]
    assert play.codes() == ["outcome.contradiction"]
    play.undone("reserve", RELEASED)
    assert play.status is Status.COMPENSATING
    play.undone("charge", REFUNDED)
    assert play.status is Status.COMPENSATED


def test_hazard_10_a_late_reply_reopens_even_a_compensated_instance_and_ends_it_once() -> None:
    play = order()
    play.answer("reserve", OutOfStock(order_id="o-1", sku="ramen"))
    assert play.status is Status.COMPENSATED

    play.answer("reserve", RESERVED)
    assert (play.status, play.phases()) == (Status.COMPENSATING, ["reserve/undo"])
    play.undone("reserve", RELEASED)

    assert play.status is Status.COMPENSATED
    assert [one.event.type for one in play.sent].count("shop.order.rejected.v1") == 1


# ---- 11: undo before do


def test_hazard_11_an_undo_goes_to_its_actions_topic_with_its_key() -> None:
    play = refunding()
    action, undo = play.command("charge"), play.command("charge", "undo")

    assert (undo.topic, undo.key) == (action.topic, action.key)
    assert undo.event.get("effectid") == "food-order/o-1/0/charge/undo/0"


# ---- 12: a sibling in flight when another fails


def test_hazard_12_siblings_in_flight_are_awaited_before_anything_is_undone() -> None:
    play = Play(Trip, ASKED)
    play.answer("flight", Booked(price=3))
    play.answer("hotel", SoldOut(what="hotel"))
    assert (play.status, [one.kind for one in play.last.messages]) == (Status.COMPENSATING, ["cancel"])
    assert play.statuses()["rating"] == "cancelled"

    play.answer("visa", Booked(price=1))

    assert play.phases() == ["visa/undo"]
    assert b'"price":1' in (play.command("visa", "undo").event.data or b"")


def test_hazard_12_a_sibling_that_stays_silent_counts_as_maybe_done() -> None:
    play = Play(Trip, ASKED)
    play.answer("flight", SoldOut(what="flight"))
    assert {one.kind for one in play.last.messages} == {"cancel"}

    play.fire("hotel")

    assert play.phases() == ["hotel/undo"]
    sent = [one.kind for one in play.sent if one.event.get("flowstep") == "hotel"]
    assert sent == ["command", "cancel", "command"]


def test_hazard_12_a_sibling_in_flight_is_told_behind_its_command_that_it_is_not_wanted() -> None:
    play = Play(Trip, ASKED)
    play.answer("flight", SoldOut(what="flight"))

    command, cancel = (one for one in play.sent if one.event.get("flowstep") == "hotel")
    assert cancel.event.type == "orchestra.step.cancel.v1"
    assert (cancel.topic, cancel.key) == (command.topic, command.key)
    assert cancel.event.get("effectid") == command.event.get("effectid")
    assert cancel.event.id != command.event.id


def test_hazard_12_a_sibling_in_back_off_is_not_sent_again() -> None:
    play = Play(Trip, ASKED)
    play.fire("hotel")
    assert play.statuses()["hotel"] == "backing-off"

    play.answer("flight", SoldOut(what="flight"))

    assert play.phases() == ["hotel/undo"]
    assert play.last.timers[0].name == "hotel/undo/0"


def test_hazard_12_nothing_new_begins_while_the_flow_drains() -> None:
    play = Play(Trip, ASKED)
    play.answer("hotel", SoldOut(what="hotel"))

    play.answer("flight", Booked(price=3))

    assert play.phases() == ["flight/undo"]


# ---- 13: a compensation fails


def test_hazard_13_a_compensation_has_its_own_budget_and_then_the_instance_is_stuck() -> None:
    play = refunding()
    play.time_out("charge", "undo")
    assert play.status is Status.COMPENSATING

    play.fire("charge", "undo")

    assert play.status is Status.STUCK
    assert play.codes() == ["compensation.stuck"]
    assert play.definition.waits_for(play.last.state)


def test_hazard_13_a_rejected_or_dead_lettered_compensation_is_tried_again() -> None:
    play = refunding()
    play.answer("charge", RefundImpossible(order_id="o-1"), "undo")
    play.fire("charge", "undo")
    assert len([one for one in play.sent if one.event.get("flowphase") == "undo"]) == 2

    play.dead_letter("charge", "undo")

    assert play.status is Status.STUCK


def test_hazard_13_independent_undos_go_on_and_dependants_wait() -> None:
    play = paid_trip()
    play.answer("pay", SoldOut(what="money"))
    assert sorted(play.phases()) == ["hotel/undo", "visa/undo"]
    for _ in range(10):
        play.time_out("visa", "undo") if play.status is Status.COMPENSATING else None
    assert play.status is Status.STUCK

    play.undone("hotel", Done())

    assert play.status is Status.STUCK
    assert play.statuses()["undo of hotel"] == "done"
    assert play.statuses()["cancel_flight"] == "planned"


@pytest.mark.parametrize("action", ["retry", "skip", "resolve"])
def test_hazard_13_an_operator_gets_a_stuck_instance_to_its_end(action: str) -> None:
    play = refunding()
    play.time_out("charge", "undo")
    play.fire("charge", "undo")

    play.operate(action, "charge")  # type: ignore[arg-type]
    if action == "retry":
        assert play.status is Status.COMPENSATING
        play.undone("charge", REFUNDED)
    play.undone("reserve", RELEASED)

    assert play.status is Status.COMPENSATED
    assert "operator.retry" in [line.what for line in play.journal] or action != "retry"


def test_hazard_13_a_retry_by_an_operator_has_a_fresh_budget() -> None:
    play = refunding()
    play.time_out("charge", "undo")
    play.fire("charge", "undo")
    play.operate("retry")

    play.time_out("charge", "undo")

    assert play.status is Status.COMPENSATING
    assert len([one for one in play.sent if one.event.get("flowphase") == "undo"]) == 4


def test_hazard_13_a_stuck_compensation_that_is_answered_late_is_done() -> None:
    play = refunding()
    play.time_out("charge", "undo")
    play.fire("charge", "undo")

    play.undone("charge", REFUNDED)

    assert play.phases() == ["reserve/undo"]
    assert play.status is Status.COMPENSATING


# ---- 14: undo order


def test_hazard_14_steps_are_undone_in_reverse_order() -> None:
    play = refunding()
    assert play.phases() == ["charge/undo"]
    play.undone("charge", REFUNDED)
    assert play.phases() == ["reserve/undo"]
    play.undone("reserve", RELEASED)

    assert play.status is Status.COMPENSATED
    assert play.types() == ["shop.order.rejected.v1"]


def test_hazard_14_parallel_branches_are_undone_side_by_side() -> None:
    play = paid_trip()
    play.answer("pay", SoldOut(what="money"))
    assert sorted(play.phases()) == ["hotel/undo", "visa/undo"]

    play.undone("visa", Done())

    assert play.phases() == ["flight/undo"]


# ---- 15: the pivot and what comes after it


def test_hazard_15_an_unknown_pivot_is_retried_without_end_with_an_alert() -> None:
    play = charged()
    for _ in range(40):
        play.time_out("assign")

    assert play.status is Status.RUNNING
    assert set(play.codes()) == {"pivot.unknown"}
    assert 1 < len(play.alerts) < 10
    play.answer("assign", ASSIGNED, nth=3)
    assert play.status is Status.COMPLETED


def test_hazard_15_a_dead_lettered_pivot_is_not_compensated() -> None:
    play = charged()
    play.dead_letter("assign")

    assert play.status is Status.RUNNING
    assert play.codes() == ["pivot.unknown"]
    assert play.fire("assign").messages


def test_hazard_15_a_pivot_that_is_rejected_is_compensated() -> None:
    play = charged()
    play.time_out("assign")
    play.answer("assign", NO_DRIVER)

    assert play.status is Status.COMPENSATING


def test_hazard_15_after_the_pivot_a_step_is_retried_without_end() -> None:
    play = paid_trip()
    play.answer("pay", Done())
    for _ in range(5):
        play.time_out("tell")
    play.answer("tell", SoldOut(what="paper"))
    play.fire("tell")
    play.dead_letter("tell")
    play.fire("tell")

    assert play.status is Status.RUNNING
    assert set(play.codes()) == {"retriable.unknown", "retriable.rejected"}
    play.answer("tell", Told())
    assert play.status is Status.COMPLETED


def test_hazard_15_a_retriable_step_that_is_refused_is_sent_again_with_an_alert_in_the_end() -> None:
    play = paid_trip()
    play.answer("pay", Done())
    play.refuse("tell", "barred")
    play.fire("tell")
    assert play.codes() == []

    play.refuse("tell", "barred")

    assert play.codes() == ["retriable.refused"]
    assert play.fire("tell").messages


def test_hazard_15_after_a_rejection_a_retriable_step_is_a_new_effect() -> None:
    """The service has recorded the rejection under the old effect id, and would answer it for ever."""
    play = paid_trip()
    play.answer("pay", Done())
    play.answer("tell", SoldOut(what="paper"))
    play.fire("tell")

    assert [play.command("tell", nth=nth).event.get("effectid") for nth in (0, 1)] == [
        f"{play.id}/0/tell/action/0",
        f"{play.id}/0/tell/action/1",
    ]
    assert not play.answer("tell", SoldOut(what="paper"), nth=0).changed


def test_hazard_15_compensations_and_retriable_steps_never_expire() -> None:
    play = paid_trip()
    play.answer("pay", Done())
    assert play.command("tell").event.get("expirytime") is None
    assert play.command("pay").event.get("expirytime") is not None

    assert refunding().command("charge", "undo").event.get("expirytime") is None


def test_hazard_01_a_duplicate_of_a_rejection_does_not_begin_a_retriable_steps_pause_anew() -> None:
    play = paid_trip()
    play.answer("pay", Done())
    play.answer("tell", SoldOut(what="paper"))
    pause = play.timer_of("tell")

    assert not play.answer("tell", SoldOut(what="paper")).changed
    assert play.timer_of("tell") == pause
    assert play.codes() == ["retriable.rejected"]


# ---- 16, 17: outcomes of nothing, or at the wrong time


@pytest.mark.parametrize(
    "effect",
    [
        "food-order/o-1/0/charge/action/0",
        "food-order/o-1/0/reserve/action/7",
        "food-order/o-1/0/reserve/undo/0",
        "food-order/o-1/1/reserve/action/0",
        "food-order/o-2/0/reserve/action/0",
        "food-order/o-1/0/dance/action/0",
        "food-order/o-1/0/reserve",
        "",
        "\x00/////",
    ],
)
def test_hazard_16_an_outcome_of_an_effect_that_never_was_changes_nothing(effect: str) -> None:
    play = order()
    event = play.event.evolve(type="inventory.items.reserved.v1")

    decision = play.give(Outcome(effect, event))

    assert not decision.changed
    assert play.whats() == ["outcome.unknown"]


def test_hazard_17_an_outcome_of_another_steps_type_alerts_and_changes_nothing() -> None:
    play = order()

    decision = play.answer("reserve", CHARGED)

    assert not decision.changed
    assert play.codes() == ["outcome.unexpected"]
    assert play.answer("reserve", RESERVED).changed


# ---- 18: poison outcome


def test_hazard_18_an_outcome_with_bad_data_raises_a_decode_error() -> None:
    play = order()
    command = play.command("reserve").event
    effect = str(command.get("effectid"))
    bad = command.evolve(type="inventory.items.reserved.v1", data=b'{"order_id": 7}')

    with pytest.raises(DecodeError, match="order_id"):
        play.definition.advance(play.last.state, Outcome(effect, bad), now=EPOCH)


# ---- 26: audit


def test_hazard_26_every_input_leaves_a_journal_line_also_those_that_are_ignored() -> None:
    play = refunding()
    lines = len(play.journal)
    for given in (
        lambda: play.answer("charge", CHARGED),
        lambda: play.answer("assign", ASSIGNED),
        lambda: play.give(TimerFired("nothing", 1)),
        lambda: play.operate("skip", "reserve"),
        lambda: play.operate("cancel"),
    ):
        given()
        assert len(play.journal) > lines
        lines = len(play.journal)


# ---- 29: growth


def test_hazard_29_the_state_of_a_three_step_saga_stays_small() -> None:
    play = refunding()
    play.undone("charge", REFUNDED)
    play.undone("reserve", RELEASED)

    state = {name: value for name, value in play.last.state.items() if name != "event"}
    assert len(json.dumps(state, separators=(",", ":"))) < 1000


def test_hazard_29_retries_do_not_make_the_state_grow() -> None:
    play = charged()
    play.time_out("assign")
    before = len(json.dumps(play.last.state))
    for _ in range(50):
        play.time_out("assign")

    assert len(json.dumps(play.last.state)) <= before + 10


# ---- 30: nobody notices


def test_hazard_30_every_live_instance_waits_for_something_and_says_it() -> None:
    play = refunding()
    assert play.definition.waits_for(play.last.state) == [
        "undo of charge: the answer to payments.payment.refund.v1, try 1, at most 20 s after it was sent"
    ]
    play.fire("charge", "undo")
    assert "is sent again" in play.definition.waits_for(play.last.state)[0]
    play.fire("charge", "undo")
    play.fire("charge", "undo")
    assert "an operator" in play.definition.waits_for(play.last.state)[0]


def test_hazard_30_a_flow_that_halts_calls_somebody() -> None:
    play = Play(Ingest, ASKED)
    play.answer("fetch", SoldOut(what="fetch"))

    assert play.status is Status.HALTED
    assert play.codes() == ["flow.halted"]
