"""What is ordered? ``python -m services.order_validation.make_orders`` writes ``orders.jsonl``.

Web and mail orders by turns. Some want what is sold out, some pay with a blocked card, some are too risky; a few have
more than one of these.
"""

import json
import random
from pathlib import Path

PRICES = {"kettle": 3900, "lamp": 5900, "rug": 24900, "clock": 8900, "gramophone": 31900}
SKUS = ("kettle",) * 6 + ("lamp",) * 6 + ("rug",) * 3 + ("clock",) * 4 + ("gramophone",)
CARDS = ("",) * 18 + ("card-stolen", "card-empty")
COUNTRIES = ("DE",) * 7 + ("FR",) * 5 + ("GB",) * 3 + ("US",) * 4 + ("XX",)
ORDERS = Path(__file__).parent / "orders.jsonl"


def lines(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    found: list[str] = []
    for number in range(1, count + 1):
        sku, quantity = chance.choice(SKUS), chance.choice((1, 1, 1, 2))
        order = {
            "order_id": f"{'web' if number % 2 else 'mail'}-{number:04d}",
            "sku": sku,
            "quantity": quantity,
            "total_cents": PRICES[sku] * quantity,
            "card": chance.choice(CARDS) or f"card-{number:04d}",
            "country": chance.choice(COUNTRIES),
        }
        found.append(json.dumps(order))
    return found


if __name__ == "__main__":
    ORDERS.write_text("\n".join(lines(240, seed=7)) + "\n")
