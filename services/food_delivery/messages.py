"""What do the four services say to each other?"""

from typing import Never

from pydantic import BaseModel, Field

from orchestra import Command, Event, Key


class Item(BaseModel):
    sku: str = Field(min_length=1)
    quantity: int = Field(ge=1)


# orders: the events that customers and the flow publish, all of one order under one key.


class OrderPlaced(Event, type="shop.order.placed.v1", topic="shop.orders"):
    order_id: Key[str]
    items: list[Item] = Field(min_length=1)
    total_cents: int = Field(ge=1)
    card: str
    zone: str


class OrderConfirmed(Event, type="shop.order.confirmed.v1", topic="shop.orders"):
    order_id: Key[str]
    driver_id: str
    total_cents: int


class OrderRejected(Event, type="shop.order.rejected.v1", topic="shop.orders"):
    order_id: Key[str]
    reason: str


# inventory


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


# payments


class Charged(Event, type="payments.payment.charged.v1"):
    order_id: Key[str]
    amount_cents: int


class CardDeclined(Event, type="payments.payment.declined.v1"):
    order_id: Key[str]
    reason: str


class ChargePayment(Command[Charged, CardDeclined], type="payments.payment.charge.v1", topic="payments.commands"):
    order_id: Key[str]
    card: str
    amount_cents: int


class Refunded(Event, type="payments.payment.refunded.v1"):
    order_id: Key[str]
    amount_cents: int


class RefundPayment(Command[Refunded, Never], type="payments.payment.refund.v1", topic="payments.commands"):
    order_id: Key[str]


# dispatch


class DriverAssigned(Event, type="dispatch.driver.assigned.v1"):
    order_id: Key[str]
    driver_id: str


class NoDriverFree(Event, type="dispatch.driver.none-free.v1"):
    order_id: Key[str]
    zone: str


class AssignDriver(Command[DriverAssigned, NoDriverFree], type="dispatch.driver.assign.v1", topic="dispatch.commands"):
    order_id: Key[str]
    zone: str
