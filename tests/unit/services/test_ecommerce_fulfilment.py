"""E-commerce fulfilment: both versions as stories, and orders of both on their way through the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

import orchestra
from orchestra import Coordinator, Flow
from orchestra.testing import run
from orchestra.testing.memory import published, running_in_memory
from services.demo_kit.reconcile import Books
from services.ecommerce_fulfilment import app, app_v1, carrier
from services.ecommerce_fulfilment.billing import billing
from services.ecommerce_fulfilment.demo import reconcile
from services.ecommerce_fulfilment.flow import Fulfilment
from services.ecommerce_fulfilment.flow_v1 import FulfilmentV1
from services.ecommerce_fulfilment.make_orders import ORDERS, lines
from services.ecommerce_fulfilment.messages import (
    Billed,
    BillOrder,
    CardDeclined,
    CardUnblocked,
    OrderCancelled,
    OrderFulfilled,
    OrderReceived,
    Picked,
    PickItems,
    PutBack,
    PutItemsBack,
    Refunded,
    RefundOrder,
    ShipParcel,
    Shipped,
    Undeliverable,
)
from services.ecommerce_fulfilment.stockroom import stockroom
from tests.unit.services.conftest import journal, operate, until

ORDER = OrderReceived(order_id="o-1", sku="lamp", quantity=2, total_cents=7800, card="card-1", city="Lyon")


@pytest.mark.parametrize("version", [FulfilmentV1, Fulfilment])
def test_both_versions_pick_bill_and_ship(version: type[Flow]) -> None:
    t = run(version, ORDER)

    t.expect(PickItems).reply(Picked(sku="lamp", quantity=2))
    t.expect(BillOrder).reply(Billed(total_cents=7800))
    t.expect(ShipParcel).reply(Shipped(parcel="p-1"))

    assert t.completed(OrderFulfilled).parcel == "p-1"


def test_version_1_halts_at_a_blocked_card_and_keeps_what_was_picked() -> None:
    t = run(FulfilmentV1, ORDER)
    t.expect(PickItems).reply(Picked(sku="lamp", quantity=2))

    t.expect(BillOrder).reject(CardDeclined(card="card-1"))

    t.halted()
    t.nothing_sent()
    t.retry()
    t.expect(BillOrder).reply(Billed(total_cents=7800))
    t.expect(ShipParcel)


def test_version_2_puts_back_what_was_picked() -> None:
    t = run(Fulfilment, ORDER)
    t.expect(PickItems).reply(Picked(sku="lamp", quantity=2))

    t.expect(BillOrder).reject(CardDeclined(card="card-1"))

    t.expect(PutItemsBack).reply(PutBack(quantity=2))
    t.compensated(OrderCancelled)


def test_version_2_refunds_what_cannot_be_delivered() -> None:
    t = run(Fulfilment, ORDER)
    t.expect(PickItems).reply(Picked(sku="lamp", quantity=2))
    t.expect(BillOrder).reply(Billed(total_cents=7800))

    t.expect(ShipParcel).reject(Undeliverable(city="Lyon"))

    t.expect(RefundOrder).reply(Refunded(total_cents=7800))
    t.expect(PutItemsBack).reply(PutBack(quantity=2))
    t.compensated(OrderCancelled)


def test_the_checked_in_orders_are_the_generated_ones() -> None:
    assert ORDERS.read_text().splitlines() == lines(330, seed=9)


@pytest.mark.parametrize("coordinator", [app_v1.fulfilment, app.fulfilment])
async def test_orders_of_either_version_add_up(
    data: Path, monkeypatch: pytest.MonkeyPatch, coordinator: Coordinator
) -> None:
    monkeypatch.setattr(carrier, "SHIPPING_SECONDS", 0)
    orders = {
        order.order_id: order for order in map(OrderReceived.model_validate_json, ORDERS.read_text().splitlines()[:30])
    }
    blocked = [order for order in orders.values() if order.card.startswith("card-blocked")]
    assert blocked

    parts = (stockroom, billing, carrier.carrier, coordinator)
    async with running_in_memory(*parts) as log, orchestra.connect(transport=log) as bus:
        await bus.publish(*orders.values())
        await until(lambda: len(published(log, OrderFulfilled)) == len(orders) - len(blocked))
        if coordinator is app_v1.fulfilment:
            await until(lambda: journal(log, coordinator).count('"status":"halted"') == len(blocked))
            await bus.publish(*(CardUnblocked(card=order.card) for order in blocked))
            await until(lambda: Books(data).number("billing", "select count(*) from unblocked") > 0)
            for order in blocked:
                await operate(log, coordinator, "retry", f"fulfilment/{order.order_id}")
            await until(lambda: len(published(log, OrderFulfilled)) == len(orders))
        else:
            await until(lambda: len(published(log, OrderCancelled)) == len(blocked))

    assert [finding for finding in reconcile(Books(data), orders) if not finding.holds] == []
