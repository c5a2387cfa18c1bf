"""A command that is not wanted any more: not begun if that can be said for certain, else done and answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra.events.cloudevents import encode
from orchestra.events.message import StepCancel, StepRefused
from orchestra.service.context import Context
from orchestra.service.service import Service
from orchestra.service.sqlite import sqlite_engine
from orchestra.transport.port import Outgoing
from tests.unit.service.rig import Reserve, Reserved, Rig, SoldOut
from tests.unit.service.test_effect import Shop, opened


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with opened(Shop(sqlite_engine(tmp_path / "stock.db"))) as made:
        yield made


async def cancel(rig: Rig, order: str, step: str) -> None:
    event = rig.event(
        StepCancel(command="stock.reserve.v1"),
        flowid="food/1",
        effectid=f"food/1/1/{step}/action/0",
        replyto="food.inbox",
        replypartition=2,
    )
    headers, value = encode(event)
    await rig.put(Outgoing("stock.commands", order.encode(), value, headers))


async def test_a_command_that_waits_behind_another_is_not_begun_when_it_is_cancelled(shop: Shop) -> None:
    gate = asyncio.Event()
    take = shop.body

    async def slowly(command: Reserve, ctx: Context, session: AsyncSession, effect: Any) -> Reserved | SoldOut:
        await gate.wait()
        return await take(command, ctx, session, effect)

    shop.body = slowly
    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1"), step="first")
        await shop.rig.command(Reserve(order_id="1"), step="second")
        await cancel(shop.rig, "1", "second")
        while process.runtime.statistics().queued < 3:
            await asyncio.sleep(0.01)
        gate.set()
        await process.idle()

    assert shop.entered == 1
    assert await shop.left() == 9
    answers = {str(answer.get("effectid")): answer for answer in shop.rig.answers()}
    assert answers["food/1/1/first/action/0"].type == "stock.reserved.v1"
    assert answers["food/1/1/second/action/0"].value(StepRefused).reason == "expired"
    assert process.runtime.statistics().refused == 2, "the command, and the cancel behind it, with the same answer"
    assert shop.rig.letters() == []


async def test_a_command_that_is_done_stays_done_and_is_answered_as_before(shop: Shop) -> None:
    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1"))
        await process.idle()
        await cancel(shop.rig, "1", "reserve")
        await process.idle()

    first, second = shop.rig.answers()
    assert (first.id, first.type) == (second.id, second.type)
    assert second.type == "stock.reserved.v1"
    assert await shop.left() == 9


async def test_a_command_that_comes_again_after_its_cancel_is_refused(shop: Shop) -> None:
    """It waited in a retry topic, say, when the cancel had its turn."""
    async with shop.rig.running(shop.service) as process:
        await cancel(shop.rig, "1", "reserve")
        await process.idle()
        await shop.rig.command(Reserve(order_id="1"))
        await process.idle()

    assert await shop.left() == 10
    assert {answer.type for answer in shop.rig.answers()} == {"orchestra.step.refused.v1"}


async def test_without_a_ledger_a_cancel_is_passed_by_and_the_command_is_done() -> None:
    rig, service = Rig(), Service("stock")

    @service.handles(Reserve)
    async def reserve(command: Reserve, ctx: Context) -> Reserved:
        await asyncio.sleep(0.05)
        return Reserved(order_id=command.order_id)

    async with rig.running(service) as process:
        await rig.command(Reserve(order_id="1"), step="first")
        await rig.command(Reserve(order_id="1"), step="second")
        await cancel(rig, "1", "second")
        await process.idle()
        assert process.runtime.statistics().skipped == 1

    assert [answer.type for answer in rig.answers()] == ["stock.reserved.v1", "stock.reserved.v1"]
    assert rig.letters() == []
