"""The contract of a publisher: what is stored, where, in which order, and what is said when it is not."""

from __future__ import annotations

import asyncio
import time

import pytest

from orchestra.errors import ClosedError, RecordTooLargeError, TopicError, UnreachableError
from orchestra.testing.conformance.lab import Lab
from orchestra.transport.partitioner import partition_for
from orchestra.transport.port import Headers, Outgoing, Partition, Position


class PublishingConformance:
    """Tests of ``Publisher``."""

    @pytest.mark.parametrize(
        ("key", "value", "headers"),
        [
            (b"k", b"v", [("a", b"1")]),
            (None, b"v", []),
            (b"k", None, []),
            (b"", b"", [("", b"")]),
            (b"\x00\xff", b"\x00" * 100, [("a", None), ("a", b""), ("a", b"\xff\x00"), ("\u00fc\u4e2d", b"x")]),
        ],
        ids=["plain", "no key", "null", "empty", "odd"],
    )
    async def test_key_value_and_headers_come_back_byte_for_byte(
        self, lab: Lab, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        process = await lab.process()
        topic = await lab.topic(process)

        await lab.put(process, Outgoing(topic, key, value, headers))

        (record,) = await lab.read_all(process, Partition(topic, 0))
        assert (record.key, record.value, list(record.headers)) == (key, value, list(headers))

    async def test_last_header_of_a_name_is_found(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)

        await lab.put(process, Outgoing(topic, b"k", b"v", [("a", b"1"), ("b", None), ("a", b"2")]))

        (record,) = await lab.read_all(process, Partition(topic, 0))
        assert (record.header("a"), record.header("b"), record.header("c")) == (b"2", None, None)

    async def test_timestamp_is_the_senders(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)

        await lab.put(process, Outgoing(topic, b"k", b"v", timestamp_ms=1_700_000_000_123))

        (record,) = await lab.read_all(process, Partition(topic, 0))
        assert (record.timestamp_ms, record.append_time) == (1_700_000_000_123, False)

    async def test_timestamp_is_now_without_one(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)

        await lab.put(process, Outgoing(topic, b"k", b"v"))

        (record,) = await lab.read_all(process, Partition(topic, 0))
        assert abs(record.timestamp_ms - time.time_ns() // 1_000_000) < 60_000

    async def test_broker_sets_the_timestamp_where_the_topic_says_so(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process, message_timestamp_type="LogAppendTime")

        await lab.put(process, Outgoing(topic, b"k", b"v", timestamp_ms=1_000_000_000_000))

        (record,) = await lab.read_all(process, Partition(topic, 0))
        assert record.append_time
        assert abs(record.timestamp_ms - time.time_ns() // 1_000_000) < 60_000

    async def test_key_chooses_the_partition_by_murmur2(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process, 7)
        keys = [b"key-%d" % n for n in range(40)]
        publisher = process.publisher()
        await publisher.start()

        positions = await publisher.publish([Outgoing(topic, key, b"v") for key in keys])

        assert [position.partition for position in positions] == [partition_for(key, 7) for key in keys]

    async def test_record_without_a_key_goes_anywhere(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process, 3)
        publisher = process.publisher()
        await publisher.start()

        positions = await publisher.publish([Outgoing(topic, None, b"v") for _ in range(9)])

        assert {position.partition for position in positions} <= {0, 1, 2}

    @pytest.mark.parametrize("linger", [0.0, 0.01])
    async def test_records_of_a_partition_are_stored_in_the_order_of_the_calls(self, lab: Lab, linger: float) -> None:
        process = await lab.process()
        topic = await lab.topic(process, 2)
        publisher = process.publisher(linger=linger)
        await publisher.start()

        futures = [await publisher.send(Outgoing(topic, b"k", b"%d" % n, partition=n % 2)) for n in range(2000)]
        positions = [await future for future in futures]

        assert positions == [Position(topic, n % 2, n // 2) for n in range(2000)]
        for number in (0, 1):
            records = await lab.read_all(process, Partition(topic, number))
            assert [record.value for record in records] == [b"%d" % n for n in range(number, 2000, 2)]

    async def test_record_that_is_too_large_fails_alone(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process, max_message_bytes="20000")
        publisher = process.publisher()
        await publisher.start()

        sizes = (10, 30_000, 10, 10)
        futures = [await publisher.send(Outgoing(topic, b"k", b"x" * size)) for size in sizes]
        await asyncio.wait(futures)

        assert isinstance(futures[1].exception(), RecordTooLargeError)
        assert [futures[n].result().offset for n in (0, 2, 3)] == [0, 1, 2]

    async def test_many_small_records_are_not_too_large_together(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process, max_message_bytes="20000")
        publisher = process.publisher()
        await publisher.start()

        positions = await publisher.publish([Outgoing(topic, b"k", b"x" * 1000) for _ in range(50)])

        assert [position.offset for position in positions] == list(range(50))

    async def test_large_record_is_stored_where_the_topic_allows_it(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process, max_message_bytes="8000000")

        await lab.put(process, Outgoing(topic, b"k", b"x" * 5_000_000))

        (record,) = await lab.read_all(process, Partition(topic, 0))
        assert len(record.value or b"") == 5_000_000

    async def test_record_without_a_key_is_refused_alone_by_a_compacted_topic(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.compacted_topic(process)
        publisher = process.publisher()
        await publisher.start()

        futures = [await publisher.send(Outgoing(topic, key, b"v")) for key in (b"a", None, b"b")]
        await asyncio.wait(futures)

        assert isinstance(futures[1].exception(), TopicError)
        assert [futures[n].result().offset for n in (0, 2)] == [0, 1]

    async def test_missing_topic_and_partition_are_named_and_others_go_on(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        publisher = process.publisher()
        await publisher.start()

        missing = await publisher.send(Outgoing("conformance.missing", b"k", b"v"))
        explicit = await publisher.send(Outgoing("conformance.missing", b"k", b"v", partition=0))
        beyond = await publisher.send(Outgoing(topic, b"k", b"v", partition=5))
        fine = await publisher.send(Outgoing(topic, b"k", b"v"))
        await asyncio.wait([missing, explicit, beyond, fine])

        for future, name in ((missing, "conformance.missing"), (explicit, "conformance.missing"), (beyond, topic)):
            error = future.exception()
            assert isinstance(error, TopicError)
            assert name in str(error)
        assert fine.result() == Position(topic, 0, 0)

    async def test_publish_raises_the_first_failure_after_all_have_ended(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        publisher = process.publisher()
        await publisher.start()

        with pytest.raises(TopicError):
            await publisher.publish([Outgoing("conformance.missing", b"k", b"v"), Outgoing(topic, b"k", b"v")])

        assert len(await lab.read_all(process, Partition(topic, 0))) == 1

    async def test_many_are_stored_in_the_order_of_each_partition_and_with_all_that_was_handed_over(
        self, lab: Lab
    ) -> None:
        process = await lab.process()
        topic = await lab.topic(process, 3)
        publisher = process.publisher()
        await publisher.start()
        records = [Outgoing(topic, b"%d" % (n % 20), b"%d" % n + bytes(2000), [("n", b"%d" % n)]) for n in range(1000)]

        deliveries = [await publisher.send_many(records[n : n + 300]) for n in range(0, 1000, 300)]

        assert [await delivery.wait() for delivery in deliveries] == [{}] * 4
        assert all(delivery.is_done for delivery in deliveries)
        for number in range(3):
            mine = [each for each in records if partition_for(each.key or b"", 3) == number]
            stored = await lab.read_all(process, Partition(topic, number))
            assert [(r.key, r.value, list(r.headers)) for r in stored] == [(r.key, r.value, r.headers) for r in mine]

    async def test_many_and_single_records_are_stored_in_the_order_of_the_calls(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        publisher = process.publisher()
        await publisher.start()

        first = await publisher.send(Outgoing(topic, b"k", b"0"))
        some = await publisher.send_many([Outgoing(topic, b"k", b"1"), Outgoing(topic, None, b"2", partition=0)])
        last = await publisher.send(Outgoing(topic, b"k", b"3"))

        assert await some.wait() == {}
        assert [(await first).offset, (await last).offset] == [0, 3]
        assert [record.value for record in await lab.read_all(process, Partition(topic, 0))] == [b"0", b"1", b"2", b"3"]

    async def test_of_many_only_those_that_are_named_are_not_stored(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process, max_message_bytes="20000")
        publisher = process.publisher()
        await publisher.start()
        records = [Outgoing(topic, b"k", b"%d" % n + bytes(30_000 if n == 2 else 10)) for n in range(6)]
        records[4] = Outgoing("conformance.missing", b"k", b"v")

        failures = await (await publisher.send_many(records)).wait()

        assert {place: type(error) for place, error in failures.items()} == {2: RecordTooLargeError, 4: TopicError}
        stored = await lab.read_all(process, Partition(topic, 0))
        assert [record.value for record in stored] == [records[n].value for n in (0, 1, 3, 5)]

    async def test_close_waits_for_many_that_were_sent(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        publisher = process.publisher()
        await publisher.start()
        delivery = await publisher.send_many([Outgoing(topic, b"k", b"%d" % n) for n in range(500)])

        await publisher.aclose()

        assert await delivery.wait() == {}
        with pytest.raises(ClosedError):
            await publisher.send_many([Outgoing(topic, b"k", b"v")])

    async def test_cancelled_future_disturbs_nobody(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        publisher = process.publisher()
        await publisher.start()

        futures = [await publisher.send(Outgoing(topic, b"k", b"%d" % n)) for n in range(3)]
        futures[1].cancel()
        await futures[2]

        assert (await futures[0]).offset == 0
        assert (await publisher.publish([Outgoing(topic, b"k", b"3")]))[0].offset in (2, 3)

    async def test_close_waits_for_what_was_sent(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        publisher = process.publisher(linger=0.05)
        await publisher.start()
        futures = [await publisher.send(Outgoing(topic, b"k", b"v")) for _ in range(100)]

        await publisher.aclose()
        await publisher.aclose()

        assert [future.result().offset for future in futures] == list(range(100))

    async def test_closed_publisher_says_so(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        publisher = process.publisher()

        with pytest.raises(ClosedError):
            await publisher.send(Outgoing(topic, b"k", b"v"))
        await publisher.start()
        await publisher.aclose()
        with pytest.raises(ClosedError):
            await publisher.send(Outgoing(topic, b"k", b"v"))

    async def test_unreachable_cluster_is_an_error_at_start(self, lab: Lab) -> None:
        transport = lab.unreachable_transport()

        with pytest.raises(UnreachableError):
            await transport.start()
        await transport.aclose()
