"""``make demo-order-validation``: the same checks in parallel and in sequence, with the times beside each other.

Environment: see ``services/demo_kit/play.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import median

from services.demo_kit.play import play
from services.demo_kit.progress import Progress
from services.demo_kit.reconcile import Books, Finding, settle
from services.demo_kit.stage import Stage
from services.order_validation.make_orders import ORDERS
from services.order_validation.messages import MailOrderReceived, OrderSubmitted
from services.order_validation.rules import BLOCKED_CARDS, HIGHEST_RISK, STOCK, risk

APP = "services.order_validation.app"


async def demo(stage: Stage) -> list[Finding]:
    orders = [read_order(line) for line in ORDERS.read_text().splitlines()]
    async with stage.crew(APP, ["stock", "cards", "fraud"], coordinator="validation") as crew:
        stage.say(f"submitting {len(orders)} orders, by web and by mail in turns\n")
        await stage.submit(crew, orders, lambda order: order.order_id, per_second=12)
        findings = await settle(lambda: reconcile(Books(stage.data), orders))
        waiting = await stage.instances_waiting(f"{APP}:validation")
    return [
        *findings,
        *endings(stage.progress, orders),
        Finding("instances left waiting", 0, waiting),
        tell_speed(stage),
    ]


def read_order(line: str) -> OrderSubmitted:
    order = OrderSubmitted.model_validate_json(line)
    return MailOrderReceived(**order.model_dump()) if order.order_id.startswith("mail") else order


def is_fine(order: OrderSubmitted) -> bool:
    return (
        STOCK[order.sku] > 0
        and order.card not in BLOCKED_CARDS
        and risk(order.country, order.total_cents) <= HIGHEST_RISK
    )


def endings(progress: Progress, orders: Sequence[OrderSubmitted]) -> list[Finding]:
    fine = {order.order_id for order in orders if is_fine(order)}
    accepted, turned_down = progress.those("completed"), progress.those("compensated")
    return [
        Finding("orders accepted, as they should be", len(fine), len(accepted & fine)),
        Finding("orders turned down, as they should be", len(orders) - len(fine), len(turned_down - fine)),
    ]


def reconcile(books: Books, orders: Sequence[OrderSubmitted]) -> list[Finding]:
    """Only what was accepted holds stock and has an authorization."""
    fine = [order for order in orders if is_fine(order)]
    items = sum(order.quantity for order in fine)
    gone = sum(STOCK.values()) - books.number("stock", "select sum(available) from shelves")
    return [
        Finding("items held", items, books.number("stock", "select sum(quantity) from holds")),
        Finding("items gone from the shelves", items, gone),
        Finding("cards authorized", len(fine), books.number("cards", "select count(*) from authorizations")),
        Finding(
            "cents authorized",
            sum(order.total_cents for order in fine),
            books.number("cards", "select sum(amount_cents) from authorizations"),
        ),
    ]


def tell_speed(stage: Stage) -> Finding:
    """The medians of web orders (in parallel) and mail orders (in sequence), side by side."""
    progress = stage.progress

    def middle(kind: str, where: str) -> float:
        return median(progress.took(key) for key in progress.those(where) if key.startswith(kind))

    for what, where in (("accepted", "completed"), ("turned down", "compensated")):
        web, mail = middle("web", where), middle("mail", where)
        stage.say(f"{what}: in parallel {web:.2f} s, in sequence {mail:.2f} s: {mail / web:.1f} times as long")
    is_faster = middle("web", "completed") < middle("mail", "completed")
    return Finding("faster in parallel", 1, int(is_faster or bool(stage.killed)))  # waiting for a restart says nothing


if __name__ == "__main__":
    sys.exit(play("order validation", demo))
