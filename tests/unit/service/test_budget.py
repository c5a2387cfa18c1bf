"""A release that fails on everything leaves its backlog where it is."""

from __future__ import annotations

import asyncio
import logging

import pytest

from orchestra.errors import DefinitionError, PermanentError, TransientError
from orchestra.retry import Retry
from orchestra.service.budget import DeadLetterBudget, Purse
from orchestra.service.context import Context
from orchestra.service.service import Service
from orchestra.transport.port import Outgoing
from tests.unit.service.rig import Placed, Rig, until

# ---- on plain values


def test_burst_is_granted_and_then_one_in_each_period() -> None:
    purse = Purse(DeadLetterBudget(burst=3, share=0.1, every="5m"), now=0.0)

    assert [purse.take(0.0, done) for done in range(4)] == [0, 0, 0, 300]
    assert purse.take(100.0, 3) == pytest.approx(200)
    assert purse.take(300.0, 3) == 0


def test_successes_earn_their_share_and_dead_letters_do_not() -> None:
    purse = Purse(DeadLetterBudget(burst=2, share=0.1), now=0.0)
    assert [purse.take(0.0, done) for done in range(2)] == [0, 0]
    assert purse.take(0.0, 2) > 0
    assert purse.take(0.0, 2 + 9) > 0
    assert purse.take(0.0, 2 + 10) == 0


def test_no_more_than_the_burst_is_saved_up() -> None:
    purse = Purse(DeadLetterBudget(burst=2, share=1.0), now=0.0)
    assert [purse.take(0.0, 10_000 + done) for done in range(3)][:2] == [0, 0]
    assert purse.take(0.0, 10_002) > 0


def test_partition_that_was_away_counts_anew() -> None:
    purse = Purse(DeadLetterBudget(burst=1, share=0.1), now=0.0)
    assert purse.take(0.0, 1_000, assigned=1.0) == 0
    assert purse.take(0.0, 0, assigned=2.0) > 0
    assert purse.take(0.0, 10, assigned=2.0) == 0


def test_many_at_once_are_granted_no_more_than_one_after_the_other() -> None:
    purse = Purse(DeadLetterBudget(burst=3), now=0.0)
    assert [purse.take(0.0, 0) > 0 for _ in range(5)] == [False, False, False, True, True]
    assert purse.take(0.0, 3) > 0


@pytest.mark.parametrize("wrong", [{"burst": 0}, {"share": 2.0}, {"every": "0s"}, {"every": "soon"}])
def test_budget_that_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DefinitionError):
        DeadLetterBudget(**wrong)  # type: ignore[arg-type]


# ---- in a service


@pytest.mark.virtual_time
async def test_release_that_fails_on_everything_dead_letters_a_few_and_the_mended_one_handles_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    is_mended = False
    handled: list[str] = []

    def stock() -> Service:
        service = Service("stock")

        @service.on(Placed, retry=Retry(attempts=2))
        async def placed(event: Placed, ctx: Context) -> None:
            if not is_mended:
                raise PermanentError("a bug")
            handled.append(event.order_id)

        return service

    rig = Rig()
    with caplog.at_level(logging.ERROR):
        async with rig.running(stock()) as process:
            await rig.send(*(Placed(order_id=str(number)) for number in range(400)))
            await asyncio.sleep(60)
            assert len(rig.letters()) == 4 * 10
            assert process.runtime.statistics().held > 0
    assert "ALERT: the dead-letter budget of shop.orders" in caplog.text

    is_mended = True
    async with rig.running(stock()) as process:
        await process.idle()
    assert len(rig.letters()) == 40
    assert len(handled) == 360
    assert rig.lag("shop.orders") == 0


@pytest.mark.virtual_time
async def test_what_waits_for_the_budget_is_tried_again_and_goes_on_once_it_passes() -> None:
    service = Service("stock", dead_letter_budget=DeadLetterBudget(burst=1, share=0.0, every="1h"))
    is_mended = False

    @service.on(Placed, retry=Retry(attempts=1))
    async def placed(event: Placed, ctx: Context) -> None:
        if not is_mended:
            raise TransientError("not now")

    rig = Rig(partitions=1)
    async with rig.running(service) as process:
        await rig.send(*(Placed(order_id=str(number)) for number in range(5)))
        await asyncio.sleep(100)
        assert len(rig.letters()) == 1
        is_mended = True
        await process.idle()
    assert len(rig.letters()) == 1
    assert rig.lag("shop.orders") == 0


@pytest.mark.virtual_time
async def test_bytes_that_are_no_event_spend_the_budget_too() -> None:
    service = Service("stock", dead_letter_budget=DeadLetterBudget(burst=1, share=0.0, every="10m"))

    @service.on(Placed)
    async def placed(event: Placed) -> None: ...

    rig = Rig(partitions=1)
    async with rig.running(service):
        await rig.put(*(Outgoing("shop.orders", str(number).encode(), b"?") for number in range(3)))
        await asyncio.sleep(60)
        assert len(rig.letters()) == 1
        await asyncio.sleep(1300)
        assert len(rig.letters()) == 3
    assert rig.lag("shop.orders") == 0


# ---- a record that holds up its partition


@pytest.mark.virtual_time
async def test_record_that_a_whole_window_waits_behind_is_made_to_leave() -> None:
    service = Service("stock")
    count = 0

    @service.on(Placed, retry=Retry(attempts=1_000, first="1h", cap="1h"))
    async def placed(event: Placed, ctx: Context) -> None:
        nonlocal count
        count += 1
        if event.order_id == "stuck":
            raise TransientError("not yet")

    rig = Rig(partitions=1)
    async with rig.running(service) as process:
        await rig.send(Placed(order_id="stuck"))
        for _ in range(25):
            await rig.send(*(Placed(order_id=str(number)) for number in range(1_000)))
        await until(lambda: count >= 25_001, timeout=600)
        await process.idle()

    [letter] = rig.letters()
    assert (letter["reason"], letter["source-offset"]) == ("HEAD_OF_LINE", "0")
    assert process.runtime.statistics().pressed == 1
    assert rig.lag("shop.orders") == 0


@pytest.mark.virtual_time
async def test_handler_that_hangs_without_a_timeout_is_cancelled_when_a_whole_window_waits_behind_it() -> None:
    service = Service("stock")

    @service.on(Placed, timeout=None)
    async def placed(event: Placed) -> None:
        if event.order_id == "stuck":
            await asyncio.Event().wait()

    rig = Rig(partitions=1)
    async with rig.running(service):
        await rig.send(Placed(order_id="stuck"))
        for _ in range(20):
            await rig.send(*(Placed(order_id=str(number)) for number in range(1_000)))
        await asyncio.sleep(60)

    assert rig.lag("shop.orders") == 0
    assert [letter["reason"] for letter in rig.letters()] == ["HEAD_OF_LINE"]
    assert rig.lag("shop.orders") == 0


@pytest.mark.virtual_time
async def test_record_that_waits_for_a_dependency_is_never_made_to_leave() -> None:
    service = Service("stock")

    @service.on(Placed)
    async def placed(event: Placed) -> None:
        if event.order_id == "stuck" and asyncio.get_running_loop().time() < 150:
            raise ConnectionRefusedError("its bank is down")

    rig = Rig(partitions=1)
    async with rig.running(service):
        await rig.send(Placed(order_id="stuck"))
        for _ in range(20):
            await rig.send(*(Placed(order_id=str(number)) for number in range(1_000)))
        await asyncio.sleep(120)
        assert rig.lag("shop.orders") > 0
        await asyncio.sleep(110)

    assert rig.letters() == []
    assert rig.lag("shop.orders") == 0
