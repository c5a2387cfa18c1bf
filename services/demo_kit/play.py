"""How does a demo run, from a fresh Kafka to the exit code?

Environment of every demo: ``KILL=1`` (processes are killed with -9 on the way, and started again), ``DEMO_KILLS`` (how
many; default 2), ``DEMO_SEED`` (who, and when; default 1), ``DEMO_RATE`` (records a second), ``DEMO_KEEP=1`` (leave
Kafka running).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

from rich.console import Console
from rich.markup import escape

from orchestra import OrchestraError
from services.demo_kit.broker import CLUSTER, kafka
from services.demo_kit.progress import Progress
from services.demo_kit.reconcile import Finding, table
from services.demo_kit.stage import Stage

Demo = Callable[[Stage], Awaitable[Sequence[Finding]]]
console = Console(width=None if sys.stdout.isatty() else 120)


def play(title: str, demo: Demo, *, kill: bool = False) -> int:
    """Run a demo; 0 when everything that it compares is equal, 1 when not, 130 when it was stopped.

    Args:
        kill: whether processes are killed also without ``KILL=1``.
    """
    try:
        return asyncio.run(_play(title, demo, kill))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("\n[yellow]stopped; nothing is left running[/]")
        return 130
    except OrchestraError as error:  # no Kafka to be had, most likely: its text says what to do
        console.print(f"[red]{escape(str(error))}[/]")
        return 1


async def _play(title: str, demo: Demo, kill: bool) -> int:
    begun = time.monotonic()
    _stop_on_signals()
    console.print(f"[bold]orchestra demo: {title}[/]\n")
    async with kafka(console) as servers:
        stage = Stage(title, servers, console, kill=kill)
        findings = await demo(stage)
        holds = all(finding.holds for finding in findings)
        console.print()
        console.print(table(findings))
        _tell_times(stage.progress)
        killed = f"killed with -9: {', '.join(stage.killed)}" if stage.killed else "nobody was killed: KILL=1 does it"
        console.print(f"{time.monotonic() - begun:.0f} s in all; {killed}")
        if holds:
            console.print("[bold green]everything adds up[/]")
        else:
            console.print("[bold red]something does not add up: see the rows marked ✗[/]")
        console.print(f"[dim]{stage.folder}/logs has each process's log, {stage.data} the databases[/]")
        if os.environ.get("DEMO_KEEP"):
            console.print(f"Kafka still runs at {servers}; end it with: orchestra kafka down --name {CLUSTER}")
    return 0 if holds else 1


def _stop_on_signals() -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def _tell_times(progress: Progress) -> None:
    for where in sorted(set(progress.standing.values())):
        if latencies := progress.latencies(where):
            p50, p99 = (latencies[int(len(latencies) * part)] * 1000 for part in (0.5, 0.99))
            console.print(f"{len(latencies)} {where}: after p50 {p50:.0f} ms, p99 {p99:.0f} ms")
