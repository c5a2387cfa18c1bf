"""How do figures get into the docs? ``python -m bench.markdown [results.json]``: the newest ones, as a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.report import RESULTS, amount


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    machine = result["hardware"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    yield (
        f"{machine['cores']} cores ({machine['cpu']}), {machine['system']}, Python {machine['python']}, {versions};"
        f" commit {result['commit']}; load before: {machine['load_before'][0]}"
    )
    yield ""
    yield "| what | figure | target | |"
    yield "|---|---|---|---|"
    for each in result["figures"]:
        sign = "≤" if each["better"] == "lower" else "≥"
        target = "" if each["target"] is None else f"{sign} {each['target']:,g}{'' if each['holds'] else ' (missed)'}"
        yield f"| {each['name']} | {amount(each['value'], each['unit'])} | {target} | {each['note']} |"


def main() -> None:
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else max(RESULTS.glob("*.json"))
    print("\n".join(lines(json.loads(given.read_text()))))


if __name__ == "__main__":
    main()
