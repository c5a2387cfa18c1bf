"""Where does a handler keep its data in a simulation, when SQLite would be too slow? Rows in memory, with transactions.

It is as strict as a real database where that matters: one transaction at a time, nothing is seen before its commit, a
process that dies takes its open transaction with it, and a commit can be followed by a crash before anybody hears of
it. It keeps the effect ledger, so ``ctx.effect(session, command)`` works as it does with SQLAlchemy.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Hashable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self
from weakref import WeakSet

from orchestra.errors import DefinitionError
from orchestra.service.entry import Entry, LedgerSession, State
from orchestra.service.outcome import Emitted

_GONE: Final = object()
_all: WeakSet[MemoryDatabase] = WeakSet()


class MemoryDatabase:
    """Rows by key, and an effect ledger, for tests and simulations. A simulation empties it before each run.

    Args:
        name: for people.
        initial: rows that are there at the beginning.

    Attributes:
        rows: what is committed. Read it in assertions; write it in transactions.
        effects: the ledger: effect id -> how it ended.
        times_done: effect id -> how often it was committed as done: more than once would be a bug of ours.
    """

    def __init__(self, name: str = "memory", initial: Mapping[Hashable, Any] | None = None) -> None:
        self.name = name
        self._initial = dict(initial or {})
        self.rows: dict[Any, Any] = {}
        self.effects: dict[str, Entry] = {}
        self.times_done: dict[str, int] = {}
        self._holder: MemorySession | None = None
        self._queue: deque[tuple[MemorySession, asyncio.Future[None]]] = deque()
        self.clear()
        _all.add(self)

    def __repr__(self) -> str:
        return f"MemoryDatabase({self.name!r})"

    def clear(self) -> None:
        """As it was at the beginning."""
        self.rows = dict(self._initial)
        self.effects = {}
        self.times_done = {}
        self._holder = None
        self._queue.clear()

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[MemorySession]:
        """A session of its own, for one handling: ``@service.resource(scope="call")`` yields it."""
        session = MemorySession(self)
        note = getattr(asyncio.get_running_loop(), "closes_with_process", None)
        if note is not None:  # in a simulation
            note(session.drop)
        try:
            yield session
        finally:
            session.drop()

    async def acquire(self, session: MemorySession) -> None:
        """Wait for one's turn: there is one transaction at a time."""
        if self._holder is None:
            self._holder = session
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((session, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if self._holder is session:
                self.release(session)
            raise

    def release(self, session: MemorySession) -> None:
        """The session's transaction is over, if it had one."""
        if self._holder is not session:
            return
        self._holder = None
        while self._queue and self._holder is None:
            waiting, turn = self._queue.popleft()
            if not turn.done() and not waiting.is_closed:
                self._holder = waiting
                turn.set_result(None)


class MemorySession(LedgerSession):
    """One user of a :class:`MemoryDatabase`: a transaction at a time. Made by ``database.session()``.

    Within ``ctx.effect(session, command)``, or ``async with session.begin():``, rows are read and written like those of
    a dict; they are seen by others once the block has ended well. Values are not copied: put new ones, do not change
    old ones.
    """

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._changes: dict[Any, Any] | None = None
        self._entries: dict[str, Entry | None] = {}
        self.is_closed = False

    def in_transaction(self) -> bool:
        return self._changes is not None

    def begin(self) -> _Transaction:
        """``async with session.begin():`` commits at its end, and rolls back on an error."""
        return _Transaction(self)

    # ---- rows

    def get(self, key: Hashable, default: Any = None) -> Any:
        """The row's value, as this transaction sees it."""
        changes = self._open()
        value = changes[key] if key in changes else self._database.rows.get(key, default)
        return default if value is _GONE else value

    def __getitem__(self, key: Hashable) -> Any:
        if (value := self.get(key, _GONE)) is _GONE:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Hashable, value: Any) -> None:
        self._open()[key] = value

    def __delitem__(self, key: Hashable) -> None:
        self[key]
        self._open()[key] = _GONE

    def __contains__(self, key: Hashable) -> bool:
        return self.get(key, _GONE) is not _GONE

    def items(self) -> Iterator[tuple[Any, Any]]:
        """All rows, as this transaction sees them."""
        merged = {**self._database.rows, **self._open()}
        return iter([(key, value) for key, value in merged.items() if value is not _GONE])

    def _open(self) -> dict[Any, Any]:
        if self._changes is None:
            raise DefinitionError(
                f"{self._database!r}: no transaction is open; use the session within ctx.effect(session, ...) or"
                " async with session.begin()"
            )
        return self._changes

    # ---- the transaction

    async def start(self) -> None:
        """Begin a transaction, if none is open: when it is this one's turn."""
        if self._changes is None:
            await self._database.acquire(self)
            self._changes, self._entries = {}, {}

    async def commit(self) -> None:
        if self._changes is None:
            return
        await asyncio.sleep(0)  # on the way to the database
        database = self._database
        for key, value in self._changes.items():
            if value is _GONE:
                database.rows.pop(key, None)
            else:
                database.rows[key] = value
        for effect_id, entry in self._entries.items():
            if entry is None:
                database.effects.pop(effect_id, None)
            else:
                database.effects[effect_id] = entry
                if entry.state is State.DONE:
                    database.times_done[effect_id] = database.times_done.get(effect_id, 0) + 1
        self._end()
        await asyncio.sleep(0)  # committed, and nobody has heard of it yet

    async def rollback(self) -> None:
        self._end()

    def drop(self) -> None:
        """The connection is gone: what is not committed never was."""
        self.is_closed = True
        self._end()

    def _end(self) -> None:
        self._changes, self._entries = None, {}
        self._database.release(self)

    # ---- the ledger

    async def take(self, effect_id: str, state: State, handler: str, at: datetime) -> Entry | None:
        await self.start()
        if (known := await self.find(effect_id)) is not None:
            return known
        self._entries[effect_id] = Entry(state, at)
        return None

    async def find(self, effect_id: str) -> Entry | None:
        await self.start()
        return self._entries.get(effect_id) or self._database.effects.get(effect_id)

    async def store(self, effect_id: str, outcome: Emitted | None, messages: list[Emitted]) -> None:
        entry = self._entries[effect_id]
        assert entry is not None
        self._entries[effect_id] = replace(entry, state=State.DONE, outcome=outcome, messages=tuple(messages))

    async def forget(self, effect_id: str) -> None:
        self._entries[effect_id] = None


class _Transaction:
    """``async with session.begin():``."""

    def __init__(self, session: MemorySession) -> None:
        self._session = session

    async def __aenter__(self) -> Self:
        await self._session.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await (self._session.commit() if error is None else self._session.rollback())


def all_databases() -> list[MemoryDatabase]:
    """Those that there are, by name."""
    return sorted(_all, key=lambda database: database.name)
