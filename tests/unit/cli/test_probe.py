"""Does ``orchestra doctor`` notice a cluster that does not do what orchestra leans on?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestra.cli.probe import Finding, probe_cluster, sample_keys
from orchestra.clock import LoopClock
from orchestra.errors import AccessDeniedError, UnreachableError
from orchestra.ids import new_id
from orchestra.settings import Settings
from orchestra.transport.memory import MemoryTransport
from orchestra.transport.memory_cluster import MemoryCluster
from orchestra.transport.port import FencedLog, Headers, Outgoing, Partition, TopicSpec

pytestmark = pytest.mark.virtual_time
SETTINGS = Settings(env="test")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class NewIdTransport(MemoryTransport):
    """As if the broker gave a new producer id to every owner: nobody is ever fenced."""

    async def fenced_log(self, transactional_id: str, partition: Partition) -> FencedLog:
        return await super().fenced_log(new_id(), partition)


class NoBarrierTransport(MemoryTransport):
    """As if a barrier were a record like any other."""

    async def shut_out(self, producer_id: int, partition: Partition, key: bytes, headers: Headers = ()) -> int:
        publisher = self.publisher()
        await publisher.start()
        (position,) = await publisher.publish([Outgoing(partition.topic, key, None, partition=partition.number)])
        return position.offset


class ForgetfulTransport(MemoryTransport):
    """As if barriers were acknowledged and not stored."""

    async def shut_out(self, producer_id: int, partition: Partition, key: bytes, headers: Headers = ()) -> int:
        await super().shut_out(producer_id, partition, key, headers)
        await self.topics.delete_records({partition: (await self.topics.bounds([partition]))[partition].end})
        return 0


async def probed(transport: MemoryTransport) -> dict[str, Finding]:
    await transport.start()
    found = await probe_cluster(transport, SETTINGS, LoopClock(EPOCH))
    return {finding.check: finding for finding in found}


@pytest.fixture
async def cluster() -> MemoryCluster:
    return MemoryCluster(clock=LoopClock(EPOCH))


async def test_a_cluster_that_does_what_it_should_passes(cluster: MemoryCluster) -> None:
    found = await probed(MemoryTransport(cluster))

    assert {check: finding.state for check, finding in found.items()} == {
        "partitioner": "ok",
        "clock": "ok",
        "fence": "ok",
        "append": "ok",
    }


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (NewIdTransport, "an owner that was replaced could still append"),
        (NoBarrierTransport, "an owner behind a barrier could still append"),
        (ForgetfulTransport, "does not hold what was acknowledged"),
    ],
)
async def test_a_fence_that_does_not_hold_is_found(
    cluster: MemoryCluster, kind: type[MemoryTransport], words: str
) -> None:
    found = await probed(kind(cluster))

    assert found["fence"].state == "failed"
    assert words in found["fence"].text
    assert "do not run a coordinator" in found["fence"].remedy


async def test_a_clock_that_is_off_is_a_warning(cluster: MemoryCluster) -> None:
    cluster.clock = LoopClock(EPOCH + timedelta(minutes=2))

    clock = (await probed(MemoryTransport(cluster)))["clock"]

    assert (clock.state, clock.text) == ("warning", "the broker is 120.0 s ahead of this machine")


@pytest.mark.parametrize("kind", [MemoryTransport, NewIdTransport])
async def test_the_probe_topic_is_removed(cluster: MemoryCluster, kind: type[MemoryTransport]) -> None:
    created: list[str] = []
    create = cluster.create
    cluster.create = lambda spec: (created.append(spec.name), create(spec))[1]  # type: ignore[method-assign]

    await probed(kind(cluster))

    assert len(created) == 1
    assert cluster.describe(created) == {}


async def test_a_cluster_where_nothing_may_be_created_is_told_what_to_allow(cluster: MemoryCluster) -> None:
    def refuse(spec: TopicSpec) -> None:
        raise AccessDeniedError(f"may not create {spec.name}")

    cluster.create = refuse  # type: ignore[method-assign]

    (finding,) = (await probed(MemoryTransport(cluster))).values()

    assert (finding.check, finding.state) == ("probe topic", "failed")
    assert "topics named orchestra-doctor-*" in finding.remedy


async def test_keys_of_a_producer_that_partitions_otherwise_are_found(cluster: MemoryCluster) -> None:
    transport = MemoryTransport(cluster)
    await transport.start()
    await transport.topics.create([TopicSpec("orders", 6), TopicSpec("empty", 6)])
    publisher = transport.publisher()
    await publisher.start()
    await publisher.publish([Outgoing("orders", f"o-{number}".encode(), b"") for number in range(30)])
    assert (await sample_keys(transport, ["orders", "empty", "missing"])).text == (
        "30 of 30 keys lie where murmur2 puts them"
    )

    await publisher.publish([Outgoing("orders", b"stray", b"", partition=number) for number in range(6)])
    await publisher.publish([Outgoing("orders", None, b"", partition=number) for number in range(6)])

    finding = await sample_keys(transport, ["orders"])
    assert finding.state == "warning"
    assert "5 of 36 keys lie elsewhere; orders: key b'stray' is in" in finding.text
    assert "murmur2_random" in finding.remedy


async def test_brokers_that_go_away_are_a_finding_and_no_crash(cluster: MemoryCluster) -> None:
    def gone(spec: TopicSpec) -> None:
        raise UnreachableError("no broker answers")

    cluster.create = gone  # type: ignore[method-assign]

    assert "no broker answers" in (await probed(MemoryTransport(cluster)))["probe topic"].text
