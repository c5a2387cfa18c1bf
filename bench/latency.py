"""How long until an event is handled, when there is little to do? 100 a second, from just before it is sent.

Plain aiokafka and orchestra wait at the same time, each for a topic of its own; one producer sends to both in turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from statistics import median

from aiokafka import AIOKafkaProducer

from bench.bench import Bench
from bench.contestant import Turn, ours, theirs, turn
from bench.contestants import order
from bench.figures import Figure, latency, percentile
from bench.filling import PARTITIONS, Filled
from bench.plain import create_topics, producer, wait_for_groups

PER_SECOND = 100
WARM = 100
WINDOWS = 5
Sent = dict[str, float]
"""Key -> when it was sent."""


async def latencies(bench: Bench) -> list[Figure]:
    count = bench.some(2000) + WARM
    topics = [Filled(f"{bench.name}-latency-{who}", count) for who in ("raw", "ours")]
    await create_topics(bench.servers, [filled.topic for filled in topics], PARTITIONS)
    async with (
        turn(bench, theirs("raw", "aiokafka_loop"), topics[0], "latency", BENCH_WATCH="arrivals") as raw,
        turn(bench, ours("ours", "many_lanes"), topics[1], "latency", BENCH_WATCH="arrivals") as us,
        producer(bench.servers) as out,
    ):
        await _ready(bench, raw, us)
        before = [each.member.cpu_seconds() for each in (raw, us)]
        sent = await _send(out, [filled.topic for filled in topics], count)
        used = [each.member.cpu_seconds() - start for each, start in zip((raw, us), before, strict=True)]
        took = [_took(sent[n], (await each.told())["handled_at"]) for n, each in enumerate((raw, us))]
    apart = _apart(*took)
    return [
        *latency("latency at 100/s: raw aiokafka", took[0]),
        *latency("latency at 100/s: orchestra", took[1]),
        Figure("latency at 100/s: p99, ours - raw", median(apart), "ms", 3, note=_spread(apart)),
        Figure("latency at 100/s: CPU, raw aiokafka", used[0] / count * 1e6, "us/record"),
        Figure("latency at 100/s: CPU, orchestra", used[1] / count * 1e6, "us/record"),
        Figure("latency at 100/s: not handled", 2 * (count - WARM) - len(took[0]) - len(took[1]), "", 0),
    ]


def _apart(raw: Sequence[float], us: Sequence[float]) -> list[float]:
    """Between the 99th percentiles, in milliseconds, in each of some windows: a hiccup of the machine spoils one."""
    size = max(1, min(len(raw), len(us)) // WINDOWS)
    starts = range(0, size * WINDOWS, size)
    return [1000 * (percentile(us[at : at + size], 0.99) - percentile(raw[at : at + size], 0.99)) for at in starts]


def _spread(apart: Sequence[float]) -> str:
    return f"median of {WINDOWS} windows, {min(apart):.1f} to {max(apart):.1f}"


async def _ready(bench: Bench, *turns: Turn) -> None:
    for each in turns:
        await wait_for_groups(bench.servers, [each.group], each.require_running)
    await asyncio.sleep(1.0)


async def _send(out: AIOKafkaProducer, topics: list[str], count: int) -> list[Sent]:
    """To each topic in turn, at even distances. When each was sent."""
    sent: list[Sent] = [{} for _ in topics]
    for topic in topics:
        await out.partitions_for(topic)  # asked for once; the first record should not wait for it
    begun = time.monotonic()
    for number in range(count * len(topics)):
        await asyncio.sleep(max(0.0, begun + number / (PER_SECOND * len(topics)) - time.monotonic()))
        turn_of = number % len(topics)
        key = order.key(number // len(topics))
        headers, value = order.binary(number // len(topics))
        sent[turn_of][key] = time.monotonic()
        await out.send(topics[turn_of], value, key=key.encode(), headers=headers)
    return sent


def _took(sent: Sent, handled_at: Mapping[str, float]) -> list[float]:
    """Seconds, the warm-up aside."""
    return [handled_at[key] - at for key, at in list(sent.items())[WARM:] if key in handled_at]
