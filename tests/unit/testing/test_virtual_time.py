"""Does time jump, in order, and only when nothing else is due?"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from orchestra.clock import LoopClock
from orchestra.testing.virtual_time import StalledError, VirtualTimeLoop

pytestmark = pytest.mark.virtual_time


async def test_an_hour_takes_no_time_and_timers_fire_in_order() -> None:
    woken: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(sleep("hour", 3600))
        group.create_task(sleep("minute", 60))

    assert woken == ["minute", "hour"]


async def test_a_timeout_fires_at_its_time() -> None:
    began = asyncio.get_running_loop().time()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30):
            await asyncio.sleep(31)

    assert asyncio.get_running_loop().time() - began == pytest.approx(30)


async def test_the_loop_clock_follows() -> None:
    clock = LoopClock(datetime(2026, 1, 1, tzinfo=UTC))
    before = clock.now()

    await clock.sleep(90)

    assert clock.now() - before == timedelta(seconds=90)


def test_a_test_that_would_hang_is_told_so() -> None:
    loop = VirtualTimeLoop()
    try:
        with pytest.raises(StalledError):
            loop.run_until_complete(loop.create_future())
    finally:
        loop.close()
