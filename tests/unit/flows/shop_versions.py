"""Other versions of the food order: one that running instances could follow, and ones that they could not."""

from __future__ import annotations

from orchestra.events.message import Command, Done, Event, Key
from orchestra.flows.failure import Failure
from orchestra.flows.saga import Saga, on_compensated, on_completed, pivot, starts_on, step
from orchestra.retry import Retry
from tests.unit.flows.shop import (
    AssignDriver,
    Charged,
    ChargePayment,
    DriverAssigned,
    ItemsReserved,
    OrderConfirmed,
    OrderPlaced,
    OrderRejected,
    RefundPayment,
    ReleaseItems,
    ReserveItems,
)


class NoAnswer(Event, type="shop.mail.not-sent.v1"):
    pass


class SendMail(Command[Done, NoAnswer], type="shop.mail.send.v1", topic="mail.commands"):
    order_id: Key[str]


class FoodOrderV2(Saga, name="food-order", version=2):
    """The food order, and a mail for the customer at the end."""

    order = starts_on(OrderPlaced)

    @step(timeout="30s")
    def reserve(self) -> ReserveItems:
        return ReserveItems(order_id=self.order.order_id, items=self.order.items)

    @reserve.undo
    def release(self, reserved: ItemsReserved | None) -> ReleaseItems:
        return ReleaseItems(order_id=self.order.order_id, was_reserved=reserved is not None)

    @step(reserve, timeout="1m", retry=Retry(attempts=5))
    def charge(self, reserved: ItemsReserved) -> ChargePayment:
        return ChargePayment(order_id=reserved.order_id, amount_cents=self.order.total_cents)

    @charge.undo(retry=Retry(attempts=2, first="1s"), timeout="20s")
    def refund(self, charged: Charged | None) -> RefundPayment:
        return RefundPayment(order_id=self.order.order_id, amount_cents=charged and charged.amount_cents)

    @pivot(charge, timeout="5m")
    def assign(self, charged: Charged) -> AssignDriver:
        return AssignDriver(order_id=charged.order_id)

    @step(after=assign, kind="retriable")
    def mail(self) -> SendMail:
        return SendMail(order_id=self.order.order_id)

    @on_completed(assign)
    def confirm(self, assigned: DriverAssigned) -> OrderConfirmed:
        return OrderConfirmed(order_id=assigned.order_id, driver_id=assigned.driver_id)

    @on_compensated
    def reject(self, failure: Failure) -> list[OrderRejected]:
        return [OrderRejected(order_id=self.order.order_id, reason=f"{failure.step}: {failure.reason}")]


class Altered(Saga, name="food-order", version=1):
    """Another graph under the same number: the driver is assigned first, and nothing is refunded."""

    order = starts_on(OrderPlaced)

    @step(kind="read_only")
    def assign(self) -> AssignDriver:
        return AssignDriver(order_id=self.order.order_id)

    @step(assign)
    def reserve(self, assigned: DriverAssigned) -> ReserveItems:
        return ReserveItems(order_id=self.order.order_id, items=self.order.items)

    @reserve.undo
    def release(self, reserved: ItemsReserved | None) -> ReleaseItems:
        return ReleaseItems(order_id=self.order.order_id, was_reserved=reserved is not None)
