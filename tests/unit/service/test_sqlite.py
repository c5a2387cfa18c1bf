"""The engine for services: it locks first, waits fairly, needs no thread, rolls back what was cancelled."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from orchestra.service.sqlite import sqlite_engine


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    made = sqlite_engine(tmp_path / "shop.db", connections=2, busy_timeout=5.0)
    async with made.begin() as connection:
        await connection.execute(text("CREATE TABLE stock (sku TEXT PRIMARY KEY, left INTEGER NOT NULL)"))
        await connection.execute(text("INSERT INTO stock VALUES (:sku, :left)"), [{"sku": s, "left": 9} for s in "abc"])
    yield made
    await made.dispose()


async def left(engine: AsyncEngine, sku: str = "a") -> int:
    async with engine.connect() as connection:
        row = await connection.execute(text("SELECT left FROM stock WHERE sku = :sku"), {"sku": sku})
        found: int = row.scalar_one()
        return found


async def test_pragmas_are_set(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 1), ("foreign_keys", 1)):
            assert (await connection.execute(text(f"PRAGMA {pragma}"))).scalar_one() == value


async def test_concurrent_read_then_write_loses_no_update(engine: AsyncEngine) -> None:
    async def take() -> None:
        async with AsyncSession(engine) as session, session.begin():
            found = (await session.execute(text("SELECT left FROM stock WHERE sku = 'a'"))).scalar_one()
            await asyncio.sleep(0.001)
            await session.execute(text("UPDATE stock SET left = :left WHERE sku = 'a'"), {"left": found - 1})

    await asyncio.gather(*(take() for _ in range(9)))

    assert await left(engine) == 0


async def test_statements_run_in_the_threads_that_are_there_already(engine: AsyncEngine) -> None:
    before = threading.active_count()

    async with AsyncSession(engine) as session:
        await session.execute(text("UPDATE stock SET left = 5 WHERE sku = 'a'"))
        await session.commit()

    assert threading.active_count() == before
    assert await left(engine) == 5


async def test_lock_of_another_process_stalls_nobody_else(tmp_path: Path) -> None:
    engine = sqlite_engine(tmp_path / "shop.db", busy_timeout=5.0)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE stock (left INTEGER)"))
    other = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def write() -> None:
        async with engine.begin() as connection:
            await connection.execute(text("INSERT INTO stock VALUES (1)"))

    waiting = asyncio.create_task(write())
    for _ in range(5):
        await asyncio.sleep(0)  # the loop goes on
    assert not waiting.done()
    other.execute("COMMIT")
    await waiting

    assert other.execute("SELECT left FROM stock").fetchall() == [(1,)]
    other.close()
    await engine.dispose()


async def test_results_are_those_of_sqlalchemy(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        rows = await connection.execute(text("SELECT sku, left FROM stock ORDER BY sku"))
        assert [(row.sku, row.left) for row in rows] == [("a", 9), ("b", 9), ("c", 9)]
        updated = await connection.execute(text("UPDATE stock SET left = 1 WHERE sku <> 'a'"))
        assert updated.rowcount == 2
        inserted = await connection.execute(text("INSERT INTO stock VALUES ('d', 4) RETURNING left"))
        assert inserted.scalar_one() == 4
        stream = await connection.stream(text("SELECT sku FROM stock ORDER BY sku"))
        assert [row.sku async for row in stream] == ["a", "b", "c", "d"]


async def test_rollback_takes_everything_back(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        await session.execute(text("UPDATE stock SET left = 0"))
        await session.rollback()
        await session.commit()

    assert await left(engine) == 9


async def test_errors_are_those_of_sqlalchemy_and_the_connection_is_usable_after(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        with pytest.raises(IntegrityError):
            await session.execute(text("INSERT INTO stock VALUES ('a', 1)"))
        await session.rollback()
        with pytest.raises(OperationalError, match="no such table") as caught:
            await session.execute(text("SELECT * FROM nowhere"))
        assert isinstance(caught.value.orig, sqlite3.OperationalError)
        assert caught.value.orig.sqlite_errorcode == 1
        await session.rollback()
        await session.execute(text("UPDATE stock SET left = 3 WHERE sku = 'a'"))
        await session.commit()

    assert await left(engine) == 3


async def test_transaction_that_was_cancelled_leaves_no_lock(engine: AsyncEngine, tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncSession(engine) as session, session.begin():
            await session.execute(text("UPDATE stock SET left = 0"))
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with AsyncSession(engine) as session, session.begin():
        await session.execute(text("UPDATE stock SET left = left - 1 WHERE sku = 'a'"))
    assert await left(engine) == 8


async def test_lock_of_another_process_is_waited_for_and_then_an_error(tmp_path: Path) -> None:
    engine = sqlite_engine(tmp_path / "shop.db", busy_timeout=0.1)
    other = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    try:
        other.execute("CREATE TABLE stock (left INTEGER)")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked") as caught:
            async with engine.begin() as connection:
                await connection.execute(text("SELECT * FROM stock"))
        assert isinstance(caught.value.orig, sqlite3.OperationalError)
        assert caught.value.orig.sqlite_errorcode == 5

        other.execute("COMMIT")
        async with engine.begin() as connection:
            await connection.execute(text("INSERT INTO stock VALUES (1)"))
    finally:
        other.close()
        await engine.dispose()
