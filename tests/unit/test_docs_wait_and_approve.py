"""What docs/how-to/wait-and-approve.md shows does what the page says, on a log in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest

import orchestra
from orchestra.clock import LoopClock
from orchestra.testing import run
from orchestra.testing.memory import published, running_in_memory
from tests.snippets import imported

pytestmark = pytest.mark.virtual_time
PAGE = "how-to/wait-and-approve.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with imported(PAGE, tmp_path_factory.mktemp("waiting")) as modules:
        yield modules


@asynccontextmanager
async def shop(page: dict[str, Any]) -> AsyncGenerator[tuple[orchestra.Bus, Any]]:
    clock = LoopClock(datetime(2030, 1, 1, tzinfo=UTC))
    settings = orchestra.Settings(env="test")
    refunds = page["refunds"].refunds
    async with (
        running_in_memory(refunds, settings=settings, clock=clock) as log,
        orchestra.connect(settings, transport=log, clock=clock, coordinators=[refunds]) as bus,
    ):
        yield bus, log


def test_the_flow_waits_for_the_parcel_and_for_somebody(page: dict[str, Any]) -> None:
    refunds = page["refunds"]
    t = run(refunds.Refund, refunds.RefundAsked(order_id="o-1", cents=100, clerk="bob"))

    t.publish(refunds.ParcelReturned(parcel_id="p", order_id="o-1", cents=100))
    t.approve(by="mia", reason="here", roles=("team-lead",))

    assert t.completed(refunds.RefundDecided) == refunds.RefundDecided(order_id="o-1", agreed=True, by="mia")


async def test_programs_run_signal_query_and_cancel(page: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    refunds, desk = page["refunds"], page["desk"]
    async with shop(page) as (bus, log):
        assert await desk.refund(bus, refunds.RefundAsked(order_id="o-1", cents=100, clerk="bob")) is None
        assert capsys.readouterr().out == "refund/o-1 goes on\n"
        assert (await desk.how_far(bus, "o-1")).parcel is None

        await desk.parcel_was_thrown_over_the_counter(bus, "o-1", 100)
        await asyncio.sleep(1)
        progress = await desk.how_far(bus, "o-1")
        assert progress.parcel == "by-hand"
        assert progress.waits_for[0].startswith("agreed: a decision by team-lead")

        await desk.customer_changed_her_mind(bus, "o-1")
        with pytest.raises(orchestra.FlowFailedError, match="was undone: cancelled by desk: she keeps it"):
            await bus.run(refunds.Refund, refunds.RefundAsked(order_id="o-1", cents=100, clerk="bob"), timeout="30s")
        assert published(log, refunds.RefundDecided) == []


async def test_an_early_parcel_is_kept(page: dict[str, Any]) -> None:
    refunds, desk = page["refunds"], page["desk"]
    async with shop(page) as (bus, _):
        await bus.publish(refunds.ParcelReturned(parcel_id="p-7", order_id="o-1", cents=100))
        await asyncio.sleep(600)
        await bus.publish(refunds.RefundAsked(order_id="o-1", cents=100, clerk="bob"))
        await asyncio.sleep(1)

        assert (await desk.how_far(bus, "o-1")).parcel == "p-7"
