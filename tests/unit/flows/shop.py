"""The messages and the saga that the tests of flows share: a food order of three steps."""

from __future__ import annotations

from typing import Never

from pydantic import BaseModel

from orchestra.events.message import Command, Event, Key
from orchestra.flows.failure import Failure
from orchestra.flows.saga import Saga, on_compensated, on_completed, pivot, starts_on, step
from orchestra.retry import Retry


class Item(BaseModel):
    sku: str
    quantity: int


class OrderPlaced(Event, type="shop.order.placed.v1", topic="shop.orders"):
    order_id: Key[str]
    items: list[Item]
    total_cents: int


class OrderConfirmed(Event, type="shop.order.confirmed.v1", topic="shop.orders"):
    order_id: Key[str]
    driver_id: str


class OrderRejected(Event, type="shop.order.rejected.v1", topic="shop.orders"):
    order_id: Key[str]
    reason: str


class ItemsReserved(Event, type="inventory.items.reserved.v1"):
    order_id: Key[str]


class OutOfStock(Event, type="inventory.items.out-of-stock.v1"):
    order_id: Key[str]
    sku: str


class ReserveItems(Command[ItemsReserved, OutOfStock], type="inventory.items.reserve.v1", topic="inventory.commands"):
    order_id: Key[str]
    items: list[Item]


class ItemsReleased(Event, type="inventory.items.released.v1"):
    order_id: Key[str]


class ReleaseItems(Command[ItemsReleased, Never], type="inventory.items.release.v1", topic="inventory.commands"):
    order_id: Key[str]
    was_reserved: bool


class Charged(Event, type="payments.payment.charged.v1"):
    order_id: Key[str]
    amount_cents: int


class CardDeclined(Event, type="payments.payment.declined.v1"):
    order_id: Key[str]
    reason: str


class ChargePayment(Command[Charged, CardDeclined], type="payments.payment.charge.v1", topic="payments.commands"):
    order_id: Key[str]
    amount_cents: int


class Refunded(Event, type="payments.payment.refunded.v1"):
    order_id: Key[str]


class RefundImpossible(Event, type="payments.payment.refund-impossible.v1"):
    order_id: Key[str]


class RefundPayment(Command[Refunded, RefundImpossible], type="payments.payment.refund.v1", topic="payments.commands"):
    order_id: Key[str]
    amount_cents: int | None


class DriverAssigned(Event, type="dispatch.driver.assigned.v1"):
    order_id: Key[str]
    driver_id: str


class NoDriverFree(Event, type="dispatch.driver.none-free.v1"):
    order_id: Key[str]


class AssignDriver(Command[DriverAssigned, NoDriverFree], type="dispatch.driver.assign.v1", topic="dispatch.commands"):
    order_id: Key[str]


class FoodOrder(Saga, name="food-order", version=1):
    """Reserve the items, charge the card, assign a driver; undo in reverse when one fails."""

    order = starts_on(OrderPlaced)

    @step(timeout="30s")
    def reserve(self) -> ReserveItems:
        return ReserveItems(order_id=self.order.order_id, items=self.order.items)

    @reserve.undo
    def release(self, reserved: ItemsReserved | None) -> ReleaseItems:
        return ReleaseItems(order_id=self.order.order_id, was_reserved=reserved is not None)

    @step(reserve, timeout="30s", retry=Retry(attempts=3))
    def charge(self, reserved: ItemsReserved) -> ChargePayment:
        return ChargePayment(order_id=reserved.order_id, amount_cents=self.order.total_cents)

    @charge.undo(retry=Retry(attempts=2, first="1s"), timeout="20s")
    def refund(self, charged: Charged | None) -> RefundPayment:
        return RefundPayment(order_id=self.order.order_id, amount_cents=charged and charged.amount_cents)

    @pivot(charge, timeout="5m")
    def assign(self, charged: Charged) -> AssignDriver:
        return AssignDriver(order_id=charged.order_id)

    @on_completed(assign)
    def confirm(self, assigned: DriverAssigned) -> OrderConfirmed:
        return OrderConfirmed(order_id=assigned.order_id, driver_id=assigned.driver_id)

    @on_compensated
    def reject(self, failure: Failure) -> OrderRejected:
        return OrderRejected(order_id=self.order.order_id, reason=f"{failure.step}: {failure.reason}")


PLACED = OrderPlaced(order_id="o-1", items=[Item(sku="ramen", quantity=2)], total_cents=2500)
