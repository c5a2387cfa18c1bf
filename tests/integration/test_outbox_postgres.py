"""The outbox on PostgreSQL: all that holds on SQLite, and what only transactions side by side can show."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from orchestra.errors import UnreachableError
from orchestra.outbox.table import create_tables
from orchestra.testing.postgres import LocalPostgres
from tests.unit.outbox.rig import Changed, World, eventually
from tests.unit.outbox.test_relay import *  # noqa: F403  the same tests and fixtures, on the engine below

WRITERS = 12


@pytest.fixture
async def engine(postgres: str) -> AsyncIterator[AsyncEngine]:
    made = create_async_engine(postgres, pool_size=WRITERS + 8)
    yield made
    await made.dispose()


class NaivePoll:
    """What one would write first: remember the last number, read those above it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._last = 0
        self.seen: list[str] = []

    async def poll(self) -> None:
        async with self._engine.connect() as connection:
            rows = await connection.execute(
                text("SELECT id, event_id FROM orchestra_outbox WHERE id > :last ORDER BY id"), {"last": self._last}
            )
            for row in rows:
                self._last = row.id
                self.seen.append(row.event_id)


async def test_poll_by_the_last_number_loses_events_of_long_transactions_and_the_relay_does_not(world: World) -> None:
    """Transactions of very different length write at once. Numbers are given when a row is written, and seen when its
    transaction commits: whoever remembers the last number passes over those that commit late."""
    chance = random.Random(4)
    naive = NaivePoll(world.engine)
    written = 0
    still_writing = True

    async def write(writer: int) -> None:
        nonlocal written
        for number in range(15):
            async with world.engine.connect() as connection:
                await world.outbox.add(connection, Changed(order_id=f"{writer}-{number}"))
                await asyncio.sleep(chance.choice([0, 0, 0.01, 0.05, 0.25]))
                if chance.random() < 0.1:
                    await connection.rollback()
                else:
                    await connection.commit()
                    written += 1

    async def poll() -> None:
        while still_writing:
            await naive.poll()
            await asyncio.sleep(0.005)

    polling = asyncio.create_task(poll())
    async with world.relaying(keep=3600.0):
        await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
        await world.empty()
        still_writing = False
        await polling
        await naive.poll()

    sent = [event.id for event in world.events()]
    assert len(sent) == len(set(sent)) == written
    assert len(set(naive.seen)) < written, "the naive poll lost nothing: the test has no teeth"


async def test_events_of_a_key_are_in_the_order_in_which_their_transactions_had_its_lock(world: World) -> None:
    """The first transaction gets its id early, by writing something else, and the key's lock late."""
    await make_stock(world.engine)
    async with world.engine.connect() as early, world.engine.connect() as late:
        await early.execute(text("INSERT INTO note VALUES (1)"))
        await change(world, late, "a")
        ids = [await transaction_id(early), await transaction_id(late)]
        await late.commit()
        await change(world, early, "a")
        await early.commit()

    async with world.relaying():
        await world.empty()

    assert world.numbers("a") == [1, 2]
    assert ids == sorted(ids), "an order by transaction id would turn them round"


async def transaction_id(connection: AsyncConnection) -> int:
    found: int = (await connection.execute(text("SELECT pg_current_xact_id()::text::bigint"))).scalar_one()
    return found


async def test_order_per_key_is_kept_under_many_writers(world: World) -> None:
    await make_stock(world.engine)
    chance = random.Random(7)

    async def write() -> None:
        for _ in range(20):
            async with world.engine.connect() as connection:
                if chance.random() < 0.5:
                    await connection.execute(text("INSERT INTO note VALUES (1)"))
                await asyncio.sleep(chance.random() * 0.01)
                await change(world, connection, chance.choice("abc"))
                await asyncio.sleep(chance.random() * 0.01)
                await (connection.rollback() if chance.random() < 0.1 else connection.commit())

    async with world.relaying():
        await asyncio.gather(*(write() for _ in range(WRITERS)))
        await world.empty()

    for key in "abc":
        numbers = world.numbers(key)
        assert numbers == list(range(1, len(numbers) + 1))
    assert len(world.events()) > 150


async def make_stock(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE stock AS SELECT k, 0 AS n FROM unnest(array['a','b','c']) AS k"))
        await connection.execute(text("CREATE TABLE note (n INTEGER)"))


async def change(world: World, connection: AsyncConnection, key: str) -> None:
    """Change a row, which locks it, and say so."""
    changed = await connection.execute(text("UPDATE stock SET n = n + 1 WHERE k = :key RETURNING n"), {"key": key})
    await world.outbox.add(connection, Changed(order_id=key, n=changed.scalar_one()))


async def test_transaction_that_stays_open_holds_up_nobody_and_is_sent_when_it_commits(world: World) -> None:
    async with world.relaying(), world.engine.connect() as slow:
        await world.outbox.add(slow, Changed(order_id="a", n=0))
        await world.add(Changed(order_id="a", n=1), Changed(order_id="b", n=2))
        await eventually(lambda: len(world.events()) == 2)
        await world.empty()
        await slow.commit()
        await world.empty()

    assert world.numbers("a") == [1, 0], "in the order of their commits"
    assert world.numbers("b") == [2]


async def test_event_that_waits_for_long_is_seen_in_the_lag_and_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestra.outbox.relay._LOOK_SECONDS", 0.1)
    monkeypatch.setattr("orchestra.outbox.relay._WORRY_SECONDS", 0.3)
    async with world.relaying() as running:
        running.publisher.refuse = lambda record: UnreachableError("away")
        await world.add(Changed(order_id="a"))
        await eventually(lambda: "the oldest event waits for" in caplog.text)
        assert running.relay.statistics().lag > 0.3
        running.publisher.refuse = lambda record: None
        await world.empty()
        await eventually(lambda: running.relay.statistics().lag == 0.0)


async def test_savepoints_belong_to_their_transaction(world: World) -> None:
    async with world.relaying(), world.engine.connect() as connection:
        async with connection.begin_nested():
            await world.outbox.add(connection, Changed(order_id="a", n=0))
        inner = await connection.begin_nested()
        await world.outbox.add(connection, Changed(order_id="a", n=1))
        await inner.rollback()
        await connection.commit()
        await world.empty()

    assert world.numbers("a") == [0]


async def test_tables_are_made_once_when_many_processes_start_together(engine: AsyncEngine) -> None:
    await asyncio.gather(*(create_tables(engine) for _ in range(5)))


async def test_server_that_goes_away_is_waited_for_and_nothing_is_lost(own_server: LocalPostgres) -> None:
    engine = create_async_engine(own_server.create_database())
    await create_tables(engine)
    world = World(engine)
    async with world.relaying() as running:
        await world.add(Changed(order_id="a", n=0))
        await world.empty()
        running.publisher.gate.clear()
        await world.add(Changed(order_id="a", n=1))
        await eventually(lambda: running.publisher.asked == 2)
        await asyncio.to_thread(own_server.kill)  # sent, and cannot be marked
        running.publisher.gate.set()
        await eventually(lambda: running.relay.statistics().waits > 0)
        await asyncio.to_thread(own_server.start_again)
        await world.add(Changed(order_id="a", n=2))
        await world.empty()

    assert list(dict.fromkeys(world.numbers("a"))) == [0, 1, 2]
    assert len({event.id for event in world.events()}) == 3
    await engine.dispose()
