"""Where does a service keep its data? A SQLite file each, below SERVICES_DATA."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from orchestra import Service, create_ledger_tables, sqlite_engine

Seed = Callable[[AsyncConnection], Awaitable[None]]


def keep_data(service: Service, metadata: MetaData, seed: Seed | None = None) -> None:
    """Let handlers of the service take an ``AsyncSession`` on a database of its own, made when it is missing.

    Args:
        metadata: its tables. The effect ledger's are made beside them.
        seed: fills them; called at each start, so it skips what is there.
    """

    @service.resource
    async def engine() -> AsyncIterator[AsyncEngine]:
        async with open_database(service.name, metadata, seed) as opened:
            yield opened

    @service.resource(scope="call")
    async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as opened:
            yield opened


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


def path_of(service: str) -> Path:
    return Path(os.environ.get("SERVICES_DATA", ".demo/data")) / f"{service}.db"
