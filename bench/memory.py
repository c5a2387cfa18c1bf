"""How large does a coordinator grow, with many finished and many live instances?"""

from __future__ import annotations

import asyncio
import contextlib
import time

from bench.bench import Bench
from bench.figures import Figure
from bench.plain import end_of
from bench.three_steps import COORDINATOR, PARTICIPANTS, SHARDS, Deployment, deployed, runs

STARTED_WITHIN = 120.0
PROBES = SHARDS * 8  # enough to meet every shard


async def memory(bench: Bench) -> list[Figure]:
    """Sagas that ended, as many that wait for a participant who is gone; then a new coordinator restores them."""
    many = bench.some(10_000)
    note = f"{many:,} finished + {many:,} live"
    async with deployed(bench, "bench-memory") as deployment:
        members = deployment.crew
        await deployment.client.run_all(runs("finished", many), in_flight=200)
        await members.stop(members.named("participants"))
        await _start(deployment, "live", many)
        ran = members.named("coordinator-1").resident_mb()
        await members.stop(members.named("coordinator-1"))
        begun = time.perf_counter()
        deployment.coordinator(2)
        await deployment.ready(*COORDINATOR)
        await _start(deployment, "probe", PROBES)
        seconds = time.perf_counter() - begun
        restored = members.named("coordinator-2").resident_mb()
        lost = await _finish(deployment)
        return [
            Figure("memory: coordinator that ran them", ran, "MB", 250, note=note),
            Figure("memory: coordinator that restored them", restored, "MB", 250, note=note),
            Figure("memory: from start until every shard goes on", seconds, "s", note=note),
            Figure("memory: live sagas that did not end afterwards", lost, "", 0, note=f"n={many + PROBES}"),
        ]


async def _start(deployment: Deployment, prefix: str, count: int) -> None:
    """Start that many, and return when the first command of each is out."""
    commands = deployment.scoped("bench.commands")
    wanted = await end_of(deployment.bench.servers, commands) + count
    for key, data in runs(prefix, count):
        await deployment.client.start(key, data)
    async with asyncio.timeout(STARTED_WITHIN):
        while await end_of(deployment.bench.servers, commands) < wanted:
            deployment.crew.require_running()
            await asyncio.sleep(0.1)


async def _finish(deployment: Deployment) -> int:
    """Bring the participants back. Gives how many sagas did not end."""
    deployment.crew.orchestra("participants-2", "bench.noop:participants")
    await deployment.ready(*PARTICIPANTS)
    with contextlib.suppress(TimeoutError):
        await deployment.client.wait_for(deployment.client.sent_at)
    return len(deployment.client.sent_at.keys() - deployment.client.ended_at.keys())
