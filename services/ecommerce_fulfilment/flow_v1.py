"""How was an order fulfilled before? Kept as it was, until its last instance has ended."""

from orchestra import Flow, Retry, on_completed, starts_on, step
from services.ecommerce_fulfilment.messages import (
    Billed,
    BillOrder,
    OrderFulfilled,
    OrderReceived,
    Picked,
    PickItems,
    ShipParcel,
    Shipped,
)

TRIES = Retry(attempts=5)


class FulfilmentV1(Flow, name="fulfilment", version=1):
    """Pick, bill, ship. What fails halts, and somebody must see to it; what was picked until then stays picked."""

    order = starts_on(OrderReceived)

    @step(timeout="20s", retry=TRIES)
    def pick(self) -> PickItems:
        return PickItems(order_id=self.order.order_id, sku=self.order.sku, quantity=self.order.quantity)

    @step(pick, timeout="20s", retry=TRIES)
    def bill(self, picked: Picked) -> BillOrder:
        return BillOrder(order_id=self.order.order_id, card=self.order.card, total_cents=self.order.total_cents)

    @step(bill, timeout="20s", retry=TRIES)
    def ship(self, billed: Billed) -> ShipParcel:
        return ShipParcel(order_id=self.order.order_id, city=self.order.city)

    @on_completed(ship)
    def tell(self, shipped: Shipped) -> OrderFulfilled:
        return OrderFulfilled(order_id=self.order.order_id, parcel=shipped.parcel)
