"""Brokers die, move leaders, hang and are all away, while commands come and are counted."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestra.testing.kafka_cluster import KafkaCluster
from orchestra.transport.kafka.network import GROUP
from tests.faults.site import Site

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

OUTAGE_SECONDS = 60.0
COMMIT_HANGS_SECONDS = 15.0


@pytest.fixture
async def site(kafka_cluster: KafkaCluster, tmp_path: Path) -> AsyncIterator[Site]:
    async with Site(kafka_cluster, tmp_path) as site:
        yield site
    for node in kafka_cluster.nodes:  # as it was found
        if kafka_cluster.is_alive(node.id):
            kafka_cluster.resume(node.id)
    await asyncio.to_thread(kafka_cluster.start_missing)
    await asyncio.to_thread(kafka_cluster.wait_ready)


@asynccontextmanager
async def under_load(site: Site) -> AsyncIterator[None]:
    """Two members at work while commands keep coming. Afterwards: all is well, and all are still there."""
    await site.crew(2)
    async with site.producing(rate=200):
        await site.counted(200)
        yield
        await site.counted(site.ledger.count() + 400, timeout=90)
    await site.settled()


async def leader(site: Site) -> int:
    """The node that leads a partition of the commands."""
    facts = await site.transport._network.require([site.numbers])
    return facts[site.numbers].leaders[0]


async def coordinator(site: Site) -> int:
    """The node that keeps the group and its places."""
    return await site.transport._network.coordinator(GROUP, site.group)


async def test_broker_that_is_killed_and_comes_back_costs_nothing_but_time(site: Site) -> None:
    async with under_load(site):
        node = await coordinator(site)
        await asyncio.to_thread(site.cluster.kill, node)
        await asyncio.sleep(5)
        await asyncio.to_thread(site.cluster.start_missing)


async def test_leader_that_moves_costs_nothing_but_time(site: Site) -> None:
    async with under_load(site):
        old = await leader(site)
        process = site.cluster.process(old)
        assert process is not None
        process.send(signal.SIGTERM)  # in good order: it hands its partitions over, and goes
        async with asyncio.timeout(30):
            while await leader(site) == old or process.is_alive():
                await asyncio.sleep(0.2)


async def test_all_brokers_away_for_a_minute_cost_nothing_but_time(site: Site) -> None:
    async with under_load(site):
        nodes = [node.id for node in site.cluster.nodes]
        await asyncio.gather(*(asyncio.to_thread(site.cluster.kill, node) for node in nodes))
        await asyncio.sleep(OUTAGE_SECONDS)
        await asyncio.to_thread(site.cluster.start_missing)


async def test_commit_that_hangs_because_its_coordinator_does_stops_nobody(site: Site) -> None:
    async with under_load(site):
        node = await coordinator(site)
        site.cluster.pause(node)  # connections stay open, and nobody answers on them
        await asyncio.sleep(COMMIT_HANGS_SECONDS)
        before = site.ledger.count()
        await site.counted(before + 100, timeout=30)
        site.cluster.resume(node)
