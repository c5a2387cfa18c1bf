"""What must hold before an order is accepted? Three things, asked at the same time, or one after another."""

from orchestra import Failure, Saga, Undo, on_compensated, on_completed, starts_on, step
from services.order_validation.messages import (
    AssessRisk,
    AuthorizeCard,
    CardAuthorized,
    HoldStock,
    MailOrderReceived,
    OrderAccepted,
    OrderSubmitted,
    OrderTurnedDown,
)


class OrderValidation(Saga, name="order-validation", version=1):
    """Stock, card and fraud at the same time. The first that says no ends it; what the others did is undone."""

    order = starts_on(OrderSubmitted)

    @step(undo=Undo, timeout="1m")
    def hold(self) -> HoldStock:
        return HoldStock(order_id=self.order.order_id, sku=self.order.sku, quantity=self.order.quantity)

    @step(undo=Undo, timeout="1m")
    def authorize(self) -> AuthorizeCard:
        return AuthorizeCard(order_id=self.order.order_id, card=self.order.card, amount_cents=self.order.total_cents)

    @step(kind="read_only", timeout="1m")
    def assess(self) -> AssessRisk:
        return AssessRisk(order_id=self.order.order_id, country=self.order.country, amount_cents=self.order.total_cents)

    @on_completed(authorize)
    def accept(self, authorized: CardAuthorized) -> OrderAccepted:
        return OrderAccepted(order_id=self.order.order_id, authorization=authorized.authorization)

    @on_compensated
    def turn_down(self, failure: Failure) -> OrderTurnedDown:
        return OrderTurnedDown(order_id=self.order.order_id, reason=f"{failure.step}: {failure.reason}")


class MailOrderValidation(Saga, name="mail-order-validation", version=1):
    """The same three, one after another: simpler, kinder to the services, and as slow as all of them together."""

    order = starts_on(MailOrderReceived)

    @step(undo=Undo, timeout="1m")
    def hold(self) -> HoldStock:
        return HoldStock(order_id=self.order.order_id, sku=self.order.sku, quantity=self.order.quantity)

    @step(after=hold, undo=Undo, timeout="1m")
    def authorize(self) -> AuthorizeCard:
        return AuthorizeCard(order_id=self.order.order_id, card=self.order.card, amount_cents=self.order.total_cents)

    @step(after=authorize, kind="read_only", timeout="1m")
    def assess(self) -> AssessRisk:
        return AssessRisk(order_id=self.order.order_id, country=self.order.country, amount_cents=self.order.total_cents)

    @on_completed(authorize)
    def accept(self, authorized: CardAuthorized) -> OrderAccepted:
        return OrderAccepted(order_id=self.order.order_id, authorization=authorized.authorization)

    @on_compensated
    def turn_down(self, failure: Failure) -> OrderTurnedDown:
        return OrderTurnedDown(order_id=self.order.order_id, reason=f"{failure.step}: {failure.reason}")
