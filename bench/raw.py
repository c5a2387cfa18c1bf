"""What does Kafka itself cost on this machine? Plain aiokafka, so that every other figure can be read beside it."""

from __future__ import annotations

import sys
import time

from bench.bench import Bench
from bench.figures import Figure, latency
from bench.floor import TOPICS
from bench.members import crew
from bench.plain import create_topics, producer, reader


async def round_trips(bench: Bench) -> list[Figure]:
    """From just before a record is sent until a consumer in the same process has it, one at a time."""
    topic = "bench-raw"
    await create_topics(bench.servers, [topic])
    took: list[float] = []
    async with producer(bench.servers) as out, reader(bench.servers, topic) as back:
        for _ in range(bench.some(500)):
            begun = time.perf_counter()
            await out.send(topic, b"x" * 400, key=b"k")
            await back.getone()
            took.append(time.perf_counter() - begun)
    return latency("raw: produce to consume", took[20:])


async def floor(bench: Bench) -> list[Figure]:
    """Nine hops and four appends over three processes, as a three-step saga takes them, with no framework at all."""
    await create_topics(bench.servers, TOPICS)
    took: list[float] = []
    async with crew(bench.folder / "floor", {}) as members:
        for role in ("coordinator", "participant"):
            members.run(role, sys.executable, "-m", "bench.floor", role, bench.servers)
        async with producer(bench.servers) as out, reader(bench.servers, "floor-finished") as back:
            for _ in range(bench.some(300)):
                members.require_running()
                begun = time.perf_counter()
                await out.send("floor-started", b'{"n":1}', key=b"k")
                await back.getone()
                took.append(time.perf_counter() - begun)
    return latency("raw: nine hops and four appends", took[20:])
