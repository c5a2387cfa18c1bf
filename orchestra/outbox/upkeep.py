"""What is in the outbox, and what is done with the events that could not be sent?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestra.outbox.table import statements_for

Standing = Literal["waiting", "failed", "sent"]

_WHERE: dict[Standing, str] = {
    "waiting": "sent_ms IS NULL AND failed_ms IS NULL",
    "failed": "failed_ms IS NOT NULL",
    "sent": "sent_ms IS NOT NULL",
}
_COUNTED = 10_000
"""Rows are counted up to here: looking must not cost more than sending."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of the outbox, for people."""

    event_id: str
    type: str
    topic: str
    key: bytes | None
    at: datetime
    standing: Standing
    error: str | None


async def listed(engine: AsyncEngine, standing: Standing, *, topic: str | None = None, most: int = 50) -> list[Listed]:
    """The oldest rows of that standing, oldest first.

    Args:
        topic: only those for this one, as declared.
    """
    wanted = f"{_WHERE[standing]} AND (CAST(:topic AS TEXT) IS NULL OR topic = :topic)"
    chosen = text(
        f"SELECT event_id, type, topic, key, at_ms, error FROM orchestra_outbox WHERE {wanted} ORDER BY id LIMIT :most"
    )
    async with engine.connect() as connection:
        rows = await connection.execute(chosen, {"topic": topic, "most": most})
        return [_listed(row, standing) for row in rows]


def _listed(row: Any, standing: Standing) -> Listed:
    at = datetime.fromtimestamp(row.at_ms / 1000, UTC)
    return Listed(row.event_id, row.type, row.topic, row.key, at, standing, row.error)


async def counts(engine: AsyncEngine) -> dict[Standing, int]:
    """How many wait and how many have failed; 10,000 stands for that and more."""
    found: dict[Standing, int] = {}
    async with engine.connect() as connection:
        for standing in ("waiting", "failed"):
            counted = text(
                "SELECT count(*) FROM (SELECT 1 FROM orchestra_outbox"
                f" WHERE {_WHERE[standing]} LIMIT {_COUNTED}) AS counted"
            )
            found[standing] = (await connection.execute(counted)).scalar_one()
    return found


async def lag(engine: AsyncEngine) -> float:
    """The age of the oldest event that waits, in seconds; 0 where none does."""
    async with engine.connect() as connection:
        age_ms = (await connection.execute(statements_for(engine).oldest)).scalar_one_or_none()
    return max(0.0, (age_ms or 0) / 1000)


async def retry(engine: AsyncEngine, event_ids: Sequence[str] | None) -> int:
    """Let failed events be sent again, in the place that their number gives them: these, or all (None). How many."""
    return await _on_failed(engine, "UPDATE orchestra_outbox SET failed_ms = NULL, error = NULL", event_ids)


async def drop(engine: AsyncEngine, event_ids: Sequence[str]) -> int:
    """Delete failed events for good. How many."""
    return await _on_failed(engine, "DELETE FROM orchestra_outbox", event_ids)


async def _on_failed(engine: AsyncEngine, what: str, event_ids: Sequence[str] | None) -> int:
    async with engine.begin() as connection:
        if event_ids is None:
            return (await connection.execute(text(f"{what} WHERE failed_ms IS NOT NULL"))).rowcount
        one = text(f"{what} WHERE failed_ms IS NOT NULL AND event_id = :event_id")
        changed = 0
        for event_id in event_ids:
            changed += (await connection.execute(one, {"event_id": event_id})).rowcount
        return changed
