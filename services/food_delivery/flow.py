"""What happens to an order, and what undoes it?"""

from orchestra import Failure, Retry, Saga, on_compensated, on_completed, pivot, starts_on, step
from services.food_delivery.messages import (
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


class FoodOrder(Saga, name="food-order", version=1):
    """Reserve the items, charge the card, assign a driver; undo in reverse when one fails."""

    order = starts_on(OrderPlaced)

    @step(timeout="30s")
    def reserve(self) -> ReserveItems:
        return ReserveItems(order_id=self.order.order_id, items=self.order.items)

    @reserve.undo
    def release(self, reserved: ItemsReserved | None) -> ReleaseItems:
        return ReleaseItems(order_id=self.order.order_id)

    @step(reserve, timeout="30s", retry=Retry(attempts=3))
    def charge(self, reserved: ItemsReserved) -> ChargePayment:
        return ChargePayment(order_id=self.order.order_id, card=self.order.card, amount_cents=self.order.total_cents)

    @charge.undo
    def refund(self, charged: Charged | None) -> RefundPayment:
        return RefundPayment(order_id=self.order.order_id)

    @pivot(charge, timeout="5m")
    def assign(self, charged: Charged) -> AssignDriver:
        return AssignDriver(order_id=self.order.order_id, zone=self.order.zone)

    @on_completed(assign)
    def confirm(self, assigned: DriverAssigned) -> OrderConfirmed:
        return OrderConfirmed(
            order_id=self.order.order_id, driver_id=assigned.driver_id, total_cents=self.order.total_cents
        )

    @on_compensated
    def reject(self, failure: Failure) -> OrderRejected:
        return OrderRejected(order_id=self.order.order_id, reason=f"{failure.step}: {failure.reason}")
