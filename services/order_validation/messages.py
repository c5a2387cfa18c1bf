"""What do the flows and their three services say to each other?"""

from pydantic import Field

from orchestra import Command, Event, Key


class OrderSubmitted(Event, type="validation.order.submitted.v1", topic="validation.orders"):
    """An order of the web shop: somebody waits for the answer."""

    order_id: Key[str]
    sku: str
    quantity: int = Field(ge=1)
    total_cents: int = Field(ge=1)
    card: str
    country: str


class MailOrderReceived(OrderSubmitted, type="validation.mail-order.received.v1", topic="validation.orders"):
    """The same, by mail: nobody is in a hurry."""


class OrderAccepted(Event, type="validation.order.accepted.v1", topic="validation.orders"):
    order_id: Key[str]
    authorization: str


class OrderTurnedDown(Event, type="validation.order.turned-down.v1", topic="validation.orders"):
    order_id: Key[str]
    reason: str


# stock


class StockHeld(Event, type="stock.items.held.v1"):
    sku: str
    quantity: int


class StockShort(Event, type="stock.items.short.v1"):
    sku: str


class HoldStock(Command[StockHeld, StockShort], type="stock.items.hold.v1", topic="stock.commands"):
    order_id: Key[str]
    sku: str
    quantity: int


# cards


class CardAuthorized(Event, type="cards.card.authorized.v1"):
    authorization: str


class CardRefused(Event, type="cards.card.refused.v1"):
    reason: str


class AuthorizeCard(Command[CardAuthorized, CardRefused], type="cards.card.authorize.v1", topic="cards.commands"):
    order_id: Key[str]
    card: str
    amount_cents: int


# fraud


class RiskAcceptable(Event, type="fraud.risk.acceptable.v1"):
    score: int


class RiskTooHigh(Event, type="fraud.risk.too-high.v1"):
    score: int


class AssessRisk(Command[RiskAcceptable, RiskTooHigh], type="fraud.risk.assess.v1", topic="fraud.commands"):
    order_id: Key[str]
    country: str
    amount_cents: int
