"""Who registers? ``python -m services.user_registration.make_users`` writes ``users.jsonl``."""

import json
import random
from pathlib import Path

USERS = Path(__file__).parent / "users.jsonl"
GIVEN = (
    *("Amara", "Björn", "Chiara", "Dmitri", "Élise", "Farah", "Gökhan", "Hana", "Ines", "José"),
    *("Kwame", "Léa", "Mei", "Nuno", "Olga", "Priya", "Rui", "Søren", "Tomás", "Yuki"),
)
FAMILY = (
    *("Abebe", "Bauer", "Costa", "Dubois", "Eriksen", "Fischer", "García", "Haddad"),
    *("Ito", "Jansen", "Kowalska", "Lindqvist", "Moreau", "Novák", "Okafor"),
)
COUNTRIES = ("DE", "FR", "PT", "SE", "JP", "NG", "CZ", "ES")


def lines(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    found: list[str] = []
    for number in range(1, count + 1):
        name = f"{chance.choice(GIVEN)} {chance.choice(FAMILY)}"
        user = {
            "user_id": f"user-{number:04d}",
            "name": name,
            "email": f"user{number}@example.org",
            "country": chance.choice(COUNTRIES),
        }
        found.append(json.dumps(user, ensure_ascii=False))
    return found


if __name__ == "__main__":
    USERS.write_text("\n".join(lines(300, seed=5)) + "\n")
