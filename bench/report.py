"""Where do the figures go? Onto the screen as a table, and into ``bench/results/`` as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.figures import Figure
from bench.hardware import commit

RESULTS = Path(__file__).parent / "results"


def show(figures: Sequence[Figure], console: Console) -> None:
    table = Table(title="measured", title_style="bold")
    table.add_column("what")
    for column in ("measured", "target", ""):
        table.add_column(column, justify="right")
    table.add_column("note", style="dim")
    for figure in figures:
        table.add_row(figure.name, amount(figure.value, figure.unit), _target(figure), _mark(figure.holds), figure.note)
    console.print()
    console.print(table)


def save(figures: Sequence[Figure], *, quick: bool, machine: dict[str, object]) -> Path:
    at = datetime.now(UTC)
    result = {
        "at": at.isoformat(timespec="seconds"),
        "commit": commit(),
        "quick": quick,
        "hardware": machine,
        "figures": [asdict(figure) | {"holds": figure.holds} for figure in figures],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{at:%Y-%m-%dT%H%M%S}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    return path


def amount(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}"


def _target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    return f"{'≤' if figure.better == 'lower' else '≥'} {figure.target:,g} {figure.unit}"


def _mark(holds: bool | None) -> str:
    return {None: "", True: "[green]✓[/]", False: "[bold red]✗[/]"}[holds]
