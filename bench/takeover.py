"""How long does work stand still when the coordinator that holds the shards is killed?"""

from __future__ import annotations

import asyncio
import time
from itertools import count

from bench.bench import Bench
from bench.figures import Figure
from bench.three_steps import SHARDS, Deployment, deployed, runs
from orchestra.transport.partitioner import partition_for

EVERY = 0.02


async def takeover(bench: Bench) -> list[Figure]:
    """Two coordinators under an even load; ``kill -9`` the one with more shards' work. Time until all shards go on."""
    async with deployed(bench, "bench-takeover", coordinators=2) as deployment:
        await deployment.client.run_all(runs("warm", 100), in_flight=10)
        load = asyncio.create_task(_load(deployment))
        try:
            await asyncio.sleep(3)
            took = await _kill_and_wait(deployment)
        finally:
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
        sent = list(deployment.client.sent_at)
        await deployment.client.wait_for(sent)
        return [
            Figure(
                "takeover: after kill -9 until every shard goes on", took, "s", 10, note="session 6 s, heartbeat 1 s"
            ),
            Figure(
                "takeover: sagas lost", len(set(sent) - deployment.client.ended_at.keys()), "", 0, note=f"n={len(sent)}"
            ),
            Figure("takeover: ends sent again, under the same id", deployment.client.repeats, ""),
        ]


async def _load(deployment: Deployment) -> None:
    for number in count():
        ((key, data),) = runs(f"load-{number}", 1)
        await deployment.client.start(key, data)
        await asyncio.sleep(EVERY)


async def _kill_and_wait(deployment: Deployment) -> float:
    coordinators = [member for member in deployment.crew.members if member.name.startswith("coordinator")]
    busiest = max(coordinators, key=lambda member: member.cpu_seconds())
    killed = time.perf_counter()
    deployment.crew.kill(busiest)
    client = deployment.client
    first: dict[int, float] = {}
    async with asyncio.timeout(60):
        while len(first) < SHARDS:
            await asyncio.sleep(0.05)
            for key, ended in client.ended_at.items():
                if client.sent_at.get(key, 0.0) > killed:
                    shard = partition_for(f"three-steps/{key}".encode(), SHARDS)
                    first[shard] = min(ended, first.get(shard, ended))
    return max(first.values()) - killed
