"""Where does a service keep its data? A SQLite file each, below FOOD_DELIVERY_DATA."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from orchestra import create_ledger_tables, sqlite_engine

Seed = Callable[[AsyncConnection], Awaitable[None]]


def path_of(service: str) -> Path:
    return Path(os.environ.get("FOOD_DELIVERY_DATA", ".demo/data")) / f"{service}.db"


@asynccontextmanager
async def open_database(service: str, metadata: MetaData, seed: Seed | None = None) -> AsyncGenerator[AsyncEngine]:
    """An engine on the service's own database, with its tables and the effect ledger's."""
    path = path_of(service)
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = sqlite_engine(path)
    await create_ledger_tables(engine)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        if seed is not None:
            await seed(connection)
    try:
        yield engine
    finally:
        await engine.dispose()


async def open_session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine) as session:
        yield session
