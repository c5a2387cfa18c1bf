"""How is the effect ledger looked at, and kept from growing for ever?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestra.clock import Clock, SystemClock
from orchestra.duration import Duration, seconds
from orchestra.errors import DefinitionError
from orchestra.ids import Jitter
from orchestra.service.background import Background, Surroundings
from orchestra.service.entry import Entry, State
from orchestra.service.ledger import effects, entry_of
from orchestra.sql.session import is_free

_log = logging.getLogger(__name__)

KEPT = timedelta(days=30)
"""Rows are kept at least so long: as long as the longest pause after which a command may be sent again."""
BATCH = 1000
_PAUSE = 0.05
"""Seconds between two batches, for everybody else who writes."""
_SPREAD = 60.0
"""Processes that start together prune for the first time within so many seconds, each at its own."""

# By age, so that the index on it is used however large the table is.
_PRUNE = text(
    "DELETE FROM orchestra_effects WHERE effect_id IN"
    " (SELECT effect_id FROM orchestra_effects WHERE at_ms < :before ORDER BY at_ms LIMIT :most)"
)


async def prune(engine: AsyncEngine, older_than: Duration = KEPT, *, clock: Clock | None = None) -> int:
    """Delete entries older than that, a thousand in each transaction, and tell how many. Safe to cancel.

    Raises:
        DefinitionError: less than 30 days: a command that is sent again later would have its effect twice.
    """
    before = _limit(clock or SystemClock(), kept_seconds(older_than))
    total = 0
    while True:
        async with engine.begin() as connection:
            gone = (await connection.execute(_PRUNE, {"before": before, "most": BATCH})).rowcount
        total += gone
        if gone < BATCH:
            return total


def kept_seconds(keep: Duration) -> float:
    """How long entries are kept. Raises DefinitionError for less than 30 days."""
    age = seconds(keep)
    if age < KEPT.total_seconds():
        raise DefinitionError(f"{keep!r} is too short: entries are kept for {KEPT.days} days at least")
    return age


def pruning(service: str, engine: type, keep: Duration, every: Duration) -> Background:
    """The pruning of a service's ledger, as work beside its handlers. Raises DefinitionError."""
    age, pause = kept_seconds(keep), seconds(every)

    async def prune_now_and_then(opened: AsyncEngine, around: Surroundings) -> None:
        await keep_pruned(
            opened, age=age, every=pause, clock=around.clock, jitter=around.jitter, stopping=around.stopping
        )

    return Background(f"ledger-{service}", engine, prune_now_and_then)


async def keep_pruned(
    engine: AsyncEngine, *, age: float, every: float, clock: Clock, jitter: Jitter, stopping: asyncio.Event
) -> None:
    """Prune about every so many seconds until told to stop. Of many processes on one ledger one does it at a time."""
    pause = min(_SPREAD, every) * jitter()
    while not await _is_set_within(stopping, pause):
        gone = 0
        while not stopping.is_set() and (deleted := await _prune_unless_others_do(engine, _limit(clock, age))):
            gone += deleted
            await clock.sleep(_PAUSE)
        if gone:
            _log.info("%d entries of the effect ledger, older than %.0f days, were deleted", gone, age / 86400)
        pause = every * (0.75 + jitter() / 2)


async def _prune_unless_others_do(engine: AsyncEngine, before: int) -> int:
    async with engine.begin() as connection:
        if not await is_free(connection, "ledger pruning"):
            return 0
        return (await connection.execute(_PRUNE, {"before": before, "most": BATCH})).rowcount


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _limit(clock: Clock, age: float) -> int:
    return round((clock.now().timestamp() - age) * 1000)


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of the ledger, for people."""

    effect_id: str
    handler: str
    entry: Entry


async def listed(
    engine: AsyncEngine,
    *,
    states: Collection[State] = (),
    handler: str | None = None,
    after: datetime | None = None,
    before: datetime | None = None,
    most: int = 50,
) -> list[Listed]:
    """The newest entries of these states (none: any), newest first.

    Args:
        handler: of this handler only.
        after, before: when they were made.
    """
    chosen = select(effects)
    if states:
        chosen = chosen.where(effects.c.state.in_([str(state) for state in states]))
    if handler is not None:
        chosen = chosen.where(effects.c.handler == handler)
    if after is not None:
        chosen = chosen.where(effects.c.at_ms >= round(after.timestamp() * 1000))
    if before is not None:
        chosen = chosen.where(effects.c.at_ms < round(before.timestamp() * 1000))
    async with engine.connect() as connection:
        rows = await connection.execute(chosen.order_by(effects.c.at_ms.desc()).limit(most))
        return [Listed(row.effect_id, row.handler, entry_of(row)) for row in rows]


async def listed_one(engine: AsyncEngine, effect_id: str) -> Listed | None:
    """That effect's entry, if there is one."""
    async with engine.connect() as connection:
        row = (await connection.execute(select(effects).where(effects.c.effect_id == effect_id))).one_or_none()
    return None if row is None else Listed(row.effect_id, row.handler, entry_of(row))
