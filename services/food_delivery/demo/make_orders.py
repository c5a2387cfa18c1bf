"""What do the customers order? ``python -m services.food_delivery.demo.make_orders > .../orders.jsonl`` writes it.

Each line is one CloudEvent as a shop's web front would submit it. Most are fine. Among them are cards that will be
declined, items that sell out, a zone whose drivers are soon busy, orders submitted twice, orders resubmitted with
another total, one line that is cut off, and one event of a type that nobody here knows.
"""

import json
import random
import sys
from typing import Any

from services.food_delivery.catalogue import DECLINED_CARDS, PRICE_CENTS

Line = dict[str, Any]
ZONES = ("centre",) * 7 + ("north",) * 5 + ("south",) * 5 + ("harbour",) * 3
COMMON: tuple[str, ...] = ("margherita", "ramen", "falafel", "green-curry")


def cloud_event(number: int, data: Line, *, kind: str = "shop.order.placed.v1", again: str = "") -> Line:
    return {
        "specversion": "1.0",
        "id": f"web-{number:04d}{again}",
        "source": "/shop/web",
        "type": kind,
        "subject": data.get("order_id", ""),
        "datacontenttype": "application/json",
        "data": data,
    }


def order(number: int, chance: random.Random) -> Line:
    skus = chance.sample(COMMON, chance.choice((1, 1, 2, 3)))
    if chance.random() < 0.09:
        skus.append("lobster-roll")
    wanted = {sku: chance.choice((1, 1, 2)) for sku in skus}
    card = chance.choice(sorted(DECLINED_CARDS)) if chance.random() < 0.07 else f"card-{number:04d}"
    return {
        "order_id": f"order-{number:04d}",
        "items": [{"sku": sku, "quantity": quantity} for sku, quantity in wanted.items()],
        "total_cents": sum(PRICE_CENTS[sku] * quantity for sku, quantity in wanted.items()),
        "card": card,
        "zone": chance.choice(ZONES),
    }


def lines(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    events: list[Line] = []
    for number in range(1, count + 1):
        data = order(number, chance)
        events.append(cloud_event(number, data))
        if number % 40 == 0:  # the network sent it twice
            events.append(events[-1])
        if number % 55 == 0:  # the customer pressed twice: another event, the same order
            events.append(cloud_event(number, data, again="-again"))
        if number in (100, 200):  # the same order number, but another content
            events.append(cloud_event(number, data | {"total_cents": 1}, again="-changed"))
        if number == 150:
            viewed = {"order_id": "order-0150", "page": "/menu"}
            events.append(cloud_event(9001, viewed, kind="shop.menu.viewed.v1"))
    text = [json.dumps(event, separators=(",", ":")) for event in events]
    cut_off = json.dumps(cloud_event(9002, order(9002, chance)), separators=(",", ":"))
    text.insert(len(text) // 3, cut_off[: len(cut_off) * 2 // 3])
    return text


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines(320, seed=20)) + "\n")
