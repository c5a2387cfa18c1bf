"""What does a typed handler cost, beside a plain consumer that reads the same records as JSON?"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime

from bench.bench import Bench
from bench.figures import Figure
from bench.members import Crew, Member, crew
from bench.plain import committed, end_of, event, producer, wait_for_groups

NAMESPACE = "bench-cost"
TOPIC = f"{NAMESPACE}.bench.ticks"
HANDLED_WITHIN = 180.0


async def cost(bench: Bench) -> list[Figure]:
    """CPU time of each process while the same records pass, each read by a group of its own, one after the other."""
    count = bench.some(50_000)
    async with crew(bench.folder / NAMESPACE, bench.environment(NAMESPACE)) as members:
        members.create_topics("bench.noop:sink")
        await _produce(bench, 1_000)
        plain = members.run(
            "plain", sys.executable, "-m", "bench.plain_sink", bench.servers, TOPIC, f"{NAMESPACE}.plain"
        )
        plain_us, plain_rate = await _measure(bench, members, plain, f"{NAMESPACE}.plain", count)
        await members.stop(plain)
        sink = members.orchestra("sink", "bench.noop:sink")
        sink_us, sink_rate = await _measure(bench, members, sink, f"{NAMESPACE}.sink", count)
    return [
        Figure(
            "cost: plain aiokafka, getmany + json", plain_us, "us CPU/record", note=f"{plain_rate:,.0f}/s, n={count}"
        ),
        Figure(
            "cost: typed handler that does nothing", sink_us, "us CPU/record", note=f"{sink_rate:,.0f}/s, n={count}"
        ),
        Figure("cost: typed handler / plain", sink_us / plain_us, "times"),
    ]


async def _measure(bench: Bench, members: Crew, member: Member, group: str, count: int) -> tuple[float, float]:
    """Microseconds of CPU a record, and records a second, once the member is warm."""
    await wait_for_groups(bench.servers, [group], members.require_running)
    await _produce(bench, 1_000)
    await _caught_up(bench, group)
    cpu, begun = member.cpu_seconds(), time.perf_counter()
    await _produce(bench, count)
    await _caught_up(bench, group)
    return (member.cpu_seconds() - cpu) / count * 1e6, count / (time.perf_counter() - begun)


async def _produce(bench: Bench, count: int) -> None:
    at = datetime.now(UTC).isoformat()
    data = b'{"tick":"%d","count":%d,"tags":["a","b","c"],"note":"some text of a usual length, as events have"}'
    async with producer(bench.servers) as out:
        for number in range(count):
            headers, value = event("bench.ticked.v1", f"tick-{number}", data % (number, number), at)
            await out.send(TOPIC, value, key=b"%d" % number, headers=headers)


async def _caught_up(bench: Bench, group: str) -> None:
    """Return when the group has committed everything there is."""
    end = await end_of(bench.servers, TOPIC)
    async with asyncio.timeout(HANDLED_WITHIN):
        while await committed(bench.servers, group) < end:
            await asyncio.sleep(0.1)
