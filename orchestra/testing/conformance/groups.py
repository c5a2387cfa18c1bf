"""The contract of a consumer: who reads what, from where, and what a rebalance may not do."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from typing import Literal

import pytest

from orchestra.errors import (
    ClosedError,
    TopicError,
)
from orchestra.ids import new_id
from orchestra.testing.conformance.lab import Lab
from orchestra.transport.port import Consumer, Outgoing, Partition, Subscription, Transport


def subscription(topic: str, *, start: Literal["earliest", "latest"] = "earliest") -> Subscription:
    """A group of its own."""
    return Subscription(f"group.{new_id()}", [topic], start=start)


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % n for n in range(start, start + count)]


class GroupConformance:
    """Tests of ``Consumer``."""

    async def test_records_come_in_the_order_of_their_partition(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process, 2)
        for number in (0, 1):
            await lab.fill(process, topic, number, 500)

        member = await lab.member(process, subscription(topic))
        await member.wait_until(lambda: len(member.records) >= 1000)

        for number in (0, 1):
            values = [record.value for record in member.records if record.partition == number]
            assert values == numbers(500)
        member.check_gate()

    async def test_fetch_gives_at_most_as_many_as_asked_for(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process, 2)
        for number in (0, 1):
            await lab.fill(process, topic, number, 10)
        consumer = process.consumer(subscription(topic), Quiet())
        await consumer.start()

        sizes: list[int] = []
        async with asyncio.timeout(20):
            while sum(sizes) < 20:
                sizes.append(len(await consumer.fetch(max_records=3, timeout=0.5)))

        assert max(sizes) <= 3
        assert [consumer.position(Partition(topic, number)) for number in (0, 1)] == [10, 10]

    async def test_fetch_is_empty_after_its_timeout(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        consumer = process.consumer(subscription(topic), Quiet())
        await consumer.start()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            while not consumer.assignment():
                await consumer.fetch(max_records=1, timeout=0.05)

        began = loop.time()
        records = await consumer.fetch(max_records=10, timeout=0.4)

        assert records == []
        assert 0.3 < loop.time() - began < 3

    async def test_record_that_arrives_during_a_fetch_ends_it(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        consumer = process.consumer(subscription(topic), Quiet())
        await consumer.start()
        fetching = asyncio.create_task(consumer.fetch(max_records=10, timeout=15))
        await asyncio.sleep(0.5)

        await lab.fill(process, topic, 0, 1)

        async with asyncio.timeout(10):
            assert [record.value for record in await fetching] == [b"0"]

    async def test_two_members_share_and_nothing_is_lost(self, lab: Lab) -> None:
        first, second = await lab.process(), await lab.process()
        topic = await lab.topic(first, 4)
        for number in range(4):
            await lab.fill(first, topic, number, 50)
        group = subscription(topic)
        one = await lab.member(first, group)
        await one.wait_until(lambda: len(one.records) >= 200)
        two = await lab.member(second, group)
        await asyncio.gather(one.wait_assigned(2), two.wait_assigned(2))

        for number in range(4):
            await lab.fill(first, topic, number, 50, start=50)
        seen = {(record.partition, record.value) for record in (*one.records, *two.records)}
        await one.wait_until(lambda: len({(r.partition, r.value) for r in (*one.records, *two.records)} | seen) == 400)

        assert one.consumer.assignment().isdisjoint(two.consumer.assignment())
        one.check_gate()
        two.check_gate()

    async def test_no_record_comes_before_on_assigned_has_returned(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process, 2)
        for number in (0, 1):
            await lab.fill(process, topic, number, 100)

        member = await lab.member(process, subscription(topic), slow_assigned=0.7)
        await member.wait_until(lambda: len(member.records) >= 200)

        assert [what for what, _ in member.history[:2]] == ["assigning", "assigned"]
        assert sorted(record.offset for record in member.records) == sorted([*range(100), *range(100)])
        member.check_gate()

    async def test_members_stay_during_an_on_assigned_longer_than_the_session(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        await lab.fill(process, topic, 0, 1)

        member = await lab.member(process, subscription(topic), slow_assigned=2 * lab.settings.session_timeout)
        await member.wait_for_values(b"0")

        assert len(member.calls("assigning")) == 1

    async def test_revocation_cancels_an_on_assigned_that_takes_too_long(self, lab: Lab) -> None:
        first, second = await lab.process(), await lab.process()
        topic = await lab.topic(first)
        group = subscription(topic)
        one = await lab.member(first, group, slow_assigned=600)
        await one.wait_until(lambda: bool(one.calls("assigning")))

        two = await lab.member(second, group)
        await two.wait_until(lambda: bool(one.calls("revoked")))
        await one.end()
        await two.wait_assigned(1)

        assert [what for what, _ in one.history][:3] == ["assigning", "revoking", "revoked"]

    async def test_no_record_comes_after_on_revoked_has_begun(self, lab: Lab) -> None:
        first, second = await lab.process(), await lab.process()
        topic = await lab.topic(first, 4)
        group = subscription(topic)
        one = await lab.member(first, group, slow_revoked=0.7)
        await one.wait_assigned(4)
        feeding = asyncio.create_task(_feed(lab, first, topic, 4, rounds=30))

        two = await lab.member(second, group)
        await asyncio.gather(one.wait_assigned(2), two.wait_assigned(2), feeding)

        assert one.calls("revoked")
        one.check_gate()
        two.check_gate()

    async def test_what_is_committed_in_on_revoked_counts_for_the_next_owner(self, lab: Lab) -> None:
        first, second = await lab.process(), await lab.process()
        topic = await lab.topic(first, 4)
        for number in range(4):
            await lab.fill(first, topic, number, 25)
        group = subscription(topic)
        one = await lab.member(first, group)
        one.commit_on_revoke = True
        await one.wait_until(lambda: len(one.records) >= 100)

        two = await lab.member(second, group)
        await asyncio.gather(one.wait_assigned(2), two.wait_assigned(2))
        await lab.put(first, *(Outgoing(topic, b"k", b"last", partition=number) for number in range(4)))
        await asyncio.gather(
            one.wait_until(lambda: len(one.records) >= 102), two.wait_until(lambda: len(two.records) >= 2)
        )

        assert Counter(one.values + two.values) == Counter(numbers(25) * 4 + [b"last"] * 4)

    async def test_partitions_of_one_number_stay_together_where_that_is_asked_for(self, lab: Lab) -> None:
        first, second = await lab.process(), await lab.process()
        topics = [await lab.topic(first, 4), await lab.topic(first, 4)]
        group = Subscription(f"group.{new_id()}", topics, together=topics)
        one = await lab.member(first, group)
        await one.wait_assigned(8)

        two = await lab.member(second, group)
        await asyncio.gather(one.wait_assigned(4), two.wait_assigned(4))

        for member in (one, two):
            owned = member.consumer.assignment()
            assert len({frozenset(p.number for p in owned if p.topic == topic) for topic in topics}) == 1

    async def test_closing_revokes_and_leaves_the_group_at_once(self, lab: Lab) -> None:
        first, second = await lab.process(), await lab.process()
        topic = await lab.topic(first, 2)
        group = subscription(topic)
        one = await lab.member(first, group)
        await one.wait_assigned(2)
        two = await lab.member(second, group)
        await asyncio.gather(one.wait_assigned(1), two.wait_assigned(1))

        await one.end()
        await one.end()
        await two.wait_assigned(2)

        assert [what for what, _ in one.history][-2:] == ["revoking", "revoked"]

    async def test_listener_that_raises_counts_as_returned(self, lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        await lab.fill(process, topic, 0, 3)

        member = await lab.member(process, subscription(topic), hook=_raise)
        await member.wait_for_values(*numbers(3))

        assert "a listener failed with" in caplog.text

    async def test_paused_partition_gives_nothing_until_it_is_resumed(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process, 2)
        member = await lab.member(process, subscription(topic))
        await member.wait_assigned(2)
        consumer, held, other = member.consumer, Partition(topic, 0), Partition(topic, 1)

        consumer.pause([held, Partition(topic, 9)])
        assert consumer.paused() == {held}
        for number in (0, 1):
            await lab.fill(process, topic, number, 5)
        await member.wait_until(lambda: len(member.records) >= 5)
        await asyncio.sleep(0.5)
        assert {record.partition for record in member.records} == {other.number}

        consumer.resume([held, Partition(topic, 9)])
        assert consumer.paused() == frozenset()
        await member.wait_until(lambda: len(member.records) >= 10)
        assert [record.offset for record in member.records if record.partition == 0] == list(range(5))

    async def test_pause_outlives_a_rebalance_for_a_partition_that_stays(self, lab: Lab) -> None:
        first, second = await lab.process(), await lab.process()
        topic = await lab.topic(first, 2)
        group = subscription(topic)
        one = await lab.member(first, group)
        await one.wait_assigned(2)
        one.consumer.pause([Partition(topic, 0), Partition(topic, 1)])
        two = await lab.member(second, group)
        await asyncio.gather(one.wait_assigned(1), two.wait_assigned(1))

        for number in (0, 1):
            await lab.fill(first, topic, number, 1)
        await two.wait_for_values(b"0")
        await asyncio.sleep(0.5)

        assert one.records == []

    async def test_it_is_a_member_also_of_a_group_that_has_no_partition_for_it(self, lab: Lab) -> None:
        first, second = await lab.process(), await lab.process()
        group = subscription(await lab.topic(first, 1))
        one = await lab.member(first, group)
        await one.wait_assigned(1)
        two = await lab.member(second, group)

        await one.wait_until(lambda: one.consumer.is_member and two.consumer.is_member)
        assert sorted(len(each.consumer.assignment()) for each in (one, two)) == [0, 1]
        await one.consumer.aclose()

        assert not one.consumer.is_member

    async def test_missing_topic_is_an_error_at_start(self, lab: Lab) -> None:
        process = await lab.process()
        consumer = process.consumer(subscription("conformance.missing"), Quiet())

        with pytest.raises(TopicError, match=r"conformance\.missing"):
            await consumer.start()
        await consumer.aclose()

    async def test_closed_consumer_says_so(self, lab: Lab) -> None:
        process = await lab.process()
        topic = await lab.topic(process)
        consumer = process.consumer(subscription(topic), Quiet())

        with pytest.raises(ClosedError):
            await consumer.fetch(max_records=1, timeout=0.1)
        await consumer.start()
        await consumer.aclose()
        with pytest.raises(ClosedError):
            await consumer.fetch(max_records=1, timeout=0.1)
        assert consumer.assignment() == frozenset()


class Quiet:
    """A listener that does nothing."""

    async def on_assigned(self, partitions: Collection[Partition]) -> None:
        pass

    async def on_revoked(self, partitions: Collection[Partition]) -> None:
        pass


def _raise(consumer: Consumer, partitions: Collection[Partition]) -> None:
    raise RuntimeError(f"a listener failed with {sorted(partitions)}")


async def _feed(lab: Lab, process: Transport, topic: str, partitions: int, *, rounds: int) -> None:
    """Put a record on each partition, again and again."""
    for number in range(rounds):
        await lab.put(process, *(Outgoing(topic, b"k", b"%d" % number, partition=each) for each in range(partitions)))
        await asyncio.sleep(0.05)
