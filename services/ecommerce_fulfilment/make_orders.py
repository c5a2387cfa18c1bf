"""What is ordered? ``python -m services.ecommerce_fulfilment.make_orders`` writes ``orders.jsonl``.

Some cards are blocked. From the middle on, when the new version runs, some parcels go where no carrier goes.
"""

import json
import random
from pathlib import Path

from services.ecommerce_fulfilment.goods import BEYOND_REACH, BLOCKED_CARDS, CITIES, PRICE_CENTS

ORDERS = Path(__file__).parent / "orders.jsonl"


def lines(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    found: list[str] = []
    for number in range(1, count + 1):
        sku, quantity = chance.choice(sorted(PRICE_CENTS)), chance.choice((1, 1, 2, 4))
        is_blocked, is_far = chance.random() < 0.06, chance.random() < 0.06 and number > count * 0.7
        order = {
            "order_id": f"order-{number:04d}",
            "sku": sku,
            "quantity": quantity,
            "total_cents": PRICE_CENTS[sku] * quantity,
            "card": chance.choice(sorted(BLOCKED_CARDS)) if is_blocked else f"card-{number:04d}",
            "city": BEYOND_REACH if is_far else chance.choice(CITIES),
        }
        found.append(json.dumps(order, ensure_ascii=False))
    return found


if __name__ == "__main__":
    ORDERS.write_text("\n".join(lines(330, seed=9)) + "\n")
