"""What do the flow, in both its versions, and its three services say to each other?"""

from typing import Never

from pydantic import Field

from orchestra import Command, Event, Key


class OrderReceived(Event, type="ecommerce.order.received.v1", topic="ecommerce.orders"):
    order_id: Key[str]
    sku: str
    quantity: int = Field(ge=1)
    total_cents: int = Field(ge=1)
    card: str
    city: str


class OrderFulfilled(Event, type="ecommerce.order.fulfilled.v1", topic="ecommerce.orders"):
    order_id: Key[str]
    parcel: str


class OrderCancelled(Event, type="ecommerce.order.cancelled.v1", topic="ecommerce.orders"):
    order_id: Key[str]
    reason: str


# stockroom


class Picked(Event, type="stockroom.items.picked.v1"):
    sku: str
    quantity: int


class NotInStock(Event, type="stockroom.items.not-in-stock.v1"):
    sku: str


class PickItems(Command[Picked, NotInStock], type="stockroom.items.pick.v1", topic="stockroom.commands"):
    order_id: Key[str]
    sku: str
    quantity: int


class PutBack(Event, type="stockroom.items.put-back.v1"):
    quantity: int


class PutItemsBack(Command[PutBack, Never], type="stockroom.items.return.v1", topic="stockroom.commands"):
    order_id: Key[str]


# billing


class Billed(Event, type="billing.order.billed.v1"):
    total_cents: int


class CardDeclined(Event, type="billing.card.declined.v1"):
    card: str


class BillOrder(Command[Billed, CardDeclined], type="billing.order.bill.v1", topic="billing.commands"):
    order_id: Key[str]
    card: str
    total_cents: int


class Refunded(Event, type="billing.order.refunded.v1"):
    total_cents: int


class RefundOrder(Command[Refunded, Never], type="billing.order.refund.v1", topic="billing.commands"):
    order_id: Key[str]


class CardUnblocked(Event, type="billing.card.unblocked.v1", topic="billing.cards"):
    """The customer has spoken with the bank."""

    card: Key[str]


# carrier


class Shipped(Event, type="carrier.parcel.shipped.v1"):
    parcel: str


class Undeliverable(Event, type="carrier.parcel.undeliverable.v1"):
    city: str


class ShipParcel(Command[Shipped, Undeliverable], type="carrier.parcel.ship.v1", topic="carrier.commands"):
    order_id: Key[str]
    city: str
