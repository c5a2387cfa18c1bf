"""Is what stands in a partition read whole, and no more than that?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestra.clock import LoopClock
from orchestra.transport.memory import MemoryCluster, MemoryTransport
from orchestra.transport.port import Outgoing, Partition, TopicSpec
from orchestra.transport.tail import read_all, read_newest

pytestmark = pytest.mark.virtual_time
PARTITION = Partition("t", 0)


async def transport_with(count: int) -> MemoryTransport:
    transport = MemoryTransport(MemoryCluster(clock=LoopClock(datetime(2026, 1, 1, tzinfo=UTC))))
    await transport.start()
    await transport.topics.create([TopicSpec("t", 1)])
    publisher = transport.publisher()
    await publisher.start()
    await publisher.publish([Outgoing("t", None, b"%d" % number) for number in range(count)])
    return transport


async def test_everything_is_read_in_order() -> None:
    records = await read_all(await transport_with(1200), PARTITION)

    assert [record.value for record in records] == [b"%d" % number for number in range(1200)]


async def test_an_empty_partition_is_not_waited_for() -> None:
    assert await read_all(await transport_with(0), PARTITION) == []
    assert await read_newest(await transport_with(0), PARTITION, 5) == []


async def test_the_newest_are_the_last_in_order() -> None:
    records = await read_newest(await transport_with(20), PARTITION, 3)

    assert [record.value for record in records] == [b"17", b"18", b"19"]


async def test_fewer_than_asked_for_is_all_there_is() -> None:
    assert len(await read_newest(await transport_with(2), PARTITION, 5)) == 2


async def test_records_that_were_deleted_are_passed_over() -> None:
    transport = await transport_with(10)
    await transport.topics.delete_records({PARTITION: 8})

    assert [record.offset for record in await read_all(transport, PARTITION)] == [8, 9]
