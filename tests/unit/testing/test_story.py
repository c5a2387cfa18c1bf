"""Does a story do to a flow what the world does, and does it say what went otherwise than expected?"""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestra.errors import DecodeError
from orchestra.events.message import Done, Undo
from orchestra.flows.decision import Status
from orchestra.flows.saga import Flow, Saga, starts_on, step
from orchestra.retry import Retry
from orchestra.testing.sent import Sent
from orchestra.testing.story import NOON, Refused, Story, run
from tests.unit.flows.shop import (
    PLACED,
    AssignDriver,
    CardDeclined,
    Charged,
    ChargePayment,
    DriverAssigned,
    FoodOrder,
    ItemsReleased,
    ItemsReserved,
    NoDriverFree,
    OrderConfirmed,
    OrderPlaced,
    OrderRejected,
    OutOfStock,
    RefundImpossible,
    RefundPayment,
    ReleaseItems,
    ReserveItems,
)

RESERVED = ItemsReserved(order_id="o-1")
CHARGED = Charged(order_id="o-1", amount_cents=2500)
DECLINED = CardDeclined(order_id="o-1", reason="no money")


def charging() -> tuple[Story, Sent[ChargePayment]]:
    t = run(FoodOrder, PLACED)
    t.expect(ReserveItems).reply(RESERVED)
    return t, t.expect(ChargePayment)


class Twice(Saga, name="twice"):
    """Two equal commands side by side."""

    order = starts_on(OrderPlaced)

    @step(undo=Undo)
    def first(self) -> ReserveItems:
        return ReserveItems(order_id="first", items=[])

    @step(undo=Undo)
    def second(self) -> ReserveItems:
        return ReserveItems(order_id="second", items=[])


class Unequal(Saga, name="unequal"):
    order = starts_on(OrderPlaced)

    @step(undo=Undo, timeout="20s")
    def quick(self) -> ReserveItems:
        return ReserveItems(order_id="quick", items=[])

    @step(undo=Undo, timeout="1m")
    def slow(self) -> ReserveItems:
        return ReserveItems(order_id="slow", items=[])


class Plain(Flow, name="plain"):
    order = starts_on(OrderPlaced)

    @step(timeout=None)
    def reserve(self) -> ReserveItems:
        return ReserveItems(order_id="o-1", items=[])

    @step(reserve, retry=Retry(attempts=2))
    def charge(self, reserved: ItemsReserved) -> ChargePayment:
        return ChargePayment(order_id="o-1", amount_cents=1)


def test_a_flow_is_played_to_its_end() -> None:
    t, charge = charging()

    charge.reply(CHARGED)
    t.expect(AssignDriver).reply(DriverAssigned(order_id="o-1", driver_id="d-7"))

    assert t.completed(OrderConfirmed) == OrderConfirmed(order_id="o-1", driver_id="d-7")
    t.nothing_sent()
    assert t.now == NOON


def test_a_rejection_undoes_in_reverse() -> None:
    t, charge = charging()
    charge.reply(CHARGED)

    t.expect(AssignDriver).reject(NoDriverFree(order_id="o-1"))

    assert t.expect(RefundPayment).command.amount_cents == 2500
    with pytest.raises(AssertionError, match="ReleaseItems was expected, and sent was nothing more"):
        t.expect(ReleaseItems)


def test_a_command_is_expected_with_its_content() -> None:
    t = run(FoodOrder, PLACED)

    with pytest.raises(AssertionError, match=r"(?s)expected was ReserveItems\(order_id='o-2'.*sent was .*'o-1'"):
        t.expect(ReserveItems(order_id="o-2", items=PLACED.items))

    t = run(FoodOrder, PLACED)
    t.expect(ReserveItems(order_id="o-1", items=PLACED.items)).reply(RESERVED)


def test_equal_commands_are_told_apart_by_step_or_content() -> None:
    t = run(Twice, PLACED)

    t.expect(ReserveItems, step="second").reject(OutOfStock(order_id="o-1", sku="ramen"))
    first = t.expect(ReserveItems, where=lambda command: command.order_id == "first")
    first.reply(RESERVED)

    assert first.step == "first"
    t.expect(Undo[ReserveItems]).reply(Done())
    t.compensated()


def test_a_timeout_lets_time_pass_to_the_next_try() -> None:
    t, charge = charging()

    charge.times_out()
    again = t.expect(ChargePayment)

    assert again.effect_id == charge.effect_id
    assert again.envelope.id != charge.envelope.id
    assert timedelta(seconds=30) < t.now - NOON < timedelta(seconds=31)


def test_time_passes_and_every_timer_fires_at_its_own_time() -> None:
    t, _ = charging()

    t.advance("10m")

    assert t.now == NOON + timedelta(minutes=10)
    assert t.stuck() is None
    assert [alert.code for alert in t.alerts] == ["compensation.stuck"]
    assert [t.expect(ChargePayment).step for _ in range(2)] == ["charge"] * 2
    assert t.expect(RefundPayment).command.amount_cents is None


def test_what_is_due_at_the_same_time_is_left_to_the_test() -> None:
    t = run(Twice, PLACED)
    second = t.expect(ReserveItems, step="second")

    t.expect(ReserveItems, step="first").times_out()
    second.reply(RESERVED)

    assert t.steps["second"] == "done"
    assert t.steps["first"] == "unknown"


def test_what_is_due_earlier_fires_first() -> None:
    t = run(Unequal, PLACED)
    t.expect(ReserveItems, step="quick")

    t.expect(ReserveItems, step="slow").times_out()

    told = t.story()
    assert 0 < told.index("20s  time is up for quick") < told.index("1m  time is up for slow")
    assert t.now == NOON + timedelta(minutes=1)


def test_an_answer_comes_again_or_late_only_when_it_says_so() -> None:
    t, charge = charging()

    with pytest.raises(AssertionError, match="no answer yet"):
        charge.reply_again()
    with pytest.raises(AssertionError, match=r"still awaited: \.times_out\(\)"):
        charge.reply_late(CHARGED)
    charge.times_out()
    with pytest.raises(AssertionError, match=r"not awaited any more; .*reply_late"):
        charge.reply(CHARGED)
    charge.reply_late(CHARGED)
    with pytest.raises(AssertionError, match=r"answered already; \.reply_again\(\)"):
        charge.reply(CHARGED)
    charge.reply_again()

    t.expect(ChargePayment)
    t.expect(AssignDriver)
    t.nothing_sent()


def test_a_late_rejection_of_an_older_try_proves_nothing() -> None:
    t, charge = charging()
    charge.times_out()

    charge.reject_late(DECLINED)

    assert t.steps["charge"] == "running"


def test_dead_letters_and_refusals_are_what_the_runtime_answers() -> None:
    t, charge = charging()
    charge.dead_letters()
    assert t.steps["charge"] == "unknown"

    t, charge = charging()
    charge.refused("barred")
    assert t.steps["charge"] == "backing-off"


def test_a_compensation_can_fail_until_an_operator_decides() -> None:
    t, charge = charging()
    charge.dead_letters()
    t.expect(RefundPayment).reject(RefundImpossible(order_id="o-1"))
    t.advance("5s")
    t.expect(RefundPayment).reject(RefundImpossible(order_id="o-1"))

    t.stuck()
    with pytest.raises(AssertionError, match=r"(?s)was to be compensated, and is stuck.*waits for undo of charge"):
        t.compensated()
    t.retry("charge")
    t.expect(RefundPayment).times_out()
    t.expect(RefundPayment).times_out()
    t.skip("charge", by="ann", reason="paid back in cash")
    t.expect(ReleaseItems).reply(ItemsReleased(order_id="o-1"))

    assert t.compensated(OrderRejected).order_id == "o-1"


def test_what_cannot_be_done_is_refused_with_the_reason() -> None:
    t = run(FoodOrder, PLACED)

    with pytest.raises(Refused, match=r"resolve reserve was not done: .*only a compensation that is stuck"):
        t.resolve("reserve", by="ann")
    with pytest.raises(Refused, match="approve was not done"):
        t.approve(by="ann", roles=["boss"])
    with pytest.raises(Refused, match="reject was not done"):
        t.reject(by="ann")


def test_a_flow_is_cancelled() -> None:
    t, charge = charging()

    t.cancel(by="ann", reason="changed her mind")
    charge.reject(DECLINED)
    t.expect(ReleaseItems).reply(ItemsReleased(order_id="o-1"))

    assert t.status is Status.COMPENSATED
    assert "cancel, asks ann: changed her mind" in t.story()


def test_a_plain_flow_halts_and_is_retried() -> None:
    t = run(Plain, PLACED)
    reserve = t.expect(ReserveItems)

    with pytest.raises(AssertionError, match="has no timeout"):
        reserve.times_out()
    reserve.reply(RESERVED)
    t.expect(ChargePayment).times_out()
    t.expect(ChargePayment).times_out()
    t.halted()
    assert t.waits_for == ["charge: an operator, to retry or cancel (no answer within 30 s, in 2 tries)"]
    t.retry()
    t.expect(ChargePayment).reply(CHARGED)

    t.completed()


def test_an_event_that_no_part_of_the_flow_takes_is_a_mistake_of_the_test() -> None:
    t = run(FoodOrder, PLACED)

    with pytest.raises(AssertionError, match="of events the flow takes none at all"):
        t.publish(OrderConfirmed(order_id="o-1", driver_id="d"))


def test_another_event_does_not_start_the_flow() -> None:
    with pytest.raises(DecodeError, match="does not start food-order"):
        run(FoodOrder, OrderConfirmed(order_id="o-1", driver_id="d"))


def test_an_ending_without_its_event_says_what_was_published() -> None:
    t, charge = charging()
    charge.reply(CHARGED)
    t.expect(AssignDriver).reply(DriverAssigned(order_id="o-1", driver_id="d-7"))

    with pytest.raises(AssertionError, match=r"OrderRejected was expected, and sent was OrderConfirmed\("):
        t.completed(OrderRejected)
    with pytest.raises(AssertionError, match="nothing more was expected, and sent was OrderConfirmed"):
        t.nothing_sent()


class Broken(Saga, name="broken"):
    order = starts_on(OrderPlaced)

    @step(kind="read_only")
    def reserve(self) -> ReserveItems:
        return ReserveItems(order_id="o-1", items=[])

    @step(reserve, kind="read_only")
    def charge(self, reserved: ItemsReserved) -> ChargePayment:
        raise ZeroDivisionError


def test_an_exception_of_the_flow_comes_with_the_story() -> None:
    t = run(Broken, PLACED)

    with pytest.raises(ZeroDivisionError) as caught:
        t.expect(ReserveItems).reply(RESERVED)

    assert "-> reserve: ReserveItems(" in caught.value.__notes__[0]


def test_a_failure_is_told_with_the_story_and_the_next_timer() -> None:
    t, _ = charging()

    with pytest.raises(AssertionError) as caught:
        t.expect(AssignDriver)

    assert str(caught.value) == (
        "AssignDriver was expected, and sent was nothing more; the next timer, charge/action/0, is due after "
        't.advance("30s")\n\n' + t.story()
    )


def test_the_same_story_is_told_every_time() -> None:
    stories = set()
    for _ in range(2):
        t, charge = charging()
        charge.times_out()
        t.advance("1h")
        stories.add(str(t))

    assert len(stories) == 1
