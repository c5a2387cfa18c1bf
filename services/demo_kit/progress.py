"""How far are we? Counts what the topics say, as any plain consumer can."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from rich.table import Table

from services.demo_kit.processes import Crew, Member

Take = Callable[[ConsumerRecord[bytes, bytes]], None]
ENDED = ("completed", "compensated", "halted")


@dataclass
class Progress:
    """What was seen so far, by business key. Times are seconds of one steady clock.

    Attributes:
        records: how many were submitted, repeats and unreadable ones included.
        standing: in a word, where each stands.
    """

    records: int = 0
    begun_at: dict[str, float] = field(default_factory=dict[str, float])
    ended_at: dict[str, float] = field(default_factory=dict[str, float])
    standing: dict[str, str] = field(default_factory=dict[str, str])

    def begin(self, key: str | None) -> None:
        """A record is submitted; None where it begins nothing."""
        self.records += 1
        if key is not None:
            self.begun_at.setdefault(key, time.monotonic())

    def stand(self, key: str, where: str, *, ended: bool = False) -> None:
        self.standing[key] = where
        if ended:
            self.ended_at.setdefault(key, time.monotonic())
        else:
            self.ended_at.pop(key, None)

    def take_journal(self, record: ConsumerRecord[bytes, bytes]) -> None:
        """An entry of a coordinator's journal: where an instance stands now."""
        entry = json.loads(record.value or b"{}")
        status = entry["status"]
        self.stand(entry["instance"].rpartition("/")[2], status, ended=status in ENDED)

    def those(self, where: str) -> set[str]:
        """The keys that stand there."""
        return {key for key, now in self.standing.items() if now == where}

    def took(self, key: str) -> float:
        """Seconds from the first submission to the end."""
        return self.ended_at[key] - self.begun_at[key]

    @property
    def running(self) -> int:
        return len(self.begun_at.keys() - self.ended_at.keys())

    def latencies(self, where: str) -> list[float]:
        """Seconds from submission to the end, of those that ended there; shortest first."""
        return sorted(self.took(key) for key in self.those(where) & self.ended_at.keys() & self.begun_at.keys())


async def follow(servers: str, topics: Sequence[str], take: Take) -> None:
    """Give ``take`` every record of the topics, from the first one on, until cancelled."""
    consumer = AIOKafkaConsumer(*topics, bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        while True:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    take(record)
    finally:
        await asyncio.wait_for(consumer.stop(), 10)


def screen(title: str, progress: Progress, crew: Crew, total: int) -> Table:
    """What is shown while a demo runs."""
    view = Table(title=title, title_style="bold", min_width=72)
    for column in ("so far", "", "processes", ""):
        view.add_column(column, justify="left" if column else "right")
    left = [("submitted", f"{progress.records}/{total}"), *_counts(progress)]
    right = [(member.name, _state(member)) for member in crew.members]
    for (name, value), (process, state) in zip_longest(left, right, fillvalue=("", "")):
        view.add_row(name, value, process, state)
    return view


def _counts(progress: Progress) -> list[tuple[str, str]]:
    counts = Counter(progress.standing.values())
    return [(where, str(count)) for where, count in sorted(counts.items())]


def _state(member: Member) -> str:
    state = "up" if member.is_running else "DEAD" if member.wanted.is_set() else "stopped"
    return f"{state}, {member.resident_mb():.0f} MB, {member.starts - 1} restarts"
