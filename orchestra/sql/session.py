"""Through what does one of ours write in a user's transaction, and which database is it?"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TypeGuard

try:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
except ImportError as missing:  # pragma: no cover  the extra is installed wherever tests run
    raise ImportError("the effect ledger and the outbox need the extra: pip install 'orchestra[sql]'") from missing

Session = AsyncSession | AsyncConnection
"""What a transaction of the user's is opened with."""


def is_session(value: object) -> TypeGuard[Session]:
    """Whether a transaction can be opened with this."""
    return isinstance(value, Session)


async def connection_of(session: Session) -> AsyncConnection:
    """The connection that the session's transaction is on: no second way round through its bind per statement."""
    return await session.connection() if isinstance(session, AsyncSession) else session


def is_postgres(bound: AsyncEngine | AsyncConnection) -> bool:
    """Whether it is PostgreSQL. Anything else that we know is SQLite."""
    return bound.dialect.name == "postgresql"


@asynccontextmanager
async def alone(engine: AsyncEngine, name: str) -> AsyncGenerator[AsyncConnection]:
    """A transaction that only one process has at a time under this name; the others wait.

    PostgreSQL's ``CREATE ... IF NOT EXISTS`` fails in all but one of several processes that start at once.
    """
    async with engine.begin() as connection:
        if is_postgres(engine):
            await connection.execute(_LOCK, {"key": lock_key(name)})
        yield connection


async def is_free(connection: AsyncConnection, name: str) -> bool:
    """Take the name for the rest of the transaction, unless another process has it. On SQLite writers are alone."""
    if not is_postgres(connection):
        return True
    return bool((await connection.execute(_TRY_LOCK, {"key": lock_key(name)})).scalar_one())


def lock_key(name: str) -> int:
    """The name as PostgreSQL's advisory locks take it: a signed number of 64 bits, the same for the same name."""
    return int.from_bytes(sha256(f"orchestra {name}".encode()).digest()[:8], "big", signed=True)


_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)")
