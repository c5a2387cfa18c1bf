"""Members of a group come, go, hang and are asked to end, while there is work."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.faults.site import SESSION_SECONDS, Site, account_names
from tests.faults.together import together

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

IN_FLIGHT = 500
STOPPED_SECONDS = 3 * SESSION_SECONDS


@together()
async def test_rolling_restart_of_four_members_under_load_repeats_nothing(site: Site) -> None:
    members = await site.crew(4)

    async with site.producing(rate=200):
        await site.counted(100)
        for member in members:
            assert await member.stop() == 0
            await site.member()
    await site.settled()

    assert len(site.ledger.effects) > 500
    assert site.ledger.repeated() == 0, "who leaves in good order leaves nothing half done"


@together()
async def test_member_stopped_for_longer_than_its_session_does_no_harm_when_it_wakes_up(site: Site) -> None:
    stopped, other = await site.crew(2, delay=0.05)

    async with site.producing(rate=200):
        await site.counted(200)
        assert stopped.pid in site.ledger.processes()
        await asyncio.to_thread(site.pause, stopped)
        before = site.ledger.count()
        await asyncio.sleep(STOPPED_SECONDS)
        taken_over = site.ledger.effects[before:]
        stopped.resume()
        after = site.ledger.count()
        while stopped.pid not in site.ledger.processes(after):  # it takes part again
            await site.counted(site.ledger.count() + 1)
    await site.settled()

    assert {done.account for done in taken_over} == set(account_names(40)), "the other member took all over"
    assert {done.process for done in taken_over} == {other.pid}


@together()
async def test_rebalance_waits_for_slow_handlers_and_hands_over_the_rest(site: Site) -> None:
    await site.send_many(120, accounts=40)
    await site.member(delay=1.0, in_flight=8)
    await site.begun(6)

    second = await site.member(delay=1.0, in_flight=8)  # joins while the first is in the middle
    await site.settled()

    assert second.pid in site.ledger.processes()
    assert site.ledger.repeated() == 0, "what was drained is not handled again"


@together()
async def test_sigterm_with_500_in_flight_ends_in_time_and_loses_nothing(site: Site) -> None:
    await site.send_many(1200, accounts=1200)
    member = await site.member(delay=3.0, in_flight=IN_FLIGHT)
    await site.begun(IN_FLIGHT)

    began = time.monotonic()
    code = await member.stop()
    took = time.monotonic() - began
    finished = site.ledger.count()
    await site.member(in_flight=IN_FLIGHT)
    await site.settled()

    assert code == 0
    assert took < site.settings.drain_timeout + site.settings.request_timeout
    assert finished >= IN_FLIGHT, "what was in flight is finished"
    assert site.ledger.repeated() == 0, "and not done again"


@together()
async def test_second_sigterm_ends_at_once_and_what_was_in_flight_is_done_again(site: Site) -> None:
    await site.send_many(600, accounts=600)
    member = await site.member(delay=60.0, in_flight=IN_FLIGHT)
    await site.begun(IN_FLIGHT)

    member.terminate()
    await asyncio.sleep(0.5)
    began = time.monotonic()
    code = await member.stop()
    took = time.monotonic() - began
    await site.member(in_flight=IN_FLIGHT)
    await site.settled()

    assert code == 1, "a platform sees that it did not end in good order"
    assert took < 5.0
    assert site.ledger.repeated() == IN_FLIGHT


@together()
async def test_sigterm_ends_a_process_in_time_though_a_handler_ignores_its_cancellation(site: Site) -> None:
    await site.send("account-0", do="cling")
    await site.send_many(200, accounts=40)
    member = await site.member(timeout="10m")
    await site.counted(190)

    began = time.monotonic()
    code = await member.stop(40.0)
    took = time.monotonic() - began
    await site.member(timeout="1s")
    await site.settled()

    assert took < 30.0
    assert any("left behind" in message for message in member.messages())
    assert code in (0, 1)
