"""The effect ledger, through handlers on a real SQLite file: every effect once, every answer again.

The same tests run on PostgreSQL: ``tests/integration/test_ledger_postgres.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.v1.event import CloudEvent
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from orchestra.clock import SystemClock
from orchestra.errors import DefinitionError, PermanentError, TransientError
from orchestra.events.message import Done, StepRefused, Undo
from orchestra.ids import derived_id
from orchestra.retry import Retry
from orchestra.service.context import Context
from orchestra.service.effect import action_of
from orchestra.service.ledger import create_tables, effects
from orchestra.service.ledger_upkeep import prune
from orchestra.service.service import Service
from orchestra.service.sqlite import sqlite_engine
from orchestra.transport.port import TopicSpec
from tests.unit.service.rig import (
    Placed,
    Release,
    Released,
    Reserve,
    Reserved,
    Rig,
    SoldOut,
    Unload,
    Watched,
)

Body = Callable[[Reserve, Context, AsyncSession, Any], Awaitable[Reserved | SoldOut]]


class Shop:
    """A service with a ledger and a stock of ten."""

    def __init__(self, engine: AsyncEngine, **options: Any) -> None:
        self.engine = engine
        self.rig = Rig(clock=SystemClock(), session_timeout=0.5)
        self.service = Service("stock")
        self.actions: list[Any] = []
        self.entered = 0
        self.body: Body = self.take
        shop = self

        @self.service.resource
        async def engine() -> AsyncIterator[AsyncEngine]:
            yield shop.engine

        @self.service.resource(scope="call")
        async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
            async with AsyncSession(engine) as opened:
                yield opened

        @self.service.handles(Reserve, retry=Retry(attempts=2, first="1ms", cap="1ms"), **options)
        async def reserve(command: Reserve, ctx: Context, session: AsyncSession) -> Reserved | SoldOut:
            shop.entered += 1
            async with ctx.effect(session, command) as effect:
                if effect.outcome is not None:
                    return effect.outcome
                return await shop.body(command, ctx, session, effect)

        @self.service.handles(Release)
        async def release(command: Release, ctx: Context, session: AsyncSession) -> Released:
            async with ctx.effect(session, command) as effect:
                if effect.outcome is not None:
                    return effect.outcome
                shop.actions.append(effect.action)
                if isinstance(effect.action, Reserved):
                    await session.execute(text("UPDATE stock SET units = units + 1"))
                return effect.done(Released(order_id=command.order_id))

        @self.service.handles(Undo[Reserve])
        async def undo(command: Undo[Reserve], ctx: Context, session: AsyncSession) -> Done:
            async with ctx.effect(session, command) as effect:
                if effect.outcome is not None:
                    return effect.outcome
                shop.actions.append(effect.action)
                return effect.done(Done())

    async def take(self, command: Reserve, ctx: Context, session: AsyncSession, effect: Any) -> Reserved | SoldOut:
        left = (await session.execute(text("SELECT units FROM stock"))).scalar_one()
        if left < command.count:
            sold_out: SoldOut = effect.done(SoldOut(order_id=command.order_id))
            return sold_out
        await session.execute(text("UPDATE stock SET units = :units"), {"units": left - command.count})
        reserved: Reserved = effect.done(Reserved(order_id=command.order_id))
        return reserved

    async def left(self) -> int:
        async with self.engine.connect() as connection:
            found: int = (await connection.execute(text("SELECT units FROM stock"))).scalar_one()
            return found

    async def rows(self) -> dict[str, str]:
        async with self.engine.connect() as connection:
            found = await connection.execute(select(effects.c.effect_id, effects.c.state))
            return {row.effect_id: row.state for row in found}


@asynccontextmanager
async def opened(shop: Shop) -> AsyncIterator[Shop]:
    await create_tables(shop.engine)
    await create_tables(shop.engine)  # idempotent
    async with shop.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE stock (units INTEGER NOT NULL)"))
        await connection.execute(text("INSERT INTO stock VALUES (10)"))
    yield shop
    await shop.engine.dispose()


@pytest.fixture
def engine(tmp_path: Path) -> AsyncEngine:
    return sqlite_engine(tmp_path / "stock.db")


@pytest.fixture
async def shop(engine: AsyncEngine) -> AsyncIterator[Shop]:
    async with opened(Shop(engine)) as made:
        yield made


def effect_id(phase: str = "action", flow: str = "food/1") -> str:
    return f"{flow}/1/reserve/{phase}/0"


# ---- once


async def test_command_that_comes_twice_has_its_effect_once_and_is_answered_twice_alike(shop: Shop) -> None:
    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1"))
        await process.idle()
        await shop.rig.command(Reserve(order_id="1"))
        await process.idle()

    assert await shop.left() == 9
    first, second = shop.rig.answers()
    assert (first.id, first.data, first.time_text) == (second.id, second.data, second.time_text)
    assert first.get("causationid") != second.get("causationid")


async def test_rejection_is_stored_and_said_again_when_it_could_succeed_by_now(shop: Shop) -> None:
    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1", count=11))
        await process.idle()
        async with shop.engine.begin() as connection:
            await connection.execute(text("UPDATE stock SET units = 100"))
        await shop.rig.command(Reserve(order_id="1", count=11))
        await process.idle()

    assert [answer.type for answer in shop.rig.answers()] == ["stock.sold-out.v1"] * 2
    assert await shop.left() == 100


async def test_outcome_that_the_command_does_not_have_is_never_stored(shop: Shop) -> None:
    async def answer_wrongly(command: Reserve, ctx: Context, session: AsyncSession, effect: Any) -> Any:
        await session.execute(text("UPDATE stock SET units = 0"))
        return effect.done(Released(order_id=command.order_id))

    shop.body = answer_wrongly
    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1"))
        await process.idle()

    assert await shop.left() == 10
    assert await shop.rows() == {}
    [letter] = shop.rig.letters()
    assert letter["reason"] == "CONTRACT"
    assert "effect.done(Released(...)), where it may be Reserved | SoldOut" in letter["error-message"]


async def test_two_deliveries_of_one_effect_at_once_have_it_once(shop: Shop) -> None:
    shop.rig = Rig(clock=SystemClock(), partitions=2)
    async with shop.rig.running(shop.service) as process:
        # Without keys they are in lanes of their own, and run at once.
        command = Reserve(order_id="1")
        for _ in range(8):
            event = shop.rig.event(
                command, flowid="food/1", effectid=effect_id(), replyto="food.inbox", replypartition=0
            )
            outgoing = shop.rig.outgoing(event, command)
            await shop.rig.put(type(outgoing)(outgoing.topic, None, outgoing.value, outgoing.headers))
        await process.idle()

    assert shop.entered == 8
    assert await shop.left() == 9
    assert len({answer.id for answer in shop.rig.answers()}) == 1
    assert len(shop.rig.answers()) == 8


async def test_commands_without_effectid_are_told_apart_by_source_and_id(shop: Shop) -> None:
    async with shop.rig.running(shop.service) as process:
        [event, _] = await shop.rig.send(Reserve(order_id="1"), Reserve(order_id="1"))
        await shop.rig.put(shop.rig.outgoing(event, Reserve(order_id="1")))
        await process.idle()

    assert await shop.left() == 8
    assert derived_id("/test", event.id) in await shop.rows()


async def test_crash_after_the_effect_and_before_the_answer_repeats_the_answer_only(shop: Shop) -> None:
    first = shop.rig.process(shop.service)
    await first.start()
    never = asyncio.Event()

    async def answer_never(*_: Any, **__: Any) -> None:
        await never.wait()

    first.runtime._publisher.send = answer_never  # type: ignore[assignment]
    await shop.rig.command(Reserve(order_id="1"))
    while not await shop.rows():
        await asyncio.sleep(0.01)
    await first.crash()
    assert shop.rig.answers() == []

    async with shop.rig.running(shop.service) as process:
        await process.idle()

    assert await shop.left() == 9
    assert [answer.type for answer in shop.rig.answers()] == ["stock.reserved.v1"]


# ---- rolled back


async def test_exception_within_the_effect_rolls_everything_back(shop: Shop) -> None:
    async def fail_once(command: Reserve, ctx: Context, session: AsyncSession, effect: Any) -> Reserved | SoldOut:
        await session.execute(text("UPDATE stock SET units = 0"))
        effect.done(Reserved(order_id="1"))
        if ctx.attempt == 1:
            raise TransientError("after all")
        raise PermanentError("no")

    shop.body = fail_once
    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1"))
        await process.idle()

    assert await shop.left() == 10
    assert await shop.rows() == {}
    assert [letter["reason"] for letter in shop.rig.letters()] == ["PERMANENT"]


async def test_exception_that_the_handler_catches_outside_its_effect_has_rolled_it_back_already(shop: Shop) -> None:
    shop.service.commands.clear()

    @shop.service.handles(Reserve)
    async def reserve(command: Reserve, ctx: Context, session: AsyncSession) -> Reserved:
        try:
            async with ctx.effect(session, command) as effect:
                await session.execute(text("UPDATE stock SET units = 0"))
                raise ZeroDivisionError
        except ZeroDivisionError:
            await session.commit()
        return effect.outcome or Reserved(order_id="1")  # type: ignore[return-value]

    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1"))
        await process.idle()

    assert await shop.left() == 10
    assert await shop.rows() == {}


async def test_leaving_without_done_rolls_back_and_is_no_answer(shop: Shop) -> None:
    async def forget(command: Reserve, ctx: Context, session: AsyncSession, effect: Any) -> Reserved | SoldOut:
        await session.execute(text("UPDATE stock SET units = 0"))
        return Reserved(order_id="1")

    shop.body = forget
    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1"))
        await process.idle()

    assert await shop.left() == 10
    [letter] = shop.rig.letters()
    assert "without effect.done" in letter["error-message"]
    assert [answer.type for answer in shop.rig.answers()] == ["orchestra.step.failed.v1"]


async def test_handler_that_is_cancelled_within_its_effect_leaves_nothing_behind(engine: AsyncEngine) -> None:
    async def hang_once(command: Reserve, ctx: Context, session: AsyncSession, effect: Any) -> Reserved | SoldOut:
        if ctx.attempt == 1:
            await session.execute(text("UPDATE stock SET units = 0"))
            await asyncio.sleep(3600)
        return await shop.take(command, ctx, session, effect)

    async with opened(Shop(engine, timeout="1s")) as shop:
        shop.body = hang_once
        async with shop.rig.running(shop.service) as process:
            await shop.rig.command(Reserve(order_id="1"))
            await process.idle()

        assert [answer.type for answer in shop.rig.answers()] == ["stock.reserved.v1"]
        assert await shop.left() == 9


# ---- compensations


@pytest.mark.parametrize("kind", ["by effect id", "Undo"])
async def test_compensation_sees_the_outcome_of_its_action(shop: Shop, kind: str) -> None:
    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1"))
        await shop.rig.command(compensation(kind), phase="undo")
        await process.idle()

    assert shop.actions == [Reserved(order_id="1")]
    assert await shop.rows() == {effect_id(): "done", effect_id("undo"): "done"}


@pytest.mark.parametrize("kind", ["by effect id", "Undo"])
async def test_undo_that_comes_before_its_action_bars_it_for_ever(shop: Shop, kind: str) -> None:
    async with shop.rig.running(shop.service) as process:
        undo = await shop.rig.command(compensation(kind), phase="undo")
        await process.idle()
        for _ in range(2):
            await shop.rig.command(Reserve(order_id="1"))
        await process.idle()

    assert shop.actions == [None]
    assert await shop.left() == 10
    assert await shop.rows() == {effect_id(): "barred", effect_id("undo"): "done"}
    done, *refusals = shop.rig.answers()
    assert done.get("causationid") == undo.id
    assert [refusal.value(StepRefused).reason for refusal in refusals] == ["barred", "barred"]
    assert len({refusal.id for refusal in refusals}) == 1
    assert refusals[0].get("effectid") == effect_id()
    assert shop.rig.letters() == []


async def test_compensation_that_comes_twice_undoes_once(shop: Shop) -> None:
    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1"))
        for _ in range(2):
            await shop.rig.command(Release(order_id="1"), phase="undo")
        await process.idle()

    assert await shop.left() == 10
    assert len(shop.actions) == 1


async def test_action_that_was_rejected_is_seen_as_rejected_by_its_compensation(shop: Shop) -> None:
    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1", count=11))
        await shop.rig.command(Release(order_id="1"), phase="undo")
        await process.idle()

    assert shop.actions == [SoldOut(order_id="1")]


async def test_compensation_that_is_rejected_is_tried_anew_when_it_is_asked_for_again(shop: Shop) -> None:
    """The coordinator sends it again under the same effect id, until it can be done."""
    can_be_undone = False

    @shop.service.handles(Unload)
    async def unload(command: Unload, ctx: Context, session: AsyncSession) -> Released | SoldOut:
        async with ctx.effect(session, command) as effect:
            if effect.outcome is not None:
                return effect.outcome
            shop.actions.append(effect.action)
            await session.execute(text("UPDATE stock SET units = units + 100"))
            return effect.done(
                Released(order_id=command.order_id) if can_be_undone else SoldOut(order_id=command.order_id)
            )

    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1"))
        await shop.rig.command(Unload(order_id="1"), phase="undo")
        await process.idle()
        assert await shop.rows() == {effect_id(): "done"}
        can_be_undone = True
        for _ in range(2):
            await shop.rig.command(Unload(order_id="1"), phase="undo")
        await process.idle()

    assert shop.actions == [Reserved(order_id="1")] * 2
    assert await shop.left() == 209, "what a rejection wrote is kept"
    assert [answer.type for answer in shop.rig.answers()][1:] == [
        "stock.sold-out.v1",
        "stock.released.v1",
        "stock.released.v1",
    ]


def compensation(kind: str) -> Any:
    if kind == "Undo":
        return Undo.of(Reserve(order_id="1"), effect_id=effect_id())
    return Release(order_id="1")


def test_the_action_of_a_compensation_has_its_run_step_and_iteration() -> None:
    release, reserve = Release(order_id="1"), Reserve(order_id="1")

    assert action_of("food/1/2/reserve/undo/3", release) == "food/1/2/reserve/action/3"
    assert action_of("food/1/2/reserve/action/3", reserve) is None
    assert action_of("0b8f", release) is None
    assert action_of("a/undo/b", Placed(order_id="1")) is None
    assert action_of("any", Undo.of(reserve, effect_id="the-action")) == "the-action"


# ---- expired


async def test_expired_command_is_refused_and_barred_when_it_was_never_begun(shop: Shop) -> None:
    late = shop.rig.clock.now() - timedelta(seconds=1)
    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1"), expirytime=late)
        await shop.rig.command(Reserve(order_id="1"))  # a retry under the same effect, with time left
        await process.idle()

    assert shop.entered == 1, "only the second reached the handler, and was refused at the ledger"
    assert await shop.left() == 10
    assert [answer.value(StepRefused).reason for answer in shop.rig.answers()] == ["expired", "expired"]
    assert process.runtime.statistics().refused == 2


async def test_expired_command_gives_its_stored_outcome_when_there_is_one(shop: Shop) -> None:
    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1"))
        await process.idle()
        await shop.rig.command(Reserve(order_id="1"), expirytime=shop.rig.clock.now() - timedelta(seconds=1))
        await process.idle()

    first, second = shop.rig.answers()
    assert first.id == second.id
    assert second.type == "stock.reserved.v1"
    assert await shop.left() == 9


# ---- what is emitted


async def test_messages_emitted_within_an_effect_are_sent_again_on_a_repeat(shop: Shop) -> None:
    async def emit(command: Reserve, ctx: Context, session: AsyncSession, effect: Any) -> Reserved | SoldOut:
        ctx.publish(Watched(order_id="a"))
        reserved: Reserved = effect.done(Reserved(order_id="1"))
        ctx.publish(Watched(order_id="b"))
        return reserved

    shop.body = emit
    async with shop.rig.running(shop.service) as process:
        for _ in range(2):
            await shop.rig.command(Reserve(order_id="1"))
            await process.idle()

    events = shop.rig.events("stock.watched")
    assert sorted(event.value(Watched).order_id for event in events) == ["a", "a", "b", "b"]
    assert len({event.id for event in events}) == 2
    assert len({event.time_text for event in events}) == 1


async def test_an_event_of_the_sdk_is_published_as_it_is_and_again_on_a_repeat(shop: Shop) -> None:
    async def emit(command: Reserve, ctx: Context, session: AsyncSession, effect: Any) -> Reserved | SoldOut:
        asked = ctx.cloud_event()
        mine = {"id": "mine-1", "source": "/elsewhere", "type": "partner.told.v1", "specversion": "1.0", "region": "eu"}
        event = CloudEvent(mine | {"datacontenttype": "application/json"}, {"about": asked.get_data()["order_id"]})
        ctx.publish(event, topic="partner.events", key="1")
        reserved: Reserved = effect.done(Reserved(order_id="1"))
        return reserved

    shop.body = emit
    shop.rig.cluster.create(TopicSpec("partner.events"))
    async with shop.rig.running(shop.service) as process:
        for _ in range(2):
            await shop.rig.command(Reserve(order_id="1"))
            await process.idle()

    first, second = shop.rig.events("partner.events")
    assert first == second
    assert (first.id, first.source, first.get("region"), first.data) == ("mine-1", "/elsewhere", "eu", b'{"about":"1"}')


async def test_publishing_after_the_end_of_the_effect_is_a_broken_contract(shop: Shop) -> None:
    service = Service("stock")
    service.resources = shop.service.resources

    @service.on(Placed)
    async def placed(event: Placed, ctx: Context, session: AsyncSession) -> None:
        async with ctx.effect(session, event) as effect:
            if effect.is_repeat:
                return
            effect.done()
        ctx.publish(Watched(order_id="1"))

    async with shop.rig.running(service) as process:
        await shop.rig.send(Placed(order_id="1"))
        await process.idle()

    [letter] = shop.rig.letters()
    assert letter["reason"] == "CONTRACT"
    assert "publish within it" in letter["error-message"]


async def test_event_handled_twice_has_its_effect_once_and_emits_twice_alike(shop: Shop) -> None:
    service = Service("stock")
    service.resources = shop.service.resources

    @service.on(Placed)
    async def placed(event: Placed, ctx: Context, session: AsyncSession) -> Watched | None:
        async with ctx.effect(session, event) as effect:
            if effect.is_repeat:
                return None
            await session.execute(text("UPDATE stock SET units = units - 1"))
            return effect.done(Watched(order_id=event.order_id))

    async with shop.rig.running(service) as process:
        [event] = await shop.rig.send(Placed(order_id="1"))
        await shop.rig.put(shop.rig.outgoing(event, Placed(order_id="1")))
        await process.idle()

    assert await shop.left() == 9
    first, second = shop.rig.events("stock.watched")
    assert first == second


async def test_two_handlers_of_one_event_have_effects_of_their_own(shop: Shop) -> None:
    service = Service("stock")
    service.resources = shop.service.resources

    async def take(event: Placed, ctx: Context, session: AsyncSession) -> None:
        async with ctx.effect(session, event) as effect:
            if not effect.is_repeat:
                await session.execute(text("UPDATE stock SET units = units - 1"))
                effect.done()

    @service.on(Placed)
    async def one(event: Placed, ctx: Context, session: AsyncSession) -> None:
        await take(event, ctx, session)

    @service.on(Placed)
    async def two(event: Placed, ctx: Context, session: AsyncSession) -> None:
        await take(event, ctx, session)

    async with shop.rig.running(service) as process:
        await shop.rig.send(Placed(order_id="1"))
        await process.idle()

    assert await shop.left() == 8


# ---- mistakes


async def test_session_that_is_in_a_transaction_already_is_refused(shop: Shop) -> None:
    shop.service.commands.clear()

    @shop.service.handles(Reserve)
    async def reserve(command: Reserve, ctx: Context, session: AsyncSession) -> Reserved:
        await session.execute(text("SELECT 1"))
        async with ctx.effect(session, command) as effect:
            return effect.done(Reserved(order_id="1"))

    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1"))
        await process.idle()

    [letter] = shop.rig.letters()
    assert letter["reason"] == "CONTRACT"
    assert "in a transaction already" in letter["error-message"]


async def test_answer_other_than_the_stored_one_is_not_sent(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    async def lie(command: Reserve, ctx: Context, session: AsyncSession, effect: Any) -> Reserved | SoldOut:
        effect.done(Reserved(order_id="1"))
        return SoldOut(order_id="1")

    shop.body = lie
    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1"))
        await process.idle()

    assert [answer.type for answer in shop.rig.answers()] == ["stock.reserved.v1"]
    assert "its effect did not store" in caplog.text


# ---- the table


async def test_entries_are_kept_for_thirty_days_at_least(shop: Shop) -> None:
    with pytest.raises(DefinitionError, match="30 days"):
        await prune(shop.engine, "29d")


async def test_prune_deletes_what_is_older_and_nothing_else(shop: Shop) -> None:
    async with shop.rig.running(shop.service) as process:
        await shop.rig.command(Reserve(order_id="1"))
        await process.idle()
    async with shop.engine.begin() as connection:
        old = [{"id": f"old-{number}"} for number in range(1500)]
        await connection.execute(
            text("INSERT INTO orchestra_effects (effect_id, state, handler, at_ms) VALUES (:id, 'done', 'h', 0)"), old
        )

    assert await prune(shop.engine) == 1500
    async with shop.engine.connect() as connection:
        assert (await connection.execute(select(func.count()).select_from(effects))).scalar_one() == 1
