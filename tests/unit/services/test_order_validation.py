"""Order validation: both flows as stories, the handlers by themselves, and orders on their way through the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

import orchestra
from orchestra import Done, Undo
from orchestra.testing import run
from orchestra.testing.memory import published, running_in_memory
from services.demo_kit.reconcile import Books
from services.order_validation import cards, fraud, stock
from services.order_validation.app import app
from services.order_validation.demo import is_fine, read_order, reconcile
from services.order_validation.flow import MailOrderValidation, OrderValidation
from services.order_validation.make_orders import ORDERS, lines
from services.order_validation.messages import (
    AssessRisk,
    AuthorizeCard,
    CardAuthorized,
    CardRefused,
    HoldStock,
    MailOrderReceived,
    OrderAccepted,
    OrderSubmitted,
    OrderTurnedDown,
    RiskAcceptable,
    RiskTooHigh,
    StockHeld,
)
from tests.unit.services.conftest import until

ORDER = OrderSubmitted(order_id="o-1", sku="lamp", quantity=2, total_cents=11800, card="card-1", country="DE")
HELD = StockHeld(sku="lamp", quantity=2)


def test_all_three_are_asked_at_the_same_time() -> None:
    t = run(OrderValidation, ORDER)

    hold, authorize, assess = t.expect(HoldStock), t.expect(AuthorizeCard), t.expect(AssessRisk)
    assess.reply(RiskAcceptable(score=3))
    authorize.reply(CardAuthorized(authorization="a-1"))
    hold.reply(HELD)

    assert t.completed(OrderAccepted).authorization == "a-1"


def test_one_no_ends_it_and_undoes_the_others() -> None:
    t = run(OrderValidation, ORDER)
    hold, authorize = t.expect(HoldStock), t.expect(AuthorizeCard)
    t.expect(AssessRisk)  # it only looks: nobody waits for it
    hold.reply(HELD)

    authorize.reject(CardRefused(reason="card-1 is blocked"))

    t.expect(Undo[HoldStock]).reply(Done())
    assert t.compensated(OrderTurnedDown).reason == "authorize: rejected: CardRefused"


def test_a_hold_that_is_still_under_way_is_awaited_then_undone() -> None:
    t = run(OrderValidation, ORDER)
    hold, authorize, assess = t.expect(HoldStock), t.expect(AuthorizeCard), t.expect(AssessRisk)
    authorize.reply(CardAuthorized(authorization="a-1"))

    assess.reject(RiskTooHigh(score=99))
    t.nothing_sent()
    hold.reply(HELD)

    t.expect(Undo[HoldStock]).reply(Done())
    t.expect(Undo[AuthorizeCard]).reply(Done())
    t.compensated(OrderTurnedDown)


def test_a_mail_order_is_asked_about_one_after_another() -> None:
    t = run(MailOrderValidation, MailOrderReceived(**ORDER.model_dump()))

    hold = t.expect(HoldStock)
    t.nothing_sent()
    hold.reply(HELD)
    t.expect(AuthorizeCard).reply(CardAuthorized(authorization="a-1"))
    t.expect(AssessRisk).reply(RiskAcceptable(score=3))

    t.completed(OrderAccepted)


async def test_risk_grows_with_country_and_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fraud, "MODEL_SECONDS", 0)

    assert await fraud.assess_risk(AssessRisk(order_id="o", country="DE", amount_cents=10_000)) == RiskAcceptable(
        score=10
    )
    assert await fraud.assess_risk(AssessRisk(order_id="o", country="XX", amount_cents=30_000)) == RiskTooHigh(score=75)


def test_the_checked_in_orders_are_the_generated_ones_and_of_every_kind() -> None:
    orders = [read_order(line) for line in ORDERS.read_text().splitlines()]

    assert ORDERS.read_text().splitlines() == lines(240, seed=7)
    assert {(type(order), is_fine(order)) for order in orders} == {
        (kind, fine) for kind in (OrderSubmitted, MailOrderReceived) for fine in (True, False)
    }


async def test_orders_go_through_and_only_accepted_ones_hold_anything(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, wait in ((stock, "SHELF_SECONDS"), (cards, "BANK_SECONDS"), (fraud, "MODEL_SECONDS")):
        monkeypatch.setattr(module, wait, 0)
    orders = [read_order(line) for line in ORDERS.read_text().splitlines()[:40]]
    assert 0 < sum(map(is_fine, orders)) < len(orders)

    async with running_in_memory(app) as log, orchestra.connect(transport=log) as bus:
        await bus.publish(*orders)
        await until(lambda: len(published(log, OrderAccepted)) + len(published(log, OrderTurnedDown)) == len(orders))

    assert [finding for finding in reconcile(Books(data), orders) if not finding.holds] == []
