"""The contract of readers and topics: what is there, from where, and what is gone."""

from __future__ import annotations

import asyncio

import pytest

from orchestra.errors import ClosedError, OffsetLostError, TopicError
from orchestra.ids import new_id
from orchestra.testing.conformance.lab import Lab
from orchestra.transport.port import Bounds, Outgoing, Partition, TopicSpec


class ReadingConformance:
    """Tests of ``Reader`` and ``Topics``."""

    async def test_reader_begins_at_the_start_or_where_it_is_told(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        await lab.fill(process, partition.topic, 0, 10)

        whole, part = await process.reader(partition), await process.reader(partition, offset=7)

        assert [r.offset for r in await whole.fetch(max_records=100, timeout=5)] == list(range(10))
        assert [r.offset for r in await part.fetch(max_records=2, timeout=5)] == [7, 8]
        assert [r.offset for r in await part.fetch(max_records=2, timeout=5)] == [9]

    async def test_reader_waits_for_what_comes(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        reader = await process.reader(partition)

        assert await reader.fetch(max_records=10, timeout=0.2) == []
        fetching = asyncio.create_task(reader.fetch(max_records=10, timeout=15))
        await asyncio.sleep(0.1)
        await lab.fill(process, partition.topic, 0, 1)

        async with asyncio.timeout(10):
            assert [record.value for record in await fetching] == [b"0"]

    async def test_reader_without_an_offset_begins_at_what_is_still_there(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        await lab.fill(process, partition.topic, 0, 10)
        await process.topics.delete_records({partition: 4})

        reader = await process.reader(partition)

        assert [r.offset for r in await reader.fetch(max_records=100, timeout=5)] == list(range(4, 10))

    async def test_reader_says_when_its_offset_is_lost(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        await lab.fill(process, partition.topic, 0, 10)
        await process.topics.delete_records({partition: 4})

        for offset in (3, 11):
            reader = await process.reader(partition, offset=offset)
            with pytest.raises(OffsetLostError) as caught:
                await reader.fetch(max_records=100, timeout=5)
            assert caught.value.lost == {partition: offset}

    async def test_reader_sees_nulls_and_what_compaction_left(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.compacted_topic(process), 0)
        written = [(b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"b", None), (b"c", b"1")]
        await lab.put(process, *(Outgoing(partition.topic, key, value) for key, value in written))

        before = await lab.read_all(process, partition)
        await lab.compact(partition.topic)
        after = await lab.read_all(process, partition)

        assert [(record.key, record.value) for record in before] == written
        assert [(r.offset, r.key, r.value) for r in after] == [(2, b"a", b"2"), (3, b"b", None), (4, b"c", b"1")]

    async def test_closed_reader_says_so(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        reader = await process.reader(partition)

        await reader.aclose()
        await reader.aclose()

        with pytest.raises(ClosedError):
            await reader.fetch(max_records=1, timeout=0.1)

    async def test_reader_of_a_missing_topic_is_an_error(self, lab: Lab) -> None:
        process = await lab.process()

        with pytest.raises(TopicError, match=r"conformance\.missing"):
            await process.reader(Partition("conformance.missing", 0))

    async def test_topics_are_described_as_they_were_made(self, lab: Lab) -> None:
        process = await lab.process()
        name = await lab.topic(process, 3, cleanup_policy="compact", retention_ms="-1")

        found = await process.topics.describe([name, "conformance.missing"])

        assert list(found) == [name]
        state = found[name]
        assert (state.name, state.partitions) == (name, 3)
        assert state.replication_factor >= 1
        assert (state.config["cleanup.policy"], state.config["retention.ms"]) == ("compact", "-1")

    async def test_topic_made_anew_has_another_id(self, lab: Lab) -> None:
        process = await lab.process()
        name = await lab.topic(process)
        first = (await process.topics.describe([name]))[name].topic_id

        await process.topics.delete([name])
        gone = await process.topics.describe([name])
        await process.topics.create([TopicSpec(name, 1)])
        second = (await process.topics.describe([name]))[name].topic_id

        assert gone == {}
        assert first
        assert second
        assert first != second

    async def test_creating_again_leaves_a_topic_as_it_is(self, lab: Lab) -> None:
        process = await lab.process()
        name = await lab.topic(process, 2)
        await lab.fill(process, name, 1, 3)

        await process.topics.create([TopicSpec(name, 5), TopicSpec(f"{name}.other", 1)])

        found = await process.topics.describe([name, f"{name}.other"])
        assert {each: state.partitions for each, state in found.items()} == {name: 2, f"{name}.other": 1}
        assert (await process.topics.bounds([Partition(name, 1)]))[Partition(name, 1)] == Bounds(0, 3)

    async def test_partitions_without_a_number_are_the_settings(self, lab: Lab) -> None:
        process = await lab.process()
        name = f"conformance.{new_id()}"

        await process.topics.create([TopicSpec(name)])

        assert (await process.topics.describe([name]))[name].partitions == lab.settings.partitions

    async def test_topic_that_cannot_be_is_an_error(self, lab: Lab) -> None:
        process = await lab.process()

        with pytest.raises(TopicError):
            await process.topics.create([TopicSpec("no / legal name", 1)])

    async def test_deleting_what_is_missing_is_no_error(self, lab: Lab) -> None:
        process = await lab.process()

        await process.topics.delete(["conformance.missing"])

    async def test_bounds_follow_what_is_written_and_deleted(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process, 2)
        empty, full = Partition(topic, 0), Partition(topic, 1)
        await lab.fill(process, topic, 1, 10)

        await process.topics.delete_records({full: 7})

        assert await process.topics.bounds([empty, full]) == {empty: Bounds(0, 0), full: Bounds(7, 10)}

    async def test_bounds_of_a_missing_topic_are_an_error(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)

        with pytest.raises(TopicError):
            await process.topics.bounds([Partition("conformance.missing", 0)])
        with pytest.raises(TopicError):
            await process.topics.bounds([Partition(topic, 9)])

    async def test_nothing_is_deleted_beyond_the_end(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        await lab.fill(process, partition.topic, 0, 3)

        with pytest.raises(OffsetLostError):
            await process.topics.delete_records({partition: 9})

        assert (await process.topics.bounds([partition]))[partition] == Bounds(0, 3)

    async def test_closed_transport_says_so(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)

        await process.aclose()
        await process.aclose()

        with pytest.raises(ClosedError):
            await process.topics.describe([topic])
        with pytest.raises(ClosedError):
            process.publisher()
        with pytest.raises(ClosedError):
            await process.reader(Partition(topic, 0))
