"""Which events wait to be sent, and who may send them? The outbox's two tables, and their statements.

**Nothing is skipped.** There is no "last number": a row is read for as long as it is not marked. One that commits late,
with a number below those already sent, is read when it can be seen.

**Order per key.** Rows are sent in the order of their numbers. A number is given at the insert; of two transactions
that lock the same thing first (the order's row, say), the second inserts after the first has committed. So whoever sees
the second's row sees the first's too, with a lower number. On SQLite writers are alone: numbers follow the commits.

**Not by transaction id.** Sorting by (transaction id, number) behind ``pg_snapshot_xmin``, as is often advised, is for
readers that keep a place. It would turn the events of a key round: a transaction gets its id at its first write, which
may be long before it has the key's lock. And any transaction that stays open, anywhere on the server, would hold up all
events.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestra.sql.session import Session, alone, connection_of, is_postgres  # isort: skip  says what to install

from pydantic_core import from_json, to_json
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from orchestra.transport.port import Headers

MOST_ROWS = 500
MOST_BYTES = 200 * 1024
"""Of one batch: so little that what it has for one partition goes out in one request, whole or not at all."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row that is to be sent.

    Attributes:
        topic: as declared.
        headers, value: the event as it travels.
    """

    id: int
    event_id: str
    type: str
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    at_ms: int


async def create_tables(engine: AsyncEngine) -> None:
    """Create the outbox's tables where they are missing. Idempotent, and safe in several processes at once. Call it
    before the first event is added."""
    async with alone(engine, "outbox tables") as connection:
        for statement in _POSTGRES if is_postgres(engine) else _SQLITE:
            await connection.execute(text(statement))


_COLUMNS = """
    event_id TEXT NOT NULL,
    type TEXT NOT NULL,
    topic TEXT NOT NULL,
    key {bytes},
    value {bytes},
    headers TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    sent_ms BIGINT,
    failed_ms BIGINT,
    error TEXT
"""
_ALIKE = (
    "CREATE INDEX IF NOT EXISTS orchestra_outbox_due ON orchestra_outbox (id)"
    " WHERE sent_ms IS NULL AND failed_ms IS NULL",
    "CREATE INDEX IF NOT EXISTS orchestra_outbox_sent ON orchestra_outbox (sent_ms) WHERE sent_ms IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS orchestra_outbox_failed ON orchestra_outbox (id) WHERE failed_ms IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS orchestra_outbox_relay"
    " (name TEXT PRIMARY KEY, owner TEXT NOT NULL, until_ms BIGINT NOT NULL)",
)
_POSTGRES = (
    # Rows come and go: vacuum by their number, not by a share of a table that is empty most of the time.
    "CREATE TABLE IF NOT EXISTS orchestra_outbox (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    f" {_COLUMNS.format(bytes='BYTEA')})"
    " WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)",
    *_ALIKE,
)
_SQLITE = (
    # AUTOINCREMENT: a number is never given twice, also when the newest row was deleted.
    "CREATE TABLE IF NOT EXISTS orchestra_outbox"
    f" (id INTEGER PRIMARY KEY AUTOINCREMENT, {_COLUMNS.format(bytes='BLOB')})",
    *_ALIKE,
)

_DUE = "sent_ms IS NULL AND failed_ms IS NULL"
_INSERT = text(
    "INSERT INTO orchestra_outbox (event_id, type, topic, key, value, headers, at_ms)"
    " VALUES (:event_id, :type, :topic, :key, :value, :headers, :at_ms)"
)


def _read(listed: str, size: str) -> TextClause:
    """The oldest rows, as many as there is room for, and one at least."""
    return text(
        "SELECT id, event_id, type, topic, key, value, headers, at_ms FROM ("
        f" SELECT oldest.*, {size} AS size, sum({size}) OVER (ORDER BY id) AS bytes FROM ("
        f"  SELECT * FROM orchestra_outbox WHERE {_DUE} AND topic NOT IN ({listed})"
        "  ORDER BY id LIMIT :most_rows) AS oldest) AS measured"
        " WHERE bytes <= :most_bytes OR bytes = size ORDER BY id"
    )


@dataclass(frozen=True, slots=True)
class Statements:
    """What the two databases say differently."""

    read: TextClause
    delete: TextClause
    mark_sent: TextClause
    lease: TextClause
    give_up: TextClause
    prune: TextClause
    oldest: TextClause


def _statements(*, texts: str, numbers: str, size: str, now: str) -> Statements:
    return Statements(
        read=_read(texts.format("held"), size),
        delete=text(f"DELETE FROM orchestra_outbox WHERE id IN ({numbers.format('ids')})"),
        mark_sent=text(f"UPDATE orchestra_outbox SET sent_ms = {now} WHERE id IN ({numbers.format('ids')})"),
        # The database's clock decides: those of several machines need not agree.
        lease=text(
            "INSERT INTO orchestra_outbox_relay AS held (name, owner, until_ms)"
            f" VALUES ('relay', :owner, {now} + :lease_ms) ON CONFLICT (name) DO UPDATE"
            " SET owner = excluded.owner, until_ms = excluded.until_ms"
            f" WHERE held.owner = excluded.owner OR held.until_ms < {now}"
        ),
        give_up=text("DELETE FROM orchestra_outbox_relay WHERE name = 'relay' AND owner = :owner"),
        prune=text(
            "DELETE FROM orchestra_outbox WHERE id IN (SELECT id FROM orchestra_outbox"
            f" WHERE sent_ms < {now} - :keep_ms ORDER BY sent_ms LIMIT :most)"
        ),
        oldest=text(
            f"SELECT {now} - at_ms AS age_ms FROM orchestra_outbox WHERE {_DUE} ORDER BY id LIMIT 1",
        ),
    )


_ON_POSTGRES = _statements(
    texts="SELECT jsonb_array_elements_text(CAST(CAST(:{} AS TEXT) AS JSONB))",
    numbers="SELECT CAST(jsonb_array_elements_text(CAST(CAST(:{} AS TEXT) AS JSONB)) AS BIGINT)",
    size="coalesce(octet_length(value), 0) + octet_length(headers)",
    now="CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
)
_ON_SQLITE = _statements(
    texts="SELECT value FROM json_each(:{})",
    numbers="SELECT value FROM json_each(:{})",
    size="coalesce(length(value), 0) + length(headers)",
    now="CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
)


def statements_for(engine: AsyncEngine) -> Statements:
    """The statements in the database's own words."""
    return _ON_POSTGRES if is_postgres(engine) else _ON_SQLITE


# ---- rows


async def insert(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows within the session's transaction."""
    connection = await connection_of(session)
    await connection.execute(_INSERT, rows if len(rows) > 1 else rows[0])


def as_row(
    event_id: str,
    type: str,  # noqa: A002  the column's name
    topic: str,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
    at: datetime,
) -> dict[str, Any]:
    """A row to insert."""
    written = to_json([(name, None if raw is None else raw.decode("latin-1")) for name, raw in headers])
    return {
        "event_id": event_id,
        "type": type,
        "topic": topic,
        "key": key,
        "value": value,
        "headers": written.decode(),
        "at_ms": round(at.timestamp() * 1000),
    }


async def read(connection: AsyncConnection, statements: Statements, held: Collection[str]) -> list[Waiting]:
    """The oldest rows that may be sent now, in order, without those of held topics."""
    values = {"most_rows": MOST_ROWS, "most_bytes": MOST_BYTES, "held": to_json(sorted(held)).decode()}
    return [_waiting(row) for row in await connection.execute(statements.read, values)]


def _waiting(row: Any) -> Waiting:
    headers = [(name, None if raw is None else raw.encode("latin-1")) for name, raw in from_json(row.headers)]
    return Waiting(row.id, row.event_id, row.type, row.topic, row.key, row.value, headers, row.at_ms)


FAIL = text("UPDATE orchestra_outbox SET failed_ms = :failed_ms, error = :error WHERE id = :id AND sent_ms IS NULL")


def as_list(ids: Sequence[int]) -> str:
    """Numbers as the statements take them."""
    return to_json(list(ids)).decode()
