"""``python -m bench``: measure everything, print a table, write it down. Exits 1 when a target is missed."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console

from bench import (
    consuming,
    decisions,
    idle,
    keys,
    latency,
    machines,
    many,
    memory,
    orders,
    publishing,
    raw,
    sagas,
    simulation,
    slow,
    takeover,
)
from bench.bench import Bench
from bench.broker import kafka
from bench.figures import Figure
from bench.hardware import hardware
from bench.report import save, show

Measurement = Callable[[Bench], Awaitable[list[Figure]]]

MEASUREMENTS: dict[str, Measurement] = {
    "raw": raw.round_trips,
    "floor": raw.floor,
    "consuming": consuming.consuming,
    "publishing": publishing.publishing,
    "slow": slow.slow,
    "latency": latency.latencies,
    "keys": keys.keys,
    "idle": idle.idle,
    "decide": decisions.decisions,
    "machines": machines.machines,
    "sagas": sagas.sagas,
    "for-each": many.many,
    "orders": orders.orders,
    "takeover": takeover.takeover,
    "memory": memory.memory,
    "simulation": simulation.simulation,
}
BY_NAME_ONLY: dict[str, Measurement] = {"pace": consuming.pace}
"""Parts of others, for whoever works on one thing."""


def main() -> int:
    arguments = _arguments()
    console = Console(width=None if sys.stdout.isatty() else 130)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # its processes end with it
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a new topic has no leader for a moment
    machine = hardware()
    folder = Path(tempfile.mkdtemp(prefix="orchestra-bench-"))
    try:
        with kafka(folder, console) as servers:
            bench = Bench(servers, folder, console, quick=arguments.quick)
            figures = asyncio.run(measure(bench, arguments.only or list(MEASUREMENTS)))
            if bench.quick:
                figures = [
                    figure.unjudged() if figure.unit in ("ms", "/s", "times", "%") else figure for figure in figures
                ]
    except KeyboardInterrupt:
        console.print("\n[yellow]stopped; nothing is left running[/]")
        return 130
    finally:
        if arguments.keep:
            console.print(f"logs: {folder}", markup=False)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    show(figures, console)
    console.print(f"written to {save(figures, quick=arguments.quick, machine=machine)}", markup=False)
    return 1 if any(figure.holds is False for figure in figures) else 0


async def measure(bench: Bench, names: list[str]) -> list[Figure]:
    figures: list[Figure] = []
    for name in names:
        bench.say(name)
        try:
            figures += await (MEASUREMENTS | BY_NAME_ONLY)[name](bench)
        except Exception as error:  # the others still count
            bench.console.print(f"[bold red]{name} failed[/]: {error!r}")
            figures.append(Figure(f"{name}: failures", 1, "", 0, note=type(error).__name__))
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=[*MEASUREMENTS, *BY_NAME_ONLY], help="may be repeated; default: all"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: to try the bench")
    parser.add_argument("--keep", action="store_true", help="keep the processes' logs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
