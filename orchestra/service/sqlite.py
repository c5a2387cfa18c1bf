"""How is a SQLite engine made right for services?

Left to defaults, SQLite under SQLAlchemy and aiosqlite loses updates between concurrent handlers (a transaction takes
its lock late, after it has read), answers "database is locked", and spends most of its time on the way to the
connection's thread: every statement makes three or four trips there, about 0.1 ms of CPU each. :func:`sqlite_engine`
takes the lock first, waits for it, and makes one trip for each statement.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

try:
    import aiosqlite
    from sqlalchemy import Connection, event
    from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
except ImportError as missing:  # pragma: no cover  the extra is installed wherever tests run
    raise ImportError("a database needs the extra: pip install 'orchestra[sql]'") from missing


def sqlite_engine(
    path: str | Path,
    *,
    connections: int = 1,
    busy_timeout: float = 10.0,
    synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
) -> AsyncEngine:
    """An engine on a SQLite file, made for handlers that write.

    Each transaction begins with ``BEGIN IMMEDIATE``: it takes the write lock before it reads, so what it read still
    holds when it writes. The journal is a write-ahead log, so other processes may read meanwhile.

    Args:
        path: the database file; created when it is missing, its folder is not.
        connections: SQLite has one writer at a time. With one connection, handlers wait for it in a fair queue; with
            more they poll for the file's lock, which costs latency, and helps only those who mostly read. A handler
            that opens a second session while its first is in a transaction needs two.
        busy_timeout: seconds to wait for another process's lock, or for a free connection.
        synchronous: "NORMAL" loses nothing when the process is killed; when the machine loses power, the last moments
            before it may be gone, though they were answered. "FULL" survives that too, for one fsync a transaction.
    """
    engine = create_async_engine(
        "sqlite+aiosqlite://",
        async_creator=partial(_connect, str(path), busy_timeout, synchronous),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=busy_timeout,
        poolclass=_pool(),
    )
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _pool() -> Any:
    from sqlalchemy import AsyncAdaptedQueuePool  # the default for an URL without a path would be one shared connection

    return AsyncAdaptedQueuePool


def _begin(connection: Connection) -> None:
    driver = connection.connection.driver_connection
    assert isinstance(driver, OneTripConnection)
    driver.begin_with_next()


async def _connect(path: str, busy_timeout: float, synchronous: str) -> OneTripConnection:
    def open_file() -> sqlite3.Connection:
        # isolation_level None: sqlite3 begins no transactions of its own.
        raw = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None)
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute(f"PRAGMA synchronous={synchronous}")
        raw.execute("PRAGMA foreign_keys=ON")
        return raw

    connection = OneTripConnection(open_file, iter_chunk_size=64)
    connection._thread.daemon = True  # a connection that was never closed must not keep the process alive
    await connection
    return connection


class OneTripConnection(aiosqlite.Connection):
    """aiosqlite's connection, with one trip to its thread for each statement, its rows and its BEGIN included."""

    _is_begin_due = False
    _is_in_transaction = False

    def begin_with_next(self) -> None:
        """The next statement begins a transaction first."""
        self._is_begin_due = True

    def cursor(self) -> Any:  # the protocol that SQLAlchemy wants: an awaitable context manager
        return _Cursor(self)

    async def run(self, statement: _Statement) -> None:
        """Execute in the connection's thread."""
        statement.begins = self._is_begin_due
        # Set before the trip: when the caller is cancelled, what the thread does meanwhile must be rolled back.
        self._is_in_transaction |= self._is_begin_due
        self._is_begin_due = False
        await self._execute(statement, self._conn)  # type: ignore[no-untyped-call]  # private: pinned by a test

    async def commit(self) -> None:
        await self._end(super().commit)

    async def rollback(self) -> None:
        await self._end(super().rollback)

    async def _end(self, how: Any) -> None:
        self._is_begin_due = False
        if self._is_in_transaction:
            await how()
            self._is_in_transaction = False


class _Statement:
    """One statement and what came of it; called in the connection's thread."""

    __slots__ = ("begins", "description", "lastrowid", "many", "parameters", "rowcount", "rows", "sql")

    def __init__(self, sql: str, parameters: Any, many: bool) -> None:
        self.sql = sql
        self.parameters = parameters
        self.many = many
        self.begins = False
        self.description: Any = None
        self.rows: list[Any] = []
        self.rowcount = -1
        self.lastrowid: int | None = None

    def __call__(self, raw: sqlite3.Connection) -> None:
        if self.begins:
            raw.execute("BEGIN IMMEDIATE")
        cursor = raw.cursor()
        try:
            (cursor.executemany if self.many else cursor.execute)(self.sql, self.parameters)
            self.description = cursor.description
            if self.description:
                self.rows = cursor.fetchall()
            self.rowcount = cursor.rowcount
            self.lastrowid = cursor.lastrowid
        finally:
            cursor.close()


class _Cursor:
    """What SQLAlchemy takes for aiosqlite's cursor. Opening, reading and closing it make no trips."""

    arraysize = 1
    row_factory = None

    def __init__(self, connection: OneTripConnection) -> None:
        self._connection = connection
        self._last = _Statement("", (), many=False)

    async def __aenter__(self) -> _Cursor:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    @property
    def description(self) -> Any:
        return self._last.description

    @property
    def rowcount(self) -> int:
        return self._last.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._last.lastrowid

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> _Cursor:
        return await self._run(_Statement(sql, parameters, many=False))

    async def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> _Cursor:
        return await self._run(_Statement(sql, list(parameters), many=True))

    async def _run(self, statement: _Statement) -> _Cursor:
        await self._connection.run(statement)
        self._last = statement
        return self

    async def fetchall(self) -> list[Any]:
        rows, self._last.rows = self._last.rows, []
        return rows

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        size = size or self.arraysize
        rows, self._last.rows = self._last.rows[:size], self._last.rows[size:]
        return rows

    async def fetchone(self) -> Any:
        return self._last.rows.pop(0) if self._last.rows else None

    async def close(self) -> None: ...
