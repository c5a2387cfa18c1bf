"""What does a service cost that has nothing to do?"""

from __future__ import annotations

import asyncio

from bench.bench import Bench
from bench.figures import Figure
from bench.members import crew
from bench.plain import wait_for_groups

NAMESPACE = "bench-idle"
SETTLE_SECONDS = 3.0


async def idle(bench: Bench) -> list[Figure]:
    """CPU time over 20 s, and resident memory, of a process that has joined its group and gets nothing."""
    seconds = 5.0 if bench.quick else 20.0
    environment = {"ORCHESTRA_BOOTSTRAP_SERVERS": bench.servers, "ORCHESTRA_NAMESPACE": NAMESPACE}
    async with crew(bench.folder / NAMESPACE, environment) as members:
        member = members.orchestra("participants", "bench.noop:participants")
        await wait_for_groups(bench.servers, [f"{NAMESPACE}.participants"], members.require_running)
        await asyncio.sleep(SETTLE_SECONDS)
        before = member.cpu_seconds()
        await asyncio.sleep(seconds)
        used = member.cpu_seconds() - before
        return [
            Figure("idle service: CPU", used / seconds * 100, "%", 1, note=f"of a core, over {seconds:.0f} s"),
            Figure("idle service: resident", member.resident_mb(), "MB", 80),
        ]
