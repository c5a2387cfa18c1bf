"""Records that cannot be handled, a dependency that is down, a handler that does not stop, an answer that is lost."""

from __future__ import annotations

import asyncio
import time

import pytest

from orchestra.service.budget import DeadLetterBudget
from orchestra.transport.port import Outgoing, Partition
from tests.faults.site import PARTITIONS, Site
from tests.faults.together import together

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

BACKLOG = 10_000
DOWN_SECONDS = 25.0
NO_ANSWER_SECONDS = 20.0
BAD_RELEASE_SECONDS = 10.0


@together()
async def test_dependency_that_is_down_for_a_while_burns_no_tries_of_a_backlog(site: Site) -> None:
    await site.send_many(BACKLOG, accounts=200)
    site.break_dependency()
    await site.member()
    await site.begun(2)
    await asyncio.sleep(DOWN_SECONDS)
    begun = len(site.ledger.journal("begun"))

    site.mend_dependency()
    await site.settled(timeout=120)

    assert begun < 200, "one at a time asks whether it is back"
    assert await site.letters() == []


@together(session_timeout=3.0, heartbeat_interval=0.5)
async def test_record_that_kills_its_process_is_a_dead_letter_after_a_few_deaths(site: Site) -> None:
    deaths: list[int] = []

    async def platform() -> None:
        while True:  # whatever ends is started again
            member = await site.begin()
            member.dies()
            deaths.append(await member.ended(timeout=200))

    await site.send_many(200, accounts=40)
    await site.send("account-0", do="die")
    await site.send_many(200, accounts=40)
    starting_again = asyncio.create_task(platform())

    await site.settled(timeout=150)
    starting_again.cancel()

    assert [reason for _, reason in await site.letters()] == ["CRASH_LOOP"]
    assert set(deaths) == {-9}
    assert len(deaths) <= 8


@together()
async def test_release_that_fails_on_everything_dead_letters_a_few_and_the_mended_one_does_the_rest(site: Site) -> None:
    await site.send_many(2000, accounts=100)
    bad = await site.crew(2, fails=True)
    await site.begun(40)
    await asyncio.sleep(BAD_RELEASE_SECONDS)
    for member in bad:
        assert await member.stop() == 0
    letters = {command for command, _ in await site.letters()}
    site.doomed |= letters

    await site.crew(2)
    await site.settled()

    assert 0 < len(letters) <= 2 * PARTITIONS * DeadLetterBudget().burst, "for each process and partition"


@together()
async def test_commit_whose_answer_never_comes_stops_nobody(site: Site) -> None:
    began = time.monotonic()
    member = await site.member(hold_commits=(3, NO_ANSWER_SECONDS))
    async with site.producing(rate=200):
        while time.monotonic() < began + NO_ANSWER_SECONDS:
            await site.counted(site.ledger.count() + 20, timeout=10)
    await site.settled()

    said = [message for message in member.messages() if message.startswith("not committed")]
    assert said, member.messages()


@together()
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


@together()
async def test_handler_that_ignores_its_cancellation_is_given_up_and_its_account_goes_on(site: Site) -> None:
    await site.send("account-0", "account-1", do="cling")
    await site.send_many(200, accounts=40)

    await site.member(timeout="1s")

    await site.settled()
    assert {reason for _, reason in await site.letters()} == {"TIMEOUT"}
