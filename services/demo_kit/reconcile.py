"""Does everything add up? Reads the services' databases and the dead letters, and compares."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison. It holds where both sides are equal."""

    what: str
    expected: int
    found: int

    @property
    def holds(self) -> bool:
        return self.expected == self.found


class Letter(NamedTuple):
    """What a dead letter says of itself."""

    topic: str
    reason: str
    message: str


class Books:
    """The services' databases, as they stand on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def rows(self, service: str, query: str) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(f"file:{self._folder / service}.db?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def number(self, service: str, query: str) -> int:
        value = self.rows(service, query)[0][0]
        return int(str(value or 0))

    def names(self, service: str, query: str) -> set[str]:
        return {str(row[0]) for row in self.rows(service, query)}


async def settle(look: Callable[[], list[Finding]], within: float = 60.0) -> list[Finding]:
    """Look until everything holds, or the time is up: the last events may still be on their way."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        findings = await asyncio.to_thread(look)
        if all(finding.holds for finding in findings) or loop.time() > deadline:
            return findings
        await asyncio.sleep(0.3)


async def dead_letters(servers: str, topics: Sequence[str]) -> list[Letter]:
    """Every dead letter there is in these topics."""
    consumer = AIOKafkaConsumer(*topics, bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = list(consumer.assignment())  # without a group: all of them
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: list[Letter] = []
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    headers = dict(record.headers)
                    reason = headers.get("orchestra-dlq-reason", b"").decode()
                    message = headers.get("orchestra-dlq-error-message", b"").decode()
                    found.append(Letter(record.topic, reason, message))
        return found
    finally:
        await consumer.stop()


def table(findings: Sequence[Finding]) -> Table:
    """Every comparison, a row each."""
    view = Table(title="reconciliation", title_style="bold")
    for column in ("what", "expected", "found", ""):
        view.add_column(column, justify="left" if column == "what" else "right", no_wrap=True)
    for finding in findings:
        mark = "[green]✓[/]" if finding.holds else "[bold red]✗[/]"
        view.add_row(finding.what, f"{finding.expected:,}", f"{finding.found:,}", mark)
    return view
