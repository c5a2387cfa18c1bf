"""The memory transport's faults: what a broken network, broker or process does, and what its caller is told."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime

import pytest

from orchestra.clock import LoopClock
from orchestra.errors import (
    ClosedError,
    CommitFailedError,
    FenceBreachedError,
    FencedError,
    OutcomeUnknownError,
    RecordTooLargeError,
    UnreachableError,
)
from orchestra.settings import Settings
from orchestra.transport.memory import Fate, MemoryCluster, MemoryTransport, Write
from orchestra.transport.memory_writers import MemoryPublisher
from orchestra.transport.port import Committed, Consumer, Outgoing, Partition, Publisher, Subscription, TopicSpec

pytestmark = pytest.mark.virtual_time

T0 = Partition("t", 0)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Listener:
    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    async def on_assigned(self, partitions: Collection[Partition]) -> None:
        self.calls.append(("assigned", len(partitions)))

    async def on_revoked(self, partitions: Collection[Partition]) -> None:
        self.calls.append(("revoked", len(partitions)))


@pytest.fixture
def cluster() -> MemoryCluster:
    cluster = MemoryCluster(clock=LoopClock(EPOCH))
    cluster.create(TopicSpec("t", 2))
    return cluster


@pytest.fixture
def process(cluster: MemoryCluster) -> MemoryTransport:
    return MemoryTransport(cluster, client="one")


def values(cluster: MemoryCluster, topic: str = "t") -> list[bytes | None]:
    return [record.value for record in cluster.records(topic)]


def outgoing(value: bytes, partition: int = 0) -> Outgoing:
    return Outgoing("t", b"k", value, partition=partition)


async def publisher_of(process: MemoryTransport) -> Publisher:
    publisher = process.publisher()
    await publisher.start()
    return publisher


async def consumer_of(process: MemoryTransport, listener: Listener) -> Consumer:
    consumer = process.consumer(Subscription("g", ["t"]), listener)
    await consumer.start()
    return consumer


async def test_timestamps_are_the_clocks(cluster: MemoryCluster, process: MemoryTransport) -> None:
    await asyncio.sleep(3600)
    publisher = await publisher_of(process)

    await publisher.publish([outgoing(b"v")])

    (record,) = cluster.records("t")
    assert record.timestamp_ms == int(EPOCH.timestamp() * 1000) + 3_600_000


async def test_lost_acknowledgement_is_unknown_and_the_record_is_there(
    cluster: MemoryCluster, process: MemoryTransport
) -> None:
    publisher = await publisher_of(process)
    cluster.next_writes(Fate(acknowledged=False))

    with pytest.raises(OutcomeUnknownError):
        await publisher.publish([outgoing(b"1")])
    await publisher.publish([outgoing(b"2")])

    assert values(cluster) == [b"1", b"2"]


async def test_lost_record_is_unknown_and_is_not_there(cluster: MemoryCluster, process: MemoryTransport) -> None:
    publisher = await publisher_of(process)
    cluster.next_writes(Fate(stored=False))

    with pytest.raises(OutcomeUnknownError):
        await publisher.publish([outgoing(b"1")])

    assert values(cluster) == []


async def test_delayed_record_lands_after_its_sender_gave_up(cluster: MemoryCluster, process: MemoryTransport) -> None:
    publisher = await publisher_of(process)
    cluster.next_writes(Fate(request_delay=100.0))

    with pytest.raises(OutcomeUnknownError):
        await publisher.publish([outgoing(b"late")])
    assert values(cluster) == []
    await asyncio.sleep(100)

    assert values(cluster) == [b"late"]


async def test_refusal_is_told_and_nothing_stored(cluster: MemoryCluster, process: MemoryTransport) -> None:
    publisher = await publisher_of(process)
    cluster.next_writes(Fate(error=RecordTooLargeError("as asked")))

    with pytest.raises(RecordTooLargeError):
        await publisher.publish([outgoing(b"1")])

    assert values(cluster) == []


async def test_rule_decides_over_each_write(cluster: MemoryCluster, process: MemoryTransport) -> None:
    publisher = await publisher_of(process)
    seen: list[Write] = []

    def rule(write: Write) -> Fate | None:
        seen.append(write)
        return Fate(stored=False) if write.value == b"2" else None

    cluster.rules.append(rule)
    futures = [await publisher.send(outgoing(b"%d" % n)) for n in (1, 2, 3)]
    await asyncio.wait(futures)

    assert values(cluster) == [b"1", b"3"]
    assert [(write.client, write.partition, write.identity) for write in seen] == [("one", T0, None)] * 3


async def test_brokers_that_are_away_are_unreachable_and_nothing_is_stored_later(
    cluster: MemoryCluster, process: MemoryTransport
) -> None:
    publisher = await publisher_of(process)
    cluster.go_down()

    with pytest.raises(UnreachableError):
        await publisher.publish([outgoing(b"1")])
    with pytest.raises(UnreachableError):
        await process.topics.describe(["t"])
    cluster.come_back()
    await asyncio.sleep(1)

    assert values(cluster) == []


async def test_short_outage_only_delays(cluster: MemoryCluster, process: MemoryTransport) -> None:
    publisher, consumer = await publisher_of(process), await consumer_of(process, Listener())
    cluster.go_down()
    future = await publisher.send(outgoing(b"1"))
    assert await consumer.fetch(max_records=10, timeout=5) == []

    cluster.come_back()

    assert (await future).offset == 0
    assert [record.value for record in await consumer.fetch(max_records=10, timeout=5)] == [b"1"]


async def test_send_waits_for_space(cluster: MemoryCluster, process: MemoryTransport) -> None:
    publisher = MemoryPublisher(cluster, "one", cluster.available, Settings(), max_pending=2)
    await publisher.start()
    cluster.go_down()
    for _ in range(2):
        await publisher.send(outgoing(b"v"))
    third = asyncio.create_task(publisher.send(outgoing(b"v")))
    await asyncio.sleep(1)
    assert not third.done()

    cluster.come_back()
    await (await third)

    assert len(values(cluster)) == 3


async def test_frozen_process_is_put_out_and_its_writes_land_when_it_wakes(cluster: MemoryCluster) -> None:
    first, second = MemoryTransport(cluster, client="one"), MemoryTransport(cluster, client="two")
    mine, theirs = Listener(), Listener()
    consumer, publisher = await consumer_of(first, mine), await publisher_of(first)
    assert await consumer.fetch(max_records=1, timeout=1) == []

    first.freeze()
    held = await publisher.send(outgoing(b"zombie"))
    other = await consumer_of(second, theirs)
    assert await other.fetch(max_records=1, timeout=120) == []
    assert len(other.assignment()) == 2
    assert values(cluster) == []
    first.thaw()

    with pytest.raises((OutcomeUnknownError, UnreachableError)):
        await held
    with pytest.raises(CommitFailedError):
        await consumer.commit({T0: Committed(1)})
    await asyncio.sleep(1)
    assert mine.calls == [("assigned", 2), ("revoked", 2), ("assigned", 1)]


async def test_crashed_process_hears_nothing_and_is_put_out_after_its_session(cluster: MemoryCluster) -> None:
    first, second = MemoryTransport(cluster), MemoryTransport(cluster)
    mine, theirs = Listener(), Listener()
    consumer, publisher = await consumer_of(first, mine), await publisher_of(first)
    assert await consumer.fetch(max_records=1, timeout=1) == []
    cluster.next_writes(Fate(request_delay=1.0))
    future = await publisher.send(outgoing(b"under way"))

    first.crash()
    other = await consumer_of(second, theirs)
    records = await other.fetch(max_records=1, timeout=10)
    assert records == []
    records = await other.fetch(max_records=1, timeout=60)

    assert [record.value for record in records] == [b"under way"]
    assert mine.calls == [("assigned", 2)]
    with pytest.raises(OutcomeUnknownError):
        await future
    with pytest.raises(ClosedError):
        await publisher.send(outgoing(b"v"))


async def test_member_that_does_not_come_back_in_time_is_put_out(cluster: MemoryCluster) -> None:
    class Slow(Listener):
        async def on_revoked(self, partitions: Collection[Partition]) -> None:
            await super().on_revoked(partitions)
            await asyncio.sleep(1000)

    slow, quick = Slow(), Listener()
    consumer = await consumer_of(MemoryTransport(cluster), slow)
    assert await consumer.fetch(max_records=1, timeout=1) == []

    other = await consumer_of(MemoryTransport(cluster), quick)
    assert await other.fetch(max_records=1, timeout=60.5) == []

    assert quick.calls[0] == ("assigned", 2)


async def test_commit_without_an_answer_is_unreachable_and_stored(
    cluster: MemoryCluster, process: MemoryTransport
) -> None:
    consumer = await consumer_of(process, Listener())
    assert await consumer.fetch(max_records=1, timeout=1) == []
    cluster.fail_commits = 1

    with pytest.raises(UnreachableError):
        await consumer.commit({T0: Committed(4)})

    assert cluster.commits("g") == {T0: 4}


async def test_append_with_a_lost_acknowledgement_kills_the_log_and_nothing_lands_behind_it(
    cluster: MemoryCluster, process: MemoryTransport
) -> None:
    log = await process.fenced_log("x", T0)
    cluster.next_writes(Fate(acknowledged=False))

    futures = [await log.append(b"k", b"%d" % n) for n in range(3)]
    await asyncio.wait(futures)

    assert {type(future.exception()) for future in futures} == {OutcomeUnknownError}
    assert isinstance(log.failure, OutcomeUnknownError)
    assert values(cluster) == [b"0"]
    with pytest.raises(ClosedError):
        await (await log.append(b"k", b"later"))


async def test_late_appends_of_a_zombie_are_refused_after_the_claim(
    cluster: MemoryCluster, process: MemoryTransport
) -> None:
    old = await process.fenced_log("x", T0)
    await (await old.append(b"k", b"0"))
    cluster.next_writes(Fate(request_delay=10.0))
    late = await old.append(b"k", b"late")
    new = await process.fenced_log("x", T0)
    await (await new.append(b"k", b"claim"))

    with pytest.raises(FencedError):
        await late

    assert values(cluster) == [b"0", b"claim"]


async def test_late_append_lands_before_the_claim(cluster: MemoryCluster, process: MemoryTransport) -> None:
    old = await process.fenced_log("x", T0)
    cluster.next_writes(Fate(request_delay=10.0))
    late = await old.append(b"k", b"late")
    new = await process.fenced_log("x", T0)
    await asyncio.sleep(11)

    assert await (await new.append(b"k", b"claim")) == 1
    assert await late == 0


@pytest.mark.parametrize("how", ["expire_identity", "exhaust_identity"])
async def test_identity_gets_another_producer_id(cluster: MemoryCluster, process: MemoryTransport, how: str) -> None:
    first = (await process.fenced_log("x", T0)).identity

    getattr(cluster, how)("x")
    second = (await process.fenced_log("x", T0)).identity

    assert second.producer_id != first.producer_id
    assert second.epoch == 0


async def test_owner_notices_when_the_broker_forgot_and_a_zombie_wrote(
    cluster: MemoryCluster, process: MemoryTransport
) -> None:
    old = await process.fenced_log("x", T0)
    await (await old.append(b"k", b"0"))
    new = await process.fenced_log("x", T0)
    await (await new.append(b"k", b"claim"))
    cluster.log(T0).expire_producers()
    await (await old.append(b"k", b"zombie"))

    with pytest.raises(FenceBreachedError):
        await (await new.append(b"k", b"1"))
