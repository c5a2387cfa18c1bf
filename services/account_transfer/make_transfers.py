"""Who pays whom? ``python -m services.account_transfer.make_transfers`` writes ``transfers.jsonl``.

Rents and wages of a month. Some accounts run dry, some payees have closed theirs, and some orders are given twice.
"""

import json
import random
from pathlib import Path

from services.account_transfer.customers import CREDITORS, DEBTORS

TRANSFERS = Path(__file__).parent / "transfers.jsonl"


def lines(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    found: list[str] = []
    for number in range(1, count + 1):
        transfer = {
            "transfer_id": f"t-{number:04d}",
            "debtor": chance.choice(sorted(DEBTORS)),
            "creditor": chance.choice(sorted(CREDITORS)),
            "amount_cents": round(chance.lognormvariate(8.6, 0.8)),
        }
        found += [json.dumps(transfer)] * (2 if number % 40 == 0 else 1)
    return found


if __name__ == "__main__":
    TRANSFERS.write_text("\n".join(lines(360, seed=3)) + "\n")
