"""The contract of a consumer's places: where it begins, what it commits, where it goes when it is told to."""

from __future__ import annotations

import asyncio

import pytest

from orchestra.errors import CommitFailedError, OffsetLostError, RecordTooLargeError
from orchestra.testing.conformance.groups import Quiet, numbers, subscription
from orchestra.testing.conformance.lab import Lab
from orchestra.transport.port import Committed, Consumer, Outgoing, Partition, Record


class PlaceConformance:
    """Tests of ``commit``, ``committed``, ``position`` and ``seek``."""

    async def test_commit_keeps_a_note(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process, 2)
        member = await lab.member(process, subscription(topic))
        await member.wait_assigned(2)

        await member.consumer.commit({Partition(topic, 0): Committed(7, "a note: \u00fc")})

        assert await member.consumer.committed(Partition(topic, 0)) == Committed(7, "a note: \u00fc")
        assert await member.consumer.committed(Partition(topic, 1)) is None

    async def test_committed_zero_is_a_place(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        await lab.fill(process, topic, 0, 2)
        group = subscription(topic, start="latest")
        first = await lab.member(process, group)
        await first.wait_assigned()
        await first.consumer.commit({Partition(topic, 0): Committed(0)})
        await first.end()

        second = await lab.member(process, group)

        await second.wait_for_values(b"0", b"1")

    async def test_note_over_4_kib_is_too_large(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        member = await lab.member(process, subscription(topic))
        await member.wait_assigned()

        await member.consumer.commit({Partition(topic, 0): Committed(1, "x" * 4000)})
        with pytest.raises(RecordTooLargeError):
            await member.consumer.commit({Partition(topic, 0): Committed(2, "x" * 5000)})

        assert await member.consumer.committed(Partition(topic, 0)) == Committed(1, "x" * 4000)

    async def test_partition_that_is_not_ours_is_not_committed(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        member = await lab.member(process, subscription(topic))
        await member.wait_assigned()

        with pytest.raises(CommitFailedError):
            await member.consumer.commit({Partition(topic, 5): Committed(1)})

    async def test_seek_in_on_assigned_decides_where_it_begins(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        await lab.fill(process, topic, 0, 10)

        member = await lab.member(
            process,
            subscription(topic),
            slow_assigned=0.3,
            hook=lambda consumer, mine: consumer.seek(next(iter(mine)), 7),
        )
        await member.wait_until(lambda: len(member.records) >= 3)

        assert member.values == numbers(3, 7)

    async def test_seek_goes_back(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        await lab.fill(process, topic, 0, 5)
        member = await lab.member(process, subscription(topic))
        await member.wait_until(lambda: len(member.records) >= 5)

        member.consumer.seek(Partition(topic, 0), 3)
        await member.wait_until(lambda: len(member.records) >= 7)

        assert member.values == [*numbers(5), *numbers(2, 3)]

    async def test_position_passes_over_what_compaction_took(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.compacted_topic(process)
        await lab.put(process, *(Outgoing(topic, b"same", b"%d" % n) for n in range(10)))
        await lab.compact(topic)
        partition = Partition(topic, 0)
        end = (await process.topics.bounds([partition]))[partition].end

        member = await lab.member(process, subscription(topic))
        await member.wait_until(lambda: member.consumer.position(partition) == end)

        assert [record.value for record in member.records if record.key != b"~"] == [b"9"]

    async def test_lost_place_is_an_error_and_not_a_jump(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        await lab.fill(process, topic, 0, 10)
        group = subscription(topic)
        first = await lab.member(process, group)
        await first.wait_for_values(b"9")
        partition = Partition(topic, 0)
        await first.consumer.commit({partition: Committed(2)})
        await first.end()
        await process.topics.delete_records({partition: 6})
        consumer = process.consumer(group, Quiet())
        await consumer.start()

        with pytest.raises(OffsetLostError) as caught:
            await _fetch_something(consumer)
        consumer.seek(partition, 6)
        values: list[bytes | None] = []
        async with asyncio.timeout(20):
            while len(values) < 4:
                values += [record.value for record in await consumer.fetch(max_records=10, timeout=0.5)]

        assert caught.value.lost == {partition: 2}
        assert values == numbers(4, 6)

    async def test_uncommitted_records_come_again_after_a_crash(self, lab: Lab) -> None:
        first, second = await lab.process(), await lab.process()
        topic = await lab.topic(first)
        await lab.fill(first, topic, 0, 10)
        group = subscription(topic)
        crashing = await lab.member(first, group)
        await crashing.wait_for_values(*numbers(10))
        await crashing.consumer.commit({Partition(topic, 0): Committed(4)})

        await lab.crash(first)
        member = await lab.member(second, group)
        await member.wait_for_values(b"9")

        assert member.values == numbers(6, 4)
        assert crashing.calls("revoking") == []

    async def test_new_group_begins_where_its_subscription_says(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        await lab.fill(process, topic, 0, 3)

        early = await lab.member(process, subscription(topic))
        late = await lab.member(process, subscription(topic, start="latest"))
        await asyncio.gather(early.wait_assigned(), late.wait_assigned())
        await lab.fill(process, topic, 0, 1, start=3)
        await asyncio.gather(early.wait_for_values(b"3"), late.wait_for_values(b"3"))

        assert early.values == numbers(4)
        assert late.values == [b"3"]


async def _fetch_something(consumer: Consumer) -> list[Record]:
    async with asyncio.timeout(20):
        while not (records := await consumer.fetch(max_records=10, timeout=0.5)):
            pass
    return records
