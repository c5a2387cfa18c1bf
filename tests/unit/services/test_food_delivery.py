"""Food delivery: the saga as a story, and orders on their way through the whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import orchestra
from orchestra.testing import run
from orchestra.testing.memory import published, running_in_memory
from services.demo_kit.reconcile import Books
from services.food_delivery.app import app
from services.food_delivery.catalogue import DRIVERS, STOCK
from services.food_delivery.demo.reconcile import reconcile
from services.food_delivery.flow import FoodOrder
from services.food_delivery.messages import (
    AssignDriver,
    Charged,
    ChargePayment,
    DriverAssigned,
    Item,
    ItemsReleased,
    ItemsReserved,
    NoDriverFree,
    OrderConfirmed,
    OrderPlaced,
    OrderRejected,
    OutOfStock,
    Refunded,
    RefundPayment,
    ReleaseItems,
    ReserveItems,
)
from tests.unit.services.conftest import until

ORDERS = Path(__file__).parents[3] / "services" / "food_delivery" / "orders.jsonl"
PLACED = OrderPlaced(
    order_id="o-1", items=[Item(sku="ramen", quantity=2)], total_cents=2500, card="card-1", zone="harbour"
)


def test_an_order_is_confirmed_with_its_driver() -> None:
    t = run(FoodOrder, PLACED)

    t.expect(ReserveItems).reply(ItemsReserved(order_id="o-1"))
    t.expect(ChargePayment).reply(Charged(order_id="o-1", amount_cents=2500))
    t.expect(AssignDriver).reply(DriverAssigned(order_id="o-1", driver_id="gus"))

    assert t.completed(OrderConfirmed).driver_id == "gus"


def test_without_a_driver_the_money_goes_back() -> None:
    t = run(FoodOrder, PLACED)
    t.expect(ReserveItems).reply(ItemsReserved(order_id="o-1"))
    t.expect(ChargePayment).reply(Charged(order_id="o-1", amount_cents=2500))

    t.expect(AssignDriver).reject(NoDriverFree(order_id="o-1", zone="harbour"))

    t.expect(RefundPayment).reply(Refunded(order_id="o-1", amount_cents=2500))
    t.expect(ReleaseItems).reply(ItemsReleased(order_id="o-1"))
    assert t.compensated(OrderRejected).reason == "assign: rejected: NoDriverFree"


def test_without_the_items_nobody_is_charged() -> None:
    t = run(FoodOrder, PLACED)

    t.expect(ReserveItems).reject(OutOfStock(order_id="o-1", sku="ramen"))

    t.compensated(OrderRejected)
    t.nothing_sent()


async def test_every_cent_and_every_item_is_accounted_for(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STOCK, "lobster-roll", 1)
    monkeypatch.setitem(DRIVERS, "harbour", {"gus": 2})
    events = [json.loads(line) for line in ORDERS.read_text().splitlines()[:36]]
    orders = [OrderPlaced.model_validate(event["data"]) for event in events]
    placed = {order.order_id for order in orders}

    async with running_in_memory(app) as log, orchestra.connect(transport=log) as bus:
        await bus.publish(*orders)
        await until(lambda: len(published(log, OrderConfirmed)) + len(published(log, OrderRejected)) == len(placed))
        why = {one.reason for one in published(log, OrderRejected)}
        await until(lambda: all(finding.holds for finding in reconcile(Books(data), placed)))

    assert {"assign: rejected: NoDriverFree", "reserve: rejected: OutOfStock", "charge: rejected: CardDeclined"} <= why
