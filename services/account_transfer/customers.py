"""Who has an account where, and with how much?"""

DEBTORS: dict[str, int] = {f"DE-{number:03d}": 50_000 + 1_000 * number for number in range(1, 31)}

CREDITORS: dict[str, int] = {f"FR-{number:03d}": 0 for number in range(1, 26)}

CLOSED: frozenset[str] = frozenset({"FR-024", "FR-025"})
