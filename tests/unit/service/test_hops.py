"""Does a storm end? Two services that set each other off, and what the count is of everything else."""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra.errors import HopLimitError
from orchestra.events.envelope import Envelope
from orchestra.events.hops import HOPS, hops_of
from orchestra.outbox.outbox import Outbox
from orchestra.retry import Retry
from orchestra.service.batch import Batch
from orchestra.service.batch_context import BatchContext
from orchestra.service.context import Context
from orchestra.service.service import Service
from tests.unit.service.rig import Count, Counted, Placed, Reserve, Reserved, Rig, SoldOut, Watched

pytestmark = pytest.mark.virtual_time


def _echo(name: str) -> Service:
    """A service that answers Watched with Placed, and Placed with Watched, whatever it is called."""
    service = Service(name)

    @service.on(Placed if name == "ping" else Watched)
    async def echo(event: Placed | Watched, ctx: Context) -> Placed | Watched:
        return Watched(order_id=event.order_id) if name == "ping" else Placed(order_id=event.order_id)

    return service


async def test_a_storm_between_two_services_ends_in_a_dead_letter() -> None:
    rig = Rig()
    async with rig.running(_echo("ping")) as ping, rig.running(_echo("pong")) as pong:
        await rig.send(Placed(order_id="1"))
        for _ in range(70):
            await ping.idle()
            await pong.idle()

    counts = sorted(hops_of(event) for topic in ("shop.orders", "stock.watched") for event in rig.events(topic))
    assert counts == list(range(65))
    [letter] = rig.letters("ping") + rig.letters("pong")
    assert letter["reason"] == "HOP_LIMIT"
    assert "64 events away" in letter["error-message"]


async def test_the_limit_can_be_set_and_no_try_is_burned_on_a_storm() -> None:
    service, seen = Service("stock"), []

    @service.on(Placed, retry=Retry(attempts=5, errors={Exception: "transient"}))
    async def watch(event: Placed, ctx: Context) -> Watched:
        seen.append(ctx.attempt)
        return Watched(order_id=event.order_id)

    rig = Rig(hop_limit=3)
    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"), hopcount=2)
        await rig.send(Placed(order_id="1"), hopcount=3)
        await process.idle()

    assert [hops_of(event) for event in rig.events("stock.watched")] == [3]
    assert [letter["reason"] for letter in rig.letters()] == ["HOP_LIMIT"]
    assert seen == [1, 1]


async def test_who_emits_nothing_handles_what_is_beyond_the_limit() -> None:
    service, seen = Service("stock"), []

    @service.on(Placed)
    async def note(event: Placed, ctx: Context) -> None:
        seen.append(hops_of(ctx.event))

    rig = Rig()
    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"), hopcount=1000)
        await process.idle()

    assert seen == [1000]
    assert rig.letters() == []


async def test_an_answer_has_the_count_of_its_command() -> None:
    service = Service("stock")

    @service.handles(Reserve)
    async def reserve(command: Reserve, ctx: Context) -> Reserved | SoldOut:
        return Reserved(order_id=command.order_id)

    @service.handles(Count)
    async def count(command: Count, ctx: Context) -> Counted:
        return Counted(order_id=command.order_id)

    rig = Rig()
    async with rig.running(service) as process:
        await rig.command(Reserve(order_id="1"), hopcount=64)
        await rig.send(Count(order_id="1"), hopcount=7)
        await process.idle()

    assert [hops_of(event) for event in rig.answers()] == [64]
    assert [hops_of(event) for event in rig.events("stock.counted")] == [8], "anybody may react to it"


async def test_of_a_batch_only_the_event_that_is_too_far_is_a_dead_letter() -> None:
    service = Service("stock")

    @service.on(Placed, batch=Batch(size=2, within="1s"))
    async def watch(events: list[Placed], ctx: BatchContext) -> None:
        for event in events:
            ctx.publish(Watched(order_id=event.order_id), of=event)

    rig = Rig(partitions=1, hop_limit=3)
    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"), hopcount=3)
        await rig.send(Placed(order_id="2"), hopcount=2)
        await process.idle()

    assert [event.value(Watched).order_id for event in rig.events("stock.watched")] == ["2"]
    assert [letter["reason"] for letter in rig.letters()] == ["HOP_LIMIT"]


@pytest.mark.parametrize("text", ["", "many", "-1", "12.5", "٣", "9" * 12])
def test_what_is_no_count_counts_as_none(text: str) -> None:
    assert hops_of(Envelope("1", "/shop", "shop.placed.v1", extensions={HOPS: text} if text else {})) == 0


async def test_the_outbox_counts_too_and_refuses_what_is_too_far() -> None:
    cause = Envelope("1", "/shop", "shop.placed.v1", extensions={HOPS: 64})
    session = AsyncSession()

    with pytest.raises(HopLimitError, match="64"):
        await Outbox("/shop").add(session, Watched(order_id="1"), cause=cause)
    assert not session.in_transaction()
