"""``make demos``: does every demo reconcile? All of them in turn, on one Kafka; exits 1 when one does not."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from services.demo_kit.broker import kafka

SERVICES = Path(__file__).parent.parent
console = Console(width=None if sys.stdout.isatty() else 120)


def scenarios() -> list[str]:
    """The folders below ``services`` that have a demo."""
    demos = [*SERVICES.glob("*/demo.py"), *SERVICES.glob("*/demo/__main__.py")]
    return sorted({demo.relative_to(SERVICES).parts[0] for demo in demos})


async def play_all() -> int:
    results: list[tuple[str, int, float]] = []
    async with kafka(console) as servers:
        for name in scenarios():
            begun = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                f"services.{name}.demo",
                env=os.environ | {"ORCHESTRA_BOOTSTRAP_SERVERS": servers},
            )
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                process.send_signal(signal.SIGTERM)
                await process.wait()
                raise
            results.append((name, code, time.monotonic() - begun))
            console.print()
    show(results)
    return int(any(code for _, code, _ in results))


def show(results: list[tuple[str, int, float]]) -> None:
    view = Table(title="every demo", title_style="bold")
    for column in ("demo", "seconds", ""):
        view.add_column(column, justify="left" if column == "demo" else "right")
    for name, code, took in results:
        view.add_row(name, f"{took:.0f}", "[bold red]✗[/]" if code else "[green]✓[/]")
    console.print(view)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(play_all()))
    except KeyboardInterrupt:
        sys.exit(130)
