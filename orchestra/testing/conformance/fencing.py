"""The contract of the fenced log: one owner writes, every older one cannot, and nobody is told a lie."""

from __future__ import annotations

import asyncio

import pytest

from orchestra.errors import (
    ClosedError,
    FenceBreachedError,
    FencedError,
    OutcomeUnknownError,
    RecordTooLargeError,
    TopicError,
)
from orchestra.ids import new_id
from orchestra.testing.conformance.lab import Lab
from orchestra.transport.port import FencedLog, Headers, Outgoing, Partition, Transport


def transactional_id() -> str:
    """One that nobody else has."""
    return f"conformance.{new_id()}"


async def append(log: FencedLog, value: bytes | None, headers: Headers = (), *, key: bytes = b"k") -> int:
    """Append, and wait for the offset."""
    return await (await log.append(key, value, headers))


async def values(lab: Lab, process: Transport, partition: Partition) -> list[bytes | None]:
    return [record.value for record in await lab.read_all(process, partition)]


class FencingConformance:
    """Tests of ``fenced_log`` and ``shut_out``."""

    async def test_claim_shuts_out_the_older_owner(self, lab: Lab) -> None:
        first, second = await lab.process(), await lab.process()
        partition = Partition(await lab.topic(first), 0)
        name = transactional_id()
        old = await first.fenced_log(name, partition)
        await append(old, b"old claim")
        new = await second.fenced_log(name, partition)
        await append(new, b"new claim")

        with pytest.raises(FencedError):
            await append(old, b"zombie")

        assert isinstance(old.failure, FencedError)
        assert new.failure is None
        assert await append(new, b"new") == 2
        assert await values(lab, first, partition) == [b"old claim", b"new claim", b"new"]

    async def test_older_owner_may_write_until_the_claim(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        name = transactional_id()
        old = await process.fenced_log(name, partition)
        await append(old, b"0")
        new = await process.fenced_log(name, partition)

        assert await append(old, b"1") == 1
        assert await append(new, b"claim") == 2
        with pytest.raises(FencedError):
            await append(old, b"3")

    async def test_owner_that_never_wrote_is_shut_out_too(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        name = transactional_id()
        old = await process.fenced_log(name, partition)
        new = await process.fenced_log(name, partition)
        await append(new, b"claim")

        with pytest.raises(FencedError):
            await append(old, b"its first")

    async def test_each_identity_is_one_epoch_above_the_last(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        name = transactional_id()

        identities = [(await process.fenced_log(name, partition)).identity for _ in range(3)]
        other = (await process.fenced_log(transactional_id(), partition)).identity

        first = identities[0]
        assert identities == [first, (first.producer_id, first.epoch + 1), (first.producer_id, first.epoch + 2)]
        assert other.producer_id != first.producer_id

    async def test_appends_are_pipelined_in_the_order_of_the_calls(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        log = await process.fenced_log(transactional_id(), partition)

        futures = [await log.append(b"k", b"%d" % n) for n in range(3000)]
        offsets = [await future for future in futures]

        assert offsets == list(range(3000))
        assert await values(lab, process, partition) == [b"%d" % n for n in range(3000)]

    async def test_fenced_owner_stores_nothing_of_what_was_under_way(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        name = transactional_id()
        old = await process.fenced_log(name, partition)
        await append(old, b"0")
        new = await process.fenced_log(name, partition)
        await append(new, b"claim")

        futures = [await old.append(b"k", b"zombie %d" % n) for n in range(100)]
        await asyncio.wait(futures)

        assert {type(future.exception()) for future in futures} == {FencedError}
        assert await values(lab, process, partition) == [b"0", b"claim"]

    async def test_nulls_and_headers_are_kept(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        log = await process.fenced_log(transactional_id(), partition)

        await append(log, None, [("a", b"1"), ("a", None)], key=b"gone")

        (record,) = await lab.read_all(process, partition)
        assert (record.key, record.value, list(record.headers)) == (b"gone", None, [("a", b"1"), ("a", None)])

    async def test_barrier_shuts_a_producer_id_out_for_good(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        name = transactional_id()
        log = await process.fenced_log(name, partition)
        await append(log, b"0")

        offset = await process.shut_out(log.identity.producer_id, partition, b"!barrier", [("h", b"1")])
        later = await process.fenced_log(name, partition)

        assert offset == 1
        for shut_out in (log, later):
            with pytest.raises(FencedError):
                await append(shut_out, b"zombie")
        other = await process.fenced_log(transactional_id(), partition)
        assert await append(other, b"another id") == 2
        barrier = (await lab.read_all(process, partition))[1]
        assert (barrier.key, barrier.value, list(barrier.headers)) == (b"!barrier", None, [("h", b"1")])

    async def test_second_barrier_stores_nothing(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        log = await process.fenced_log(transactional_id(), partition)
        await append(log, b"0")
        await process.shut_out(log.identity.producer_id, partition, b"!barrier")

        assert await process.shut_out(log.identity.producer_id, partition, b"!barrier") == -1
        assert len(await lab.read_all(process, partition)) == 2

    async def test_second_object_with_an_identity_in_use_is_found_out(self, lab: Lab) -> None:
        """Its sequence begins at 0 again: the broker would acknowledge its records as old ones, and store nothing."""
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        log = await process.fenced_log(transactional_id(), partition)
        for number in range(3):
            await append(log, b"%d" % number)

        second = await lab.second_object(process, partition, log.identity)
        with pytest.raises(FenceBreachedError):
            await append(second, b"lost")
        await second.aclose()

        assert await values(lab, process, partition) == [b"0", b"1", b"2"]

    async def test_fence_outlives_compaction(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.compacted_topic(process), 0)
        name = transactional_id()
        old = await process.fenced_log(name, partition)
        await append(old, b"0")
        new = await process.fenced_log(name, partition)
        for number in range(5):
            await append(new, b"%d" % number)
        await lab.compact(partition.topic)

        with pytest.raises(FencedError):
            await append(old, b"zombie")

        last = await append(new, b"last")
        assert [(r.value, r.offset) for r in await lab.read_all(process, partition)][-1] == (b"last", last)

    async def test_record_that_is_too_large_kills_the_log(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process, max_message_bytes="20000"), 0)
        log = await process.fenced_log(transactional_id(), partition)
        await append(log, b"0")

        with pytest.raises(RecordTooLargeError):
            await append(log, b"x" * 30_000)
        with pytest.raises(ClosedError):
            await append(log, b"small")

        assert isinstance(log.failure, RecordTooLargeError)
        assert len(await lab.read_all(process, partition)) == 1

    async def test_closed_log_stores_nothing_more(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        log = await process.fenced_log(transactional_id(), partition)
        await append(log, b"0")

        await log.aclose()
        await log.aclose()

        with pytest.raises(ClosedError):
            await append(log, b"1")
        assert log.failure is not None
        assert await values(lab, process, partition) == [b"0"]

    async def test_what_is_under_way_when_a_log_is_closed_is_unknown(self, lab: Lab) -> None:
        process = await lab.process()
        partition = Partition(await lab.topic(process), 0)
        log = await process.fenced_log(transactional_id(), partition)
        await append(log, b"0")

        future = await log.append(b"k", b"1")
        await log.aclose()

        with pytest.raises(OutcomeUnknownError):
            await future

    async def test_other_writers_are_not_concerned(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        log = await process.fenced_log(transactional_id(), Partition(topic, 0))
        await append(log, b"0")

        await lab.put(process, Outgoing(topic, b"k", b"anybody"))

        assert await append(log, b"2") == 2

    async def test_missing_topic_is_an_error_at_once(self, lab: Lab) -> None:
        process = await lab.process()

        with pytest.raises(TopicError, match=r"conformance\.missing"):
            await process.fenced_log(transactional_id(), Partition("conformance.missing", 0))
