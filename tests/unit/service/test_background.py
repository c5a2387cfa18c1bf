"""What runs beside the handlers starts with the resources, ends before them, and never ends the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from orchestra.clock import LoopClock
from orchestra.errors import DefinitionError
from orchestra.service.background import Background, Surroundings
from orchestra.service.service import Service
from tests.unit.service.rig import Placed, Rig, until

pytestmark = pytest.mark.virtual_time


class Pool:
    def __init__(self) -> None:
        self.is_open = True


def service_with(*works: Background) -> Service:
    service = Service("stock")
    service.background.extend(works)

    @service.resource
    async def pool() -> AsyncIterator[Pool]:
        opened = Pool()
        yield opened
        opened.is_open = False

    @service.on(Placed)
    async def placed(event: Placed) -> None: ...

    return service


async def test_work_begins_with_the_resource_open_and_ends_before_it_closes() -> None:
    seen: list[bool] = []

    async def work(pool: Pool, around: Surroundings) -> None:
        seen.append(pool.is_open)
        await around.stopping.wait()
        seen.append(pool.is_open)

    rig = Rig(clock=LoopClock(datetime(2030, 1, 1, tzinfo=UTC)))
    async with rig.running(service_with(Background("watch", Pool, work))):
        await until(lambda: bool(seen))

    assert seen == [True, True]


async def test_work_that_fails_is_begun_again_and_the_service_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    begun = 0

    async def work(pool: Pool, around: Surroundings) -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise ZeroDivisionError
        await around.stopping.wait()

    rig = Rig()
    async with rig.running(service_with(Background("watch", Pool, work))) as process:
        await until(lambda: begun == 3)
        await rig.send(Placed(order_id="1"))
        await process.idle()

    assert process.runtime.statistics().handled == 1
    assert caplog.text.count("watch failed, and is begun again") == 2


async def test_work_that_does_not_stop_is_cancelled() -> None:
    ended: list[str] = []

    async def work(pool: Pool, around: Surroundings) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with Rig().running(service_with(Background("watch", Pool, work))):
        await asyncio.sleep(1)

    assert ended == ["cancelled"]


def test_work_on_a_resource_that_nobody_gives_is_refused() -> None:
    async def work(engine: object, around: Surroundings) -> None: ...

    service = service_with(Background("watch", bytes, work))

    with pytest.raises(DefinitionError, match="watch takes a bytes, which no resource gives"):
        service.check()
