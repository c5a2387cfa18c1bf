"""The effect ledger on PostgreSQL: all that holds on SQLite, and what only several writers at once can show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from orchestra.clock import SystemClock
from orchestra.events.cloudevents import encode
from orchestra.service.context import Context
from orchestra.service.ledger import create_tables, effects
from orchestra.service.ledger_upkeep import _prune_unless_others_do, keep_pruned
from orchestra.sql.session import is_free
from orchestra.testing.postgres import LocalPostgres
from orchestra.transport.port import Outgoing
from tests.unit.service.rig import Release, Reserve, Reserved, SoldOut, until
from tests.unit.service.test_effect import *  # noqa: F403  the same tests, on the engine below
from tests.unit.service.test_effect import Shop, effect_id, opened

LEVELS = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]


@pytest.fixture
async def engine(postgres: str) -> AsyncIterator[AsyncEngine]:
    made = create_async_engine(postgres)
    yield made
    await made.dispose()


@pytest.fixture(params=LEVELS)
async def level(request: pytest.FixtureRequest, postgres: str) -> AsyncIterator[AsyncEngine]:
    """An engine of each isolation level."""
    made = create_async_engine(postgres, isolation_level=request.param, pool_size=10)
    yield made
    await made.dispose()


async def twice_at_once(shop: Shop, command: Reserve, *, times: int = 2) -> None:
    """Deliveries of one effect, in lanes of their own: they have no key."""
    for _ in range(times):
        event = shop.rig.event(command, flowid="food/1", effectid=effect_id(), replyto="food.inbox", replypartition=0)
        headers, value = encode(event)
        await shop.rig.put(Outgoing("stock.commands", None, value, headers))


async def waits_for_a_lock(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        counted = await connection.execute(text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        return bool(counted.scalar_one())


async def wait_for(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_second_delivery_waits_for_the_first_and_then_sees_its_outcome(level: AsyncEngine, postgres: str) -> None:
    watcher = create_async_engine(postgres)
    may_end = asyncio.Event()

    async def slowly(command: Reserve, ctx: Context, session: AsyncSession, effect: Any) -> Reserved | SoldOut:
        await may_end.wait()
        return await shop.take(command, ctx, session, effect)

    async with opened(Shop(level)) as shop:
        shop.body = slowly
        bodies = 0
        take = shop.take

        async def counted(*arguments: Any) -> Reserved | SoldOut:
            nonlocal bodies
            bodies += 1
            return await take(*arguments)

        shop.take = counted  # type: ignore[method-assign]
        async with shop.rig.running(shop.service) as process:
            await twice_at_once(shop, Reserve(order_id="1"))
            await wait_for(lambda: waits_for_a_lock(watcher))
            may_end.set()
            await process.idle()

        assert (bodies, shop.entered) == (1, 2)
        assert await shop.left() == 9
        assert len(shop.rig.answers()) == 2
        assert len({answer.id for answer in shop.rig.answers()}) == 1
        assert shop.rig.letters() == []
    await watcher.dispose()


async def test_second_delivery_has_the_effect_when_the_first_rolls_back(level: AsyncEngine, postgres: str) -> None:
    watcher = create_async_engine(postgres)
    may_fail = asyncio.Event()

    async def fail_first(command: Reserve, ctx: Context, session: AsyncSession, effect: Any) -> Reserved | SoldOut:
        if not may_fail.is_set():
            await may_fail.wait()
            raise ConnectionError("gone")
        return await shop.take(command, ctx, session, effect)

    async with opened(Shop(level)) as shop:
        shop.body = fail_first
        async with shop.rig.running(shop.service) as process:
            await twice_at_once(shop, Reserve(order_id="1"))
            await wait_for(lambda: waits_for_a_lock(watcher))
            may_fail.set()
            await until(lambda: len(shop.rig.answers()) == 2)
            await process.idle()

        assert await shop.left() == 9
        assert shop.rig.letters() == []
    await watcher.dispose()


async def take_one(command: Reserve, ctx: Context, session: AsyncSession, effect: Any) -> Reserved | SoldOut:
    """In one statement: what it reads is still so when it writes, at every isolation level."""
    assert ctx.attempt == 1
    await session.execute(text("UPDATE stock SET units = units - 1"))
    reserved: Reserved = effect.done(Reserved(order_id=command.order_id))
    return reserved


async def test_transactions_in_each_others_way_are_done_again_and_burn_no_attempt(level: AsyncEngine) -> None:
    """Ten effects on one row. Under a snapshot all but one at a time fail to serialise; none is a dead letter."""

    async with opened(Shop(level)) as shop:
        shop.body = take_one
        async with shop.rig.running(shop.service) as process:
            for number in range(10):
                await shop.rig.command(Reserve(order_id=str(number)), flow=f"food/{number}")
            await until(lambda: len(shop.rig.answers()) == 10)
            await process.idle()

        assert await shop.left() == 0
        assert shop.rig.letters() == []
        assert process.runtime.statistics().waits == 0, "nothing was down: no circuit may open"


async def test_deadlock_is_done_again_and_is_no_dead_letter(level: AsyncEngine) -> None:
    meeting = asyncio.Barrier(2)
    met: set[str] = set()

    async def both_ways(command: Reserve, ctx: Context, session: AsyncSession, effect: Any) -> Reserved | SoldOut:
        ways = ["a", "b"] if command.order_id == "1" else ["b", "a"]
        for number, sku in enumerate(ways):
            await session.execute(text("UPDATE shelf SET column2 = column2 + 1 WHERE column1 = :sku"), {"sku": sku})
            if number == 0 and command.order_id not in met:
                met.add(command.order_id)
                await meeting.wait()
        reserved: Reserved = effect.done(Reserved(order_id=command.order_id))
        return reserved

    async with opened(Shop(level)) as shop:
        async with level.begin() as connection:
            await connection.execute(text("CREATE TABLE shelf AS VALUES ('a', 0), ('b', 0)"))
        shop.body = both_ways
        async with shop.rig.running(shop.service) as process:
            for number in (1, 2):
                await shop.rig.command(Reserve(order_id=str(number)), flow=f"food/{number}")
            await until(lambda: len(shop.rig.answers()) == 2)
            await process.idle()

        async with level.connect() as connection:
            assert (await connection.execute(text("SELECT column2 FROM shelf"))).scalars().all() == [2, 2]
        assert shop.rig.letters() == []
        assert process.runtime.statistics().retries == 0


async def test_unique_violation_that_another_transaction_caused_is_tried_again(level: AsyncEngine) -> None:
    async def insert(command: Reserve, ctx: Context, session: AsyncSession, effect: Any) -> Reserved | SoldOut:
        number = 1 if ctx.attempt == 1 else 2
        if ctx.attempt == 1:
            async with level.begin() as other:
                await other.execute(text("INSERT INTO invoice VALUES (1)"))
        await session.execute(text("INSERT INTO invoice VALUES (:number)"), {"number": number})
        reserved: Reserved = effect.done(Reserved(order_id=command.order_id))
        return reserved

    async with opened(Shop(level)) as shop:
        async with level.begin() as connection:
            await connection.execute(text("CREATE TABLE invoice (number INTEGER PRIMARY KEY)"))
        shop.body = insert
        async with shop.rig.running(shop.service) as process:
            await shop.rig.command(Reserve(order_id="1"))
            await until(lambda: bool(shop.rig.answers()))
            await process.idle()

        assert [answer.type for answer in shop.rig.answers()] == ["stock.reserved.v1"]
        assert shop.rig.letters() == []


async def test_action_and_its_compensation_at_once_end_undone_or_barred(level: AsyncEngine) -> None:
    async with opened(Shop(level)) as shop:
        shop.body = take_one
        async with shop.rig.running(shop.service) as process:
            for number in range(10):
                for command, phase in ((Reserve(order_id=str(number)), "action"), (Release(order_id="x"), "undo")):
                    event = shop.rig.event(
                        command, flowid="food", effectid=effect_id(phase, f"food/{number}"), replyto="food.inbox"
                    )
                    headers, value = encode(event)
                    await shop.rig.put(Outgoing("stock.commands", None, value, headers))
            await until(lambda: len(shop.rig.answers()) == 20)
            await process.idle()

        states = await shop.rows()
        undone = [states[effect_id("action", f"food/{number}")] for number in range(10)]
        assert len(shop.actions) >= 10
        assert set(undone) <= {"done", "barred"}
        assert await shop.left() == 10
        assert shop.rig.letters() == []


async def test_server_that_goes_away_is_waited_for_and_burns_no_attempt(
    own_server: LocalPostgres,
) -> None:
    engine = create_async_engine(own_server.create_database())

    async def once(command: Reserve, ctx: Context, session: AsyncSession, effect: Any) -> Reserved | SoldOut:
        assert ctx.attempt == 1
        if shop.entered == 1:
            await asyncio.to_thread(own_server.kill)
        return await shop.take(command, ctx, session, effect)

    async with opened(Shop(engine)) as shop:
        shop.body = once
        async with shop.rig.running(shop.service) as process:
            await shop.rig.command(Reserve(order_id="1"))
            await until(lambda: process.runtime.statistics().waits >= 3)
            await asyncio.to_thread(own_server.start_again)
            await until(lambda: bool(shop.rig.answers()))

        assert await shop.left() == 9
        assert shop.rig.letters() == []
        assert process.runtime.statistics().retries == 0


async def test_tables_are_made_once_when_many_processes_start_together(engine: AsyncEngine) -> None:
    await asyncio.gather(*(create_tables(engine) for _ in range(5)))

    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM orchestra_effects"))).scalar_one() == 0


async def test_of_many_processes_that_prune_one_does_it_at_a_time(engine: AsyncEngine, postgres: str) -> None:
    await create_tables(engine)
    old = SystemClock().now() - timedelta(days=31)
    async with engine.begin() as connection:
        rows = [
            {"effect_id": f"e{number}", "state": "done", "handler": "h", "at_ms": int(old.timestamp() * 1000)}
            for number in range(2500)
        ]
        await connection.execute(effects.insert(), [*rows, rows[0] | {"effect_id": "new", "at_ms": 1 << 50}])
    async with engine.begin() as first:
        assert await is_free(first, "ledger pruning")
        assert await _prune_unless_others_do(engine, 1 << 50) == 0, "another process does it now"
    others = [create_async_engine(postgres) for _ in range(3)]
    stopping = asyncio.Event()
    clock = SystemClock()
    work = [
        asyncio.create_task(
            keep_pruned(each, age=30 * 86400.0, every=0.1, clock=clock, jitter=lambda: 0.5, stopping=stopping)
        )
        for each in others
    ]

    async def only_new() -> bool:
        async with engine.connect() as connection:
            return (await connection.execute(text("SELECT effect_id FROM orchestra_effects"))).scalars().all() == [
                "new"
            ]

    await wait_for(only_new)
    stopping.set()
    await asyncio.gather(*work)
    for each in others:
        await each.dispose()
