"""Is every cent and every item accounted for? Reads the services' databases and the dead letters, and compares."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer
from rich.table import Table

from services.food_delivery.demo.watch import Progress

DEAD_LETTERS = ("food.dead-letters", "orders.dead-letters")


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison. It holds where both sides are equal."""

    what: str
    expected: int
    found: int

    @property
    def holds(self) -> bool:
        return self.expected == self.found


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


def reconcile(books: Books, progress: Progress) -> list[Finding]:
    """Every comparison between what was submitted and what the four services hold."""
    confirmed = books.names("orders", "select order_id from endings where status = 'confirmed'")
    rejected = books.names("orders", "select order_id from endings where status = 'rejected'")
    placed = set(progress.submitted_at)
    return [
        Finding("orders recorded", len(placed), books.number("orders", "select count(*) from placed")),
        Finding("orders with an ending", len(placed), len((confirmed | rejected) & placed)),
        Finding("endings: one for each order", len(placed), books.number("orders", "select count(*) from endings")),
        Finding("orders both confirmed and rejected", 0, len(confirmed & rejected)),
        *money(books),
        *goods(books),
        *drivers(books, confirmed),
    ]


def money(books: Books) -> list[Finding]:
    captured = books.number("payments", "select sum(amount_cents) from entries where kind = 'capture'")
    refunded = books.number("payments", "select sum(amount_cents) from entries where kind = 'refund'")
    twice = "select count(*) from (select 1 from entries group by order_id, kind having count(*) > 1)"
    return [
        Finding(
            "cents: confirmed totals = captures - refunds",
            books.number("orders", "select sum(total_cents) from endings where status = 'confirmed'"),
            captured - refunded,
        ),
        Finding("cards charged or refunded twice", 0, books.number("payments", twice)),
    ]


def goods(books: Books) -> list[Finding]:
    reserved = books.number("inventory", "select sum(quantity) from reservations")
    taken = books.number("inventory", "select sum(initial - available) from stock")
    below = books.number("inventory", "select count(*) from stock where available < 0")
    holders = books.names("inventory", "select distinct order_id from reservations")
    confirmed = books.names("orders", "select order_id from endings where status = 'confirmed'")
    return [
        Finding("items: taken from stock = reserved", taken, reserved),
        Finding("orders that hold items = confirmed orders", len(confirmed), len(holders & confirmed)),
        Finding("items held for orders not confirmed", 0, len(holders - confirmed)),
        Finding("stock below zero", 0, below),
    ]


def drivers(books: Books, confirmed: set[str]) -> list[Finding]:
    assigned = books.names("dispatch", "select order_id from assignments")
    load = books.number("dispatch", "select sum(load) from drivers")
    return [
        Finding("drivers: orders carried = confirmed orders", len(confirmed), load),
        Finding("drivers assigned to orders not confirmed", 0, len(assigned - confirmed)),
    ]


def malformed(letters: list[tuple[str, str, str]]) -> Finding:
    """The record that is cut off must be a dead letter of both groups that read it, with its reason."""
    found = {topic for topic, reason, _ in letters if reason == "DECODE"}
    return Finding("dead-letter topics that hold the malformed record", len(DEAD_LETTERS), len(found))


async def dead_letters(bootstrap_servers: str) -> list[tuple[str, str, str]]:
    """Topic, reason and message of every dead letter there is."""
    consumer = AIOKafkaConsumer(*DEAD_LETTERS, bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = list(consumer.assignment())  # without a group: all of them
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: list[tuple[str, str, str]] = []
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    headers = dict(record.headers)
                    reason = headers.get("orchestra-dlq-reason", b"").decode()
                    message = headers.get("orchestra-dlq-error-message", b"").decode()
                    found.append((record.topic, reason, message))
        return found
    finally:
        await consumer.stop()


async def settle(look: Callable[[], list[Finding]], within: float) -> list[Finding]:
    """Look until everything holds, or the time is up: the last events may still be on their way."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        findings = await asyncio.to_thread(look)
        if all(finding.holds for finding in findings) or loop.time() > deadline:
            return findings
        await asyncio.sleep(0.3)


def table(findings: Sequence[Finding]) -> Table:
    """Every comparison, a row each."""
    view = Table(title="reconciliation", title_style="bold")
    for column in ("what", "expected", "found", ""):
        view.add_column(column, justify="left" if column == "what" else "right", no_wrap=True)
    for finding in findings:
        mark = "[green]✓[/]" if finding.holds else "[bold red]✗[/]"
        view.add_row(finding.what, f"{finding.expected:,}", f"{finding.found:,}", mark)
    return view
