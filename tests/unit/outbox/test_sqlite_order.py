"""On SQLite, is the order of the outbox's numbers the order in which its transactions committed?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from orchestra.outbox.table import create_tables
from orchestra.service.sqlite import sqlite_engine
from tests.unit.outbox.rig import Changed, World


@pytest.fixture(params=["ours", "plain"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """Our own engine, and one as SQLAlchemy makes it, which takes the lock only when it writes."""
    if request.param == "ours":
        made = sqlite_engine(tmp_path / "shop.db", connections=8)
    else:
        made = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}", connect_args={"timeout": 20})
    yield made
    await made.dispose()


async def test_numbers_are_given_in_the_order_of_commits_where_writers_take_turns(engine: AsyncEngine) -> None:
    """On SQLite one transaction writes at a time: the number of a row says when its transaction committed."""
    await create_tables(engine)
    world = World(engine)
    committed: list[int] = []

    async def write(number: int) -> None:
        async with engine.connect() as connection:
            await asyncio.sleep(0.001 * (number % 5))
            await world.outbox.add(connection, Changed(order_id="a", n=number))
            await asyncio.sleep(0.001 * (number % 3))
            await connection.commit()
            committed.append(number)

    await asyncio.gather(*(write(number) for number in range(40)))
    async with world.relaying():
        await world.empty()

    assert world.numbers("a") == committed
