"""Who asks for money? ``python -m services.loan_processing.make_loans`` writes ``people.csv`` and ``loans.jsonl``.

Everybody asks once. Some requests come twice, and some are withdrawn right after.
"""

import csv
import io
import json
import random
from pathlib import Path

from services.loan_processing.messages import LoanRequested, WithdrawalRequested
from services.loan_processing.world import PEOPLE_FILE

LOANS = Path(__file__).parent / "loans.jsonl"
GIVEN = ("Amara", "Björn", "Chiara", "Dmitri", "Élise", "Farah", "Gökhan", "Hana", "Ines", "José", "Léa", "Mei")
FAMILY = ("Abebe", "Bauer", "Costa", "Dubois", "Eriksen", "Fischer", "García", "Haddad", "Ito", "Novák")
CLERKS = ("ann", "bea", "carl")


def people(count: int, seed: int) -> str:
    chance = random.Random(seed)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["name", "score", "monthly_income_eur", "is_suspicious", "account_is_open"])
    for name in _names(count, chance):
        table.writerow(
            [
                name,
                "" if chance.random() < 0.05 else chance.randrange(250, 900),
                "" if chance.random() < 0.07 else chance.randrange(1_400, 7_000, 50),
                "yes" if chance.random() < 0.06 else "no",
                "no" if chance.random() < 0.04 else "yes",
            ]
        )
    return text.getvalue()


def lines(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    found: list[str] = []
    for number, name in enumerate(_names(count, chance), start=1):
        loan = {
            "loan_id": f"loan-{number:04d}",
            "applicant": name,
            "amount_eur": chance.choice((1_000, 2_000, 3_000, 4_000, 5_000, 5_000, 24_000)),
            "clerk": chance.choice(CLERKS),
        }
        found += [json.dumps(loan, ensure_ascii=False)] * (2 if chance.random() < 0.05 else 1)
        if chance.random() < 0.06:
            found.append(json.dumps({"loan_id": loan["loan_id"], "withdrawn": True}))
    return found


def events() -> list[LoanRequested | WithdrawalRequested]:
    """What the lines of the file say."""
    return [
        WithdrawalRequested(loan_id=line["loan_id"]) if "withdrawn" in line else LoanRequested.model_validate(line)
        for line in map(json.loads, LOANS.read_text().splitlines())
    ]


def _names(count: int, chance: random.Random) -> list[str]:
    return chance.sample([f"{given} {family}" for given in GIVEN for family in FAMILY], count)


if __name__ == "__main__":
    PEOPLE_FILE.write_text(people(70, seed=8))
    LOANS.write_text("\n".join(lines(70, seed=8)) + "\n")
