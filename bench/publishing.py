"""What does it cost to publish? aiokafka by the record and by the batch, orchestra, FastStream; the same orders.

Each contestant is a process of its own; they take turns, for several rounds. ``contestants/publishers.py`` says who
they are and what is counted. All write to one topic of 16 partitions; how many came is read from its end offsets.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bench.bench import Bench
from bench.figures import Figure
from bench.filling import PARTITIONS
from bench.members import crew
from bench.plain import create_topics, end_of

ROUNDS = 5
DONE_WITHIN = 240.0

RAW, BATCHES, MANY, ONE, PEER = "aiokafka-send", "aiokafka-batch", "orchestra-many", "orchestra-one", "faststream"
NAMES = {
    RAW: "aiokafka send, bytes ready-made",
    BATCHES: "aiokafka send_batch, bytes ready-made",
    MANY: "orchestra bus.publish(orders)",
    ONE: "orchestra bus.publish(order), 64 tasks",
    PEER: "FastStream broker.publish(order), 64 tasks",
}
SHARE = {PEER: 5, ONE: 2}
"""Those who are slow publish a part of the records."""

Told = dict[str, Any]


async def publishing(bench: Bench) -> list[Figure]:
    """Everybody. Takes three minutes on two quiet cores."""
    topic = f"{bench.name}-published"
    await create_topics(bench.servers, [topic], PARTITIONS)
    count = bench.some(100_000)
    runs: dict[str, list[Told]] = {who: [] for who in NAMES}
    missing = 0
    for number in range(1, (1 if bench.quick else ROUNDS) + 1):
        for who in NAMES:
            with bench.console.status(f"round {number}: {NAMES[who]}"):
                told, lost = await _turn(bench, who, topic, count // SHARE.get(who, 1), f"round{number}")
            runs[who].append(told)
            missing += abs(lost)
        us = ", ".join(f"{_us(several[-1]):.1f}" for several in runs.values())
        bench.say(f"round {number}: us CPU a record: {us}")
    return figures(runs, missing)


async def _turn(bench: Bench, who: str, topic: str, count: int, label: str) -> tuple[Told, int]:
    """What a contestant told, and how many records fewer came than it published."""
    folder = bench.folder / "publishers"
    result = folder / f"{label}.{who}.json"
    warm = max(1, count // 20)
    environment = {
        "BENCH_SERVERS": bench.servers,
        "BENCH_TOPIC": topic,
        "BENCH_COUNT": str(count),
        "BENCH_WARM": str(warm),
        "BENCH_RESULT": str(result),
    }
    before = await end_of(bench.servers, topic)
    async with crew(folder, environment) as members:
        member = members.run(f"{label}.{who}", sys.executable, "-m", "bench.contestants.publishers", who)
        async with asyncio.timeout(DONE_WITHIN):
            while member.is_running:
                await asyncio.sleep(0.1)
        if not result.exists():
            raise RuntimeError(f"{who} has ended:\n{member.last_words()}")
    told: Told = json.loads(result.read_text())
    return told, before + warm + count - await end_of(bench.servers, topic)


def figures(runs: Mapping[str, Sequence[Told]], missing: int) -> list[Figure]:
    """CPU of each contestant, the ratio that has a target, and what must be zero."""
    costs = [_cost(who, several, runs[RAW]) for who, several in runs.items()]
    ratios = _ratios(runs[MANY], runs[RAW])
    least = min(map(_us, runs[MANY])) / min(map(_us, runs[RAW]))  # noise only ever adds
    note = f"rounds {min(ratios):.2f}-{max(ratios):.2f}; least / least {least:.2f}"
    return [
        *costs,
        Figure("publishing: CPU, ours / aiokafka send", median(ratios), "times", 0.5, note=note),
        Figure("publishing: records missing or too many", missing, "", 0),
    ]


def _cost(who: str, several: Sequence[Told], raw: Sequence[Told]) -> Figure:
    rate = median(each["records"] / each["seconds"] for each in several)
    ratios = _ratios(several, raw)
    note = f"{rate:,.0f}/s"
    if several is not raw:
        note += f", {median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) x send"
    cost = median(map(_us, several)) / 10  # 1 us is 0.1 s for 100,000
    return Figure(f"publishing: {NAMES[who]}", cost, "CPU s/100k", note=note, details={"rounds": list(several)})


def _ratios(above: Sequence[Told], below: Sequence[Told]) -> list[float]:
    return [_us(one) / _us(other) for one, other in zip(above, below, strict=True)]


def _us(told: Told) -> float:
    """Microseconds of CPU a record."""
    return float(told["cpu_seconds"] / told["records"] * 1e6)
