"""How is an order fulfilled, and what undoes it?"""

from orchestra import Failure, Retry, Saga, on_compensated, on_completed, pivot, starts_on, step
from services.ecommerce_fulfilment.messages import (
    Billed,
    BillOrder,
    OrderCancelled,
    OrderFulfilled,
    OrderReceived,
    Picked,
    PickItems,
    PutItemsBack,
    RefundOrder,
    ShipParcel,
    Shipped,
)

TRIES = Retry(attempts=5)


class Fulfilment(Saga, name="fulfilment", version=2):
    """Pick, bill, ship. What fails is undone: the money goes back, and so do the items."""

    order = starts_on(OrderReceived)

    @step(timeout="20s", retry=TRIES)
    def pick(self) -> PickItems:
        return PickItems(order_id=self.order.order_id, sku=self.order.sku, quantity=self.order.quantity)

    @pick.undo
    def put_back(self, picked: Picked | None) -> PutItemsBack:
        return PutItemsBack(order_id=self.order.order_id)

    @step(pick, timeout="20s", retry=TRIES)
    def bill(self, picked: Picked) -> BillOrder:
        return BillOrder(order_id=self.order.order_id, card=self.order.card, total_cents=self.order.total_cents)

    @bill.undo
    def refund(self, billed: Billed | None) -> RefundOrder:
        return RefundOrder(order_id=self.order.order_id)

    @pivot(bill, timeout="20s")
    def ship(self, billed: Billed) -> ShipParcel:
        return ShipParcel(order_id=self.order.order_id, city=self.order.city)

    @on_completed(ship)
    def tell(self, shipped: Shipped) -> OrderFulfilled:
        return OrderFulfilled(order_id=self.order.order_id, parcel=shipped.parcel)

    @on_compensated
    def apologise(self, failure: Failure) -> OrderCancelled:
        return OrderCancelled(order_id=self.order.order_id, reason=f"{failure.step}: {failure.reason}")
