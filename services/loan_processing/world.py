"""What is so, whoever asks? People, what they earn, and what is known of them."""

import csv
from pathlib import Path
from typing import NamedTuple

PEOPLE_FILE = Path(__file__).parent / "people.csv"


class Person(NamedTuple):
    score: int | None
    """Of the bureau; None: it does not know them."""
    monthly_income_eur: int | None
    """None: they cannot prove it."""
    is_suspicious: bool
    account_is_open: bool


def _read(path: Path) -> dict[str, Person]:
    with path.open(newline="") as file:
        return {
            row["name"]: Person(
                score=int(row["score"]) if row["score"] else None,
                monthly_income_eur=int(row["monthly_income_eur"]) if row["monthly_income_eur"] else None,
                is_suspicious=row["is_suspicious"] == "yes",
                account_is_open=row["account_is_open"] == "yes",
            )
            for row in csv.DictReader(file)
        }


PEOPLE = _read(PEOPLE_FILE)

BUREAU_SECONDS, EMPLOYER_SECONDS, MODEL_SECONDS = 0.3, 0.6, 0.2
"""What a question to the bureau and to an employer, and a run of the model take."""
