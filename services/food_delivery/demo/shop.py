"""A shop's day against services that run elsewhere: ``python -m services.food_delivery.demo.shop``.

Submits every order of the file to the Kafka that ``ORCHESTRA_BOOTSTRAP_SERVERS`` names, waits until each has ended, and
reconciles the databases below ``SERVICES_DATA``. Exits 0 when everything adds up. Meant for a fresh composition:
orders of an earlier day would count too.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from services.demo_kit.progress import Progress, follow
from services.demo_kit.reconcile import Books, dead_letters, settle, table
from services.food_delivery.demo.reconcile import DEAD_LETTERS, malformed, reconcile
from services.food_delivery.demo.submit import PLACED, Submission, submit

ORDERS = Path(__file__).parent.parent / "orders.jsonl"
RATE = float(os.environ.get("DEMO_RATE", "20"))
ENDED_WITHIN = 120.0
SETTLED_WITHIN = 60.0
console = Console(width=None if sys.stdout.isatty() else 110)


async def shop() -> int:
    servers = os.environ.get("ORCHESTRA_BOOTSTRAP_SERVERS", "localhost:9092")
    lines = ORDERS.read_text().splitlines()
    console.print(f"submitting {len(lines)} records to {servers}, {RATE:.0f} a second")
    progress = Progress()

    def note(submission: Submission) -> None:
        progress.begin(submission.order_id if submission.kind == PLACED else None)

    watching = asyncio.create_task(follow(servers, ["food.journal"], progress.take_journal))
    try:
        await submit(servers, lines, RATE, note)
        await every_order_ended(progress, watching)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    books = Books(Path(os.environ.get("SERVICES_DATA", ".demo/data")))
    findings = await settle(lambda: reconcile(books, set(progress.begun_at)), SETTLED_WITHIN)
    findings.append(malformed(await dead_letters(servers, DEAD_LETTERS)))
    console.print(table(findings))
    return 0 if all(finding.holds for finding in findings) else 1


async def every_order_ended(progress: Progress, watching: asyncio.Task[None]) -> None:
    deadline = time.monotonic() + ENDED_WITHIN
    while progress.running and time.monotonic() < deadline:
        if watching.done():
            watching.result()
        await asyncio.sleep(0.5)
        console.print(f"{len(progress.ended_at)} of {len(progress.begun_at)} orders have ended")


if __name__ == "__main__":
    sys.exit(asyncio.run(shop()))
