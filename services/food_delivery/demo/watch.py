"""How far are we? Counts what the topics say, as any plain consumer can."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from rich.table import Table

from services.food_delivery.demo.processes import Crew
from services.food_delivery.demo.submit import Submission

PLACED = "shop.order.placed.v1"
ENDINGS = {"shop.order.confirmed.v1": "confirmed", "shop.order.rejected.v1": "rejected"}


@dataclass
class Progress:
    """What was seen so far. Times are seconds of one steady clock."""

    submitted_at: dict[str, float] = field(default_factory=dict[str, float])
    records: int = 0
    unreadable: int = 0
    unknown: int = 0
    ended_at: dict[str, float] = field(default_factory=dict[str, float])
    endings: dict[str, str] = field(default_factory=dict[str, str])
    repeats: int = 0
    compensating: set[str] = field(default_factory=set[str])

    def submitted(self, submission: Submission) -> None:
        self.records += 1
        if submission.order_id is None:
            self.unreadable += 1
        elif submission.kind != PLACED:
            self.unknown += 1
        else:
            self.submitted_at.setdefault(submission.order_id, time.monotonic())

    def count(self, ending: str) -> int:
        return sum(1 for value in self.endings.values() if value == ending)

    @property
    def running(self) -> int:
        return len(self.submitted_at) - len(self.endings)

    def latencies(self) -> list[float]:
        """Seconds from submission to confirmation, shortest first."""
        return sorted(
            at - self.submitted_at[order] for order, at in self.ended_at.items() if self.endings[order] == "confirmed"
        )


async def watch(bootstrap_servers: str, progress: Progress) -> None:
    """Follow the topics until cancelled."""
    consumer = AIOKafkaConsumer(
        "shop.orders", "food.journal", bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        while True:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    take(record, progress)
    finally:
        await asyncio.wait_for(consumer.stop(), 10)


def take(record: ConsumerRecord[bytes, bytes], progress: Progress) -> None:
    headers = dict(record.headers)
    if record.topic == "food.journal":
        entry = json.loads(record.value or b"{}")
        order = entry["instance"].rpartition("/")[2]
        if entry["status"] == "compensating":
            progress.compensating.add(order)
        else:
            progress.compensating.discard(order)
        return
    ending = ENDINGS.get(headers.get("ce_type", b"").decode())
    if ending is None or record.key is None:
        return
    order = record.key.decode()
    if order in progress.endings:
        progress.repeats += 1
        return
    progress.endings[order] = ending
    progress.ended_at[order] = time.monotonic()


def table(progress: Progress, crew: Crew, total: int) -> Table:
    """The screen of the running demo."""
    view = Table(title="food orders on a real Kafka", title_style="bold", min_width=72)
    view.add_column("orders")
    view.add_column("", justify="right")
    view.add_column("processes")
    view.add_column("", justify="right")
    left = [
        ("records submitted", f"{progress.records}/{total}"),
        ("orders", str(len(progress.submitted_at))),
        ("running", str(progress.running)),
        ("compensating", str(len(progress.compensating))),
        ("confirmed", str(progress.count("confirmed"))),
        ("rejected", str(progress.count("rejected"))),
    ]
    right = [
        (
            member.name,
            f"{'up' if member.is_running else 'DEAD'}, {member.resident_mb():.0f} MB, {member.starts - 1} restarts",
        )
        for member in crew.members
    ]
    for (name, value), (process, state) in zip(left, right, strict=True):
        view.add_row(name, value, process, state)
    return view
