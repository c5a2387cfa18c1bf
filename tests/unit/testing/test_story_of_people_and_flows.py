"""Does a story play what comes from outside: events, decisions, time, flows that a flow calls?"""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestra.errors import FlowQueryError
from orchestra.events.message import Done, Event, Key, Undo
from orchestra.flows.approval import Approval
from orchestra.flows.declare import approval, call, delay, wait_for
from orchestra.flows.failure import Failure
from orchestra.flows.query import FlowView, query
from orchestra.flows.saga import Saga, on_compensated, on_completed, starts_on, step
from orchestra.testing.story import NOON, Refused, Story, run
from tests.unit.flows.shop import (
    PLACED,
    CardDeclined,
    ChargePayment,
    ItemsReserved,
    OrderPlaced,
    OutOfStock,
    ReserveItems,
)

RESERVED = ItemsReserved(order_id="o-1")
DECLINED = CardDeclined(order_id="o-1", reason="no money")


class Settled(Event, type="story.payment.settled.v1", topic="payments"):
    order_id: Key[str]
    cents: int


class ParcelRequested(Event, type="story.parcel.requested.v1", topic="parcels"):
    parcel_id: Key[str]


class ParcelShipped(Event, type="story.parcel.shipped.v1", topic="parcels"):
    parcel_id: Key[str]


class OrderShipped(Event, type="story.order.shipped.v1", topic="shop.orders"):
    order_id: Key[str]
    approved_by: str | None


class NotShipped(Event, type="story.order.not-shipped.v1", topic="shop.orders"):
    order_id: Key[str]
    cause: str


class Parcel(Saga, name="parcel"):
    asked = starts_on(ParcelRequested)

    @step(undo=Undo)
    def pack(self) -> ReserveItems:
        return ReserveItems(order_id=self.asked.parcel_id, items=[])

    @on_completed(pack)
    def shipped(self, packed: ItemsReserved) -> ParcelShipped:
        return ParcelShipped(parcel_id=self.asked.parcel_id)


class Order(Saga, name="order"):
    order = starts_on(OrderPlaced)

    @step(undo=Undo)
    def reserve(self) -> ReserveItems:
        return ReserveItems(order_id=self.order.order_id, items=[])

    def is_enough(self, event: Settled) -> bool:
        return event.cents >= self.order.total_cents

    settled = wait_for(Settled, after=reserve, where=is_enough, timeout="2d")
    agreed = approval(settled, role="seller", timeout="1d", escalate=("2h", "boss"))
    pause = delay("1h", after=agreed)

    @call(Parcel, reserve, yields=ParcelShipped, after=pause, timeout="1d")
    def ship(self, reserved: ItemsReserved) -> ParcelRequested:
        return ParcelRequested(parcel_id=f"p-{self.order.order_id}")

    @step(after=ship, kind="read_only")
    def check(self) -> ChargePayment:
        return ChargePayment(order_id=self.order.order_id, amount_cents=0)

    @on_completed(agreed)
    def over(self, agreed: Approval) -> OrderShipped:
        return OrderShipped(order_id=self.order.order_id, approved_by=agreed.by)

    @query
    def shelf(self, view: FlowView) -> str:
        reserved = view.reply(Order.reserve)
        return f"{self.order.order_id}: {reserved and reserved.order_id}, {view.status}"

    @query
    def status(self, view: FlowView) -> str:
        return view.status.value

    @on_compensated
    def undone(self, failure: Failure) -> NotShipped:
        return NotShipped(order_id=self.order.order_id, cause=failure.cause)


def waiting() -> Story:
    t = run(Order, PLACED)
    t.expect(ReserveItems).reply(RESERVED)
    return t


def shipping() -> Story:
    t = waiting()
    t.publish(Settled(order_id="o-1", cents=2500))
    t.approve("agreed", by="ann", roles=["seller"])
    t.advance("1h")
    return t


def test_an_event_of_the_key_that_fits_is_taken() -> None:
    t = waiting()

    t.publish(Settled(order_id="o-2", cents=2500))
    t.publish(Settled(order_id="o-1", cents=1))
    assert "settled" in t.waits_for[0]
    t.publish(Settled(order_id="o-1", cents=2500))

    assert "agreed" in t.waits_for[0]
    assert "Settled(order_id='o-2', cents=2500) is for another key" in t.story()


def test_a_running_instance_is_asked() -> None:
    t = run(Order, PLACED)
    assert t.query(Order.shelf) == "o-1: None, running"

    t.expect(ReserveItems).reply(RESERVED)
    assert t.query(Order.shelf) == "o-1: o-1, running"
    t.advance("2d")
    t.expect(Undo[ReserveItems]).reply(Done())

    assert t.query(Order.status) == "compensated"
    with pytest.raises(FlowQueryError, match="the instance is over"):
        t.query(Order.shelf)


def test_time_that_is_up_fails_the_flow() -> None:
    t = waiting()

    t.advance("2d")
    t.expect(Undo[ReserveItems]).reply(Done())

    assert t.compensated(NotShipped).cause == "timed-out"


def test_somebody_else_may_decide_once_time_has_passed() -> None:
    t = waiting()
    t.publish(Settled(order_id="o-1", cents=2500))

    with pytest.raises(Refused, match="bob is not known as seller"):
        t.approve("agreed", by="bob", roles=["boss"])
    t.advance("2h")
    t.approve("agreed", by="bob", roles=["boss"])
    with pytest.raises(Refused, match="approved by bob already"):
        t.reject("agreed", by="ann", roles=["seller"])

    assert [alert.code for alert in t.alerts] == ["approval.requested", "approval.escalated"]
    t.nothing_sent()
    t.advance("1h")
    t.expect_call(Parcel)
    assert t.now == NOON + timedelta(hours=3)


def test_a_called_flow_ends_as_the_test_says() -> None:
    t = shipping()

    parcel = t.expect_call(Parcel, step="ship")
    assert parcel.id == "parcel/p-o-1"
    assert parcel.started_with(ParcelRequested) == ParcelRequested(parcel_id="p-o-1")
    parcel.completes(ParcelShipped(parcel_id="p-o-1"))
    t.expect(ChargePayment).reject(DECLINED)
    t.expect_undo(Parcel).completes()
    t.expect(Undo[ReserveItems]).reply(Done())

    t.compensated(NotShipped)


def test_a_called_flow_that_fails_fails_the_one_that_called_it() -> None:
    t = shipping()

    t.expect_call(Parcel).fails("the driver is ill")
    t.expect(Undo[ReserveItems]).reply(Done())

    t.compensated(NotShipped)


def test_a_called_flow_plays_its_own_story() -> None:
    t = shipping()

    parcel = t.expect_call(Parcel).plays()
    parcel.expect(ReserveItems).reply(RESERVED)
    assert parcel.completed(ParcelShipped).parcel_id == "p-o-1"
    t.expect(ChargePayment).reject(DECLINED)
    parcel.expect(Undo[ReserveItems]).reply(Done())
    parcel.compensated()
    t.expect(Undo[ReserveItems]).reply(Done())

    t.compensated(NotShipped)
    parcel.nothing_sent()


def test_a_called_flow_under_way_is_cancelled() -> None:
    t = shipping()
    parcel = t.expect_call(Parcel)

    t.cancel(by="ann")
    t.expect_cancel(Parcel)
    parcel.fails("cancelled", cause="cancelled")
    t.expect(Undo[ReserveItems]).reply(Done())

    t.compensated(NotShipped)


def test_a_called_flow_on_the_stage_is_cancelled_and_answers_itself() -> None:
    t = shipping()
    parcel = t.expect_call(Parcel).plays()
    pack = parcel.expect(ReserveItems)

    t.cancel(by="ann")
    pack.reject(OutOfStock(order_id="o-1", sku="x"))
    t.expect(Undo[ReserveItems]).reply(Done())

    t.compensated(NotShipped)
    parcel.compensated()


def test_a_call_that_takes_too_long_times_out() -> None:
    t = shipping()

    t.expect_call(Parcel).times_out()
    t.expect_undo(Parcel).completes()
    t.expect(Undo[ReserveItems]).reply(Done())

    assert t.compensated(NotShipped).cause == "unknown"


def test_what_was_not_called_was_not_called() -> None:
    t = shipping()

    with pytest.raises(AssertionError, match="the request to undo Parcel was expected, and sent was ParcelRequested"):
        t.expect_undo(Parcel)
    with pytest.raises(AssertionError, match="the request to cancel Parcel was expected"):
        t.expect_cancel(Parcel)
    with pytest.raises(AssertionError, match="a call of Order was expected"):
        t.expect_call(Order)
