"""What does one item of a long ``for_each`` cost, and how large do its records grow? In memory, and on Kafka."""

from __future__ import annotations

import asyncio
import json
import time
from bisect import bisect
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import orchestra
from bench.bench import Bench
from bench.client import client
from bench.figures import Figure
from bench.flows import Ended, Many, OverMany, coordinator, workers
from bench.members import crew
from bench.plain import everything_in, wait_for_groups
from orchestra.testing.memory import published, running_in_memory

ITEMS = 5000
EDGE = 500
WINDOW = 25
LARGEST = 64 * 1024
WITHIN = 240.0
KEY = "run-1"


class Stored(NamedTuple):
    """A record of the state topic."""

    key: str
    size: int
    at_ms: float


async def many(bench: Bench) -> list[Figure]:
    """One instance that goes over thousands of items."""
    count = max(3 * EDGE, bench.some(ITEMS))
    return [*figures("in memory, CPU", await in_memory(count)), *figures("on Kafka", await on_kafka(bench, count))]


async def in_memory(count: int) -> list[Stored]:
    """Coordinator, workers and log in this process; times are its CPU time, which other processes hardly disturb."""
    clock: list[tuple[float, float]] = []
    async with running_in_memory(workers, coordinator) as log, orchestra.connect(transport=log) as bus:
        await bus.publish(Many(id=KEY, count=count))
        async with asyncio.timeout(WITHIN):
            while not published(log, Ended):
                clock.append((time.time() * 1000, time.process_time() * 1000))
                await asyncio.sleep(0.01)
        _check(published(log, Ended)[0].count, count)
        records = log.cluster.records("bench-many.state")
    return [
        Stored((each.key or b"").decode(), len(each.value or b""), _cpu_ms(clock, each.timestamp_ms))
        for each in records
    ]


def _cpu_ms(clock: Sequence[tuple[float, float]], at_ms: float) -> float:
    """The CPU time at a moment, between two looks at the clocks."""
    place = min(max(bisect(clock, (at_ms, 0.0)), 1), len(clock) - 1)
    (before, cpu), (after, more) = clock[place - 1], clock[place]
    return cpu + (more - cpu) * (at_ms - before) / (after - before)


async def on_kafka(bench: Bench, count: int) -> list[Stored]:
    """Processes of their own, and a broker."""
    namespace = f"{bench.name}-many"
    async with crew(bench.folder / namespace, bench.environment(namespace)) as members:
        members.create_topics("bench.flows:everything")
        started, ended = (f"{namespace}.bench.many", "bench.many.v1"), (f"{namespace}.bench.ended", "bench.ended.v1")
        async with client(bench.servers, start=started, end=ended) as starts:
            members.orchestra("workers", "bench.flows:workers")
            members.orchestra("coordinator", "bench.flows:coordinator")
            groups = [f"{namespace}.{name}" for name in ("bench-many", "bench-many.router", "bench-workers")]
            await wait_for_groups(bench.servers, groups, members.require_running)
            await starts.start(KEY, json.dumps({"id": KEY, "count": count}).encode())
            await starts.wait_for([KEY], within=WITHIN)
            records = await everything_in(bench.servers, f"{namespace}.bench-many.state")
            return [Stored((each.key or b"").decode(), len(each.value or b""), each.timestamp) for each in records]


def figures(where: str, stored: Sequence[Stored]) -> list[Figure]:
    """The largest record, and what an item takes at the beginning and at the end."""
    of_items = sorted((each for each in stored if "/each/" in each.key and each.size), key=lambda each: each.at_ms)
    first, last = _each_ms(of_items[:EDGE]), _each_ms(of_items[-EDGE:])
    note = f"n={len(of_items)}, {OverMany.__name__}, at most 20 under way"
    largest = max(each.size for each in stored)
    middle = median(each.size for each in stored if each.size and not each.key.startswith("!"))
    return [
        Figure(f"for_each {where}: largest record", largest / 1024, "KiB", LARGEST / 1024, note=note),
        Figure(f"for_each {where}: the instance's record, median", middle / 1024, "KiB"),
        Figure(f"for_each {where}: an item, first {EDGE}", first, "ms"),
        Figure(f"for_each {where}: an item, last {EDGE}", last, "ms"),
        Figure(f"for_each {where}: last / first", last / first, "times", 1.3, note="constant, whatever came before"),
    ]


def _each_ms(stored: Sequence[Stored]) -> float:
    """The median of windows of some items: a pause of the machine is no item's."""
    windows = [stored[at : at + WINDOW + 1] for at in range(0, len(stored) - WINDOW, WINDOW)]
    return median((each[-1].at_ms - each[0].at_ms) / WINDOW for each in windows)


def _check(found: int, wanted: int) -> None:
    if found != wanted:
        raise AssertionError(f"{found} items of {wanted} are in the end event")
