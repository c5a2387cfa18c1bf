"""Which effects has this database seen, and how did each end? The table of the effect ledger, and its few statements.

A row is inserted in the transaction of the effect itself, before anything else in it, and says at the end how the
effect ended. So a row that others can see is final: *done* with an outcome and the messages to send, or shut: *barred*
by a compensation that came first, or *expired*. Of two deliveries at once the second waits for the first's transaction,
and then sees its row.

Works on SQLite and PostgreSQL. The statements are text: the ledger runs for every command, and building SQL from
expressions would cost more than running it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from orchestra.sql.session import Session, alone, connection_of  # isort: skip  first: it says what to install

from pydantic_core import from_json, to_json
from sqlalchemy import BigInteger, Column, Index, MetaData, String, Table, Text, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.schema import CreateIndex, CreateTable

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


class State(StrEnum):
    """How an effect stands."""

    OPEN = "open"
    """Under way: seen only within its own transaction."""
    DONE = "done"
    BARRED = "barred"
    """Its compensation came first: it may never happen."""
    EXPIRED = "expired"
    """It was asked for too late, was not begun, and may never happen."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger says about an effect."""

    state: State
    at: datetime
    outcome: Emitted | None = None
    messages: tuple[Emitted, ...] = ()

    @property
    def refusal(self) -> Literal["expired", "barred"] | None:
        """Why the effect may never happen, if it may not."""
        if self.state is State.EXPIRED:
            return "expired"
        return "barred" if self.state is State.BARRED else None


async def create_tables(engine: AsyncEngine) -> None:
    """Create the ledger's table where it is missing. Idempotent, and safe in several processes at once. Call it before
    the service starts."""
    async with alone(engine, "ledger tables") as connection:
        await connection.execute(CreateTable(effects, if_not_exists=True))
        await connection.execute(CreateIndex(_by_age, if_not_exists=True))


async def take(session: Session, effect_id: str, state: State, handler: str, at: datetime) -> Entry | None:
    """Make the effect's row, or find the one that is there. None: it is made, and ours until the transaction ends."""
    row = {"effect_id": effect_id, "state": state, "handler": handler, "at_ms": _millis(at)}
    connection = await connection_of(session)
    if (await connection.execute(_INSERT, row)).rowcount == 1:
        return None
    found = await find(session, effect_id)
    assert found is not None  # what stood in the way is final and rows are kept for weeks
    return found


async def find(session: Session, effect_id: str) -> Entry | None:
    """The effect's row, if there is one."""
    connection = await connection_of(session)
    row = (await connection.execute(_SELECT, {"effect_id": effect_id})).one_or_none()
    if row is None:
        return None
    return entry_of(row)


def entry_of(row: Any) -> Entry:
    """What a row of the table says."""
    outcome = None if row.outcome is None else _message(from_json(row.outcome))
    messages = () if row.emitted is None else tuple(map(_message, from_json(row.emitted)))
    return Entry(State(row.state), datetime.fromtimestamp(row.at_ms / 1000, UTC), outcome, messages)


async def store(session: Session, effect_id: str, outcome: Emitted | None, messages: list[Emitted]) -> None:
    """Say how the effect of a row that is ours ended."""
    connection = await connection_of(session)
    await connection.execute(
        _UPDATE,
        {
            "effect_id": effect_id,
            "state": State.DONE,
            "outcome": None if outcome is None else to_json(_plain(outcome)).decode(),
            "emitted": to_json([_plain(message) for message in messages]).decode() if messages else None,
        },
    )


async def forget(session: Session, effect_id: str) -> None:
    """Take the effect's row away again."""
    connection = await connection_of(session)
    await connection.execute(_FORGET, {"effect_id": effect_id})


def whole_millis(moment: datetime) -> datetime:
    """The moment as a row keeps it."""
    return datetime.fromtimestamp(_millis(moment) / 1000, UTC)


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
