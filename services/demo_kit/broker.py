"""Which Kafka does a demo use, and when is everybody connected to it?"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from rich.console import Console

from orchestra.testing.kafka_cluster import KafkaCluster
from orchestra.testing.kafka_state import named_directory

CLUSTER = f"demo-{zlib.crc32(bytes(Path.cwd())):08x}"  # one for each checkout: two demos do not meet
JOINED_WITHIN = 60.0


@asynccontextmanager
async def kafka(console: Console) -> AsyncGenerator[str]:
    """A broker of the demo's own, or the one that ``ORCHESTRA_BOOTSTRAP_SERVERS`` names."""
    if given := os.environ.get("ORCHESTRA_BOOTSTRAP_SERVERS"):
        console.print(f"[dim]·[/] using the Kafka at {given}")
        yield given
        return
    console.print("[dim]·[/] starting Apache Kafka")
    directory = named_directory(CLUSTER)
    if (old := KafkaCluster.find(directory)) is not None:
        await asyncio.to_thread(old.stop)
    keep = bool(os.environ.get("DEMO_KEEP"))
    cluster = await asyncio.to_thread(
        lambda: KafkaCluster.start(directory, name=CLUSTER, guarded=not keep, console=console)
    )
    try:
        yield cluster.bootstrap_servers
    finally:
        if not keep:
            await asyncio.to_thread(cluster.stop)


async def groups_joined(servers: str, groups: Sequence[str]) -> None:
    """Return when every group has its members, and they their partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        async with asyncio.timeout(JOINED_WITHIN):
            while not await _are_stable(admin, groups):
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise SystemExit(f"not every group of {', '.join(groups)} has its members; see the logs") from None
    finally:
        await admin.close()


async def _are_stable(admin: AIOKafkaAdminClient, groups: Sequence[str]) -> bool:
    states: list[str] = []
    with suppress(KafkaError):  # a new broker does not know at once who coordinates a group
        for name in groups:  # one at a time: aiokafka 0.14 reads the answer for several wrongly
            described: Any
            [described] = await admin.describe_consumer_groups([name])
            states += [group[2] for group in described.groups]
    return len(states) == len(groups) and all(state == "Stable" for state in states)
