"""Are dead letters read, in order, and told as they are?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestra.cli.dead_letters import described, newest
from orchestra.clock import LoopClock
from orchestra.errors import TopicError
from orchestra.service.dead_letter import dead_letter, failure_of
from orchestra.transport.memory import MemoryTransport
from orchestra.transport.memory_cluster import MemoryCluster
from orchestra.transport.port import Record, TopicSpec

pytestmark = pytest.mark.virtual_time
TOPIC = "shop.dead-letters"


@pytest.fixture
async def transport() -> MemoryTransport:
    transport = MemoryTransport(MemoryCluster(clock=LoopClock(datetime(2026, 1, 1, tzinfo=UTC))))
    await transport.start()
    return transport


async def bury(transport: MemoryTransport, *seconds: int) -> None:
    """One dead letter for each; the seconds say when it died."""
    publisher = transport.publisher()
    await publisher.start()
    for second in seconds:
        died = datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)
        failure = failure_of(
            ValueError("no\n\x1b[31mway"), "PERMANENT", handler="shop.sell", attempts=2, first=died, last=died
        )
        record = Record("shop.commands", 3, second, 0, f"o-{second}".encode(), b"{}", [("ce_type", b"shop.sell.v1")])
        await publisher.publish([dead_letter(record, failure, topic=TOPIC, group="shop")])


async def test_the_newest_are_shown_oldest_first(transport: MemoryTransport) -> None:
    await transport.topics.create([TopicSpec(TOPIC, 4)])
    await bury(transport, *range(20))

    found = await newest(transport, TOPIC, 5)

    assert [record.key for record in found] == [f"o-{second}".encode() for second in range(15, 20)]


async def test_a_dead_letter_is_told_field_by_field(transport: MemoryTransport) -> None:
    await transport.topics.create([TopicSpec(TOPIC, 1)])
    await bury(transport, 7)

    (letter,) = await newest(transport, TOPIC, 5)
    row = described(letter)

    assert row["id"] == "shop/shop.commands/3/7"
    assert (row["reason"], row["handler"], row["attempts"]) == ("PERMANENT", "shop.sell", 2)
    assert (row["source_topic"], row["source_partition"], row["source_offset"]) == ("shop.commands", 3, 7)
    assert (row["key"], row["type"]) == ("o-7", "shop.sell.v1")
    assert row["error_message"] == "no\n\x1b[31mway"


async def test_a_record_that_is_no_dead_letter_is_told_as_far_as_it_goes() -> None:
    row = described(Record(TOPIC, 0, 1, 1000, b"\xff", None, [("orchestra-dlq-attempts", b"many")]))

    assert row["time"] == "1970-01-01T00:00:01.000+00:00"
    assert (row["reason"], row["attempts"], row["key"]) == (None, "many", "\ufffd")


async def test_a_topic_that_is_not_there_is_said_to_be_missing(transport: MemoryTransport) -> None:
    with pytest.raises(TopicError, match=r"there is no topic 'shop\.dead-letters'"):
        await newest(transport, TOPIC, 5)


async def test_an_empty_topic_has_none(transport: MemoryTransport) -> None:
    await transport.topics.create([TopicSpec(TOPIC, 4)])

    assert await newest(transport, TOPIC, 5) == []
