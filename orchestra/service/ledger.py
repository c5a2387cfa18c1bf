"""Which effects has this database seen, and how did each end? The table of the effect ledger, and its few statements.

A row is inserted in the transaction of the effect itself, before anything else in it, and says at the end how the
effect ended. So a row that others can see is final: *done* with an outcome and the messages to send, or shut: *barred*
by a compensation that came first, or *expired*. Of two deliveries at once the second waits for the first's transaction,
and then sees its row.

Works on SQLite and PostgreSQL. The statements are text: the ledger runs for every command, and building SQL from
expressions would cost more than running it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from orchestra.sql.session import Session, alone, connection_of  # isort: skip  first: it says what to install

from pydantic_core import from_json, to_json
from sqlalchemy import BigInteger, Column, Index, MetaData, String, Table, Text, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.schema import CreateIndex, CreateTable

from orchestra.service.entry import Entry, State
from orchestra.service.outcome import Emitted

metadata = MetaData()
effects = Table(
    "orchestra_effects",
    metadata,
    Column("effect_id", String(1000), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("handler", String(200), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("outcome", Text),  # JSON: one message
    Column("emitted", Text),  # JSON: a list of messages
)
_by_age = Index("orchestra_effects_at", effects.c.at_ms)


async def create_tables(engine: AsyncEngine) -> None:
    """Create the ledger's table where it is missing. Idempotent, and safe in several processes at once. Call it before
    the service starts."""
    async with alone(engine, "ledger tables") as connection:
        await connection.execute(CreateTable(effects, if_not_exists=True))
        await connection.execute(CreateIndex(_by_age, if_not_exists=True))


class SqlLedger:
    """The ledger that a transaction of a SQL session writes; see :class:`orchestra.service.entry.LedgerSession`."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    async def take(self, effect_id: str, state: State, handler: str, at: datetime) -> Entry | None:
        row = {"effect_id": effect_id, "state": state, "handler": handler, "at_ms": _millis(at)}
        connection = await connection_of(self._session)
        if (await connection.execute(_INSERT, row)).rowcount == 1:
            return None
        found = await self.find(effect_id)
        assert found is not None  # what stood in the way is final and rows are kept for weeks
        return found

    async def find(self, effect_id: str) -> Entry | None:
        connection = await connection_of(self._session)
        row = (await connection.execute(_SELECT, {"effect_id": effect_id})).one_or_none()
        return None if row is None else entry_of(row)

    async def store(self, effect_id: str, outcome: Emitted | None, messages: list[Emitted]) -> None:
        connection = await connection_of(self._session)
        await connection.execute(
            _UPDATE,
            {
                "effect_id": effect_id,
                "state": State.DONE,
                "outcome": None if outcome is None else to_json(_plain(outcome)).decode(),
                "emitted": to_json([_plain(message) for message in messages]).decode() if messages else None,
            },
        )

    async def forget(self, effect_id: str) -> None:
        connection = await connection_of(self._session)
        await connection.execute(_FORGET, {"effect_id": effect_id})


def entry_of(row: Any) -> Entry:
    """What a row of the table says."""
    outcome = None if row.outcome is None else _message(from_json(row.outcome))
    messages = () if row.emitted is None else tuple(map(_message, from_json(row.emitted)))
    return Entry(State(row.state), datetime.fromtimestamp(row.at_ms / 1000, UTC), outcome, messages)


_INSERT = text(
    "INSERT INTO orchestra_effects (effect_id, state, handler, at_ms) VALUES (:effect_id, :state, :handler, :at_ms)"
    " ON CONFLICT (effect_id) DO NOTHING"
)
_SELECT = text("SELECT state, at_ms, outcome, emitted FROM orchestra_effects WHERE effect_id = :effect_id")
_UPDATE = text(
    "UPDATE orchestra_effects SET state = :state, outcome = :outcome, emitted = :emitted WHERE effect_id = :effect_id"
)
_FORGET = text("DELETE FROM orchestra_effects WHERE effect_id = :effect_id")


def _millis(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _plain(message: Emitted) -> list[str | None]:
    key = None if message.key is None else message.key.decode()
    form = ["whole"] if message.is_whole else ["plain"] if message.is_plain else []
    return [message.type, message.topic, key, message.data.decode(), *form]


def _message(plain: list[str | None]) -> Emitted:
    type_, topic, key, data, *form = plain
    assert type_ is not None
    assert data is not None
    return Emitted(
        type_, topic, None if key is None else key.encode(), data.encode(), form == ["whole"], form == ["plain"]
    )
