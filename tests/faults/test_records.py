"""Records that cannot be handled, a dependency that is down, a handler that does not stop: the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestra.testing.kafka_cluster import KafkaCluster
from orchestra.transport.port import Outgoing, Partition
from tests.faults.site import PARTITIONS, Site

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

BACKLOG = 10_000
DOWN_SECONDS = 25.0


@pytest.fixture
async def site(kafka_cluster: KafkaCluster, tmp_path: Path) -> AsyncIterator[Site]:
    async with Site(kafka_cluster, tmp_path) as site:
        yield site


async def test_poison_that_comes_first_in_its_partition_keeps_nobody_behind_it(site: Site) -> None:
    for partition in range(PARTITIONS):  # bytes that are no event, and then an event that no handler can handle
        await site.put(Outgoing(site.numbers, b"account-0", b"\xff\x00", [], partition=partition))
    await site.send(*[f"account-{number}" for number in range(20)], do="poison")
    await site.send_many(200, accounts=40)

    await site.member()

    await site.settled()
    reasons = [letter.header("orchestra-dlq-reason") for letter in await site.records(site.letters_topic)]
    assert reasons.count(b"DECODE") == PARTITIONS
    assert reasons.count(b"PERMANENT") == 20
    first = {Partition(letter.topic, letter.partition) for letter in await site.records(site.letters_topic)}
    assert len(first) == PARTITIONS, "in every partition"


async def test_dependency_that_is_down_for_a_while_burns_no_tries_of_a_backlog(site: Site) -> None:
    await site.send_many(BACKLOG, accounts=200)
    site.break_dependency()
    for member in [await site.begin(), await site.begin()]:
        await member.running()
    await site.begun(64)
    await asyncio.sleep(DOWN_SECONDS)
    begun = len(site.ledger.journal("begun"))

    site.mend_dependency()
    await site.settled(timeout=120)

    assert begun < BACKLOG / 4, "those that wait are few, and ask now and then"
    assert await site.letters() == []


async def test_handler_that_ignores_its_cancellation_is_given_up_and_its_account_goes_on(site: Site) -> None:
    await site.send("account-0", "account-1", do="cling")
    await site.send_many(200, accounts=40)

    await site.member(timeout="1s")

    await site.settled()
    assert {reason for _, reason in await site.letters()} == {"TIMEOUT"}


async def test_record_that_kills_its_process_is_a_dead_letter_after_a_few_deaths(
    kafka_cluster: KafkaCluster, tmp_path: Path
) -> None:
    deaths: list[int] = []

    async def platform() -> None:
        while True:  # whatever ends is started again
            member = await site.begin()
            member.dies()
            deaths.append(await member.ended(timeout=200))

    async with Site(kafka_cluster, tmp_path, session_timeout=3.0, heartbeat_interval=0.5) as site:
        await site.send_many(200, accounts=40)
        await site.send("account-0", do="die")
        await site.send_many(200, accounts=40)
        starting_again = asyncio.create_task(platform())

        await site.settled(timeout=150)
        starting_again.cancel()

        assert [reason for _, reason in await site.letters()] == ["CRASH_LOOP"]
        assert set(deaths) == {-9}
        assert len(deaths) <= 8
