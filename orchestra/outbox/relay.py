"""How do committed events leave the outbox? One relay reads the oldest, has them stored by all replicas, marks them.

A crash between the two means that they are sent again, with the same ids. What cannot be stored is told apart:

- brokers away, outcome unknown: everything waits, and is tried again;
- a topic missing or forbidden: the rows of that topic wait, others go on; after ``patience`` they are dead letters;
- too large, or impossible to send: a dead letter at once.

A dead letter here is the row itself, marked with the time and the reason: nothing is lost, ``orchestra outbox`` shows
it and sends it again. Later rows of its key go on without it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from orchestra.clock import Clock, SystemClock
from orchestra.errors import AccessDeniedError, ClosedError, RecordTooLargeError, TopicError, TransportError
from orchestra.ids import Jitter, new_id, system_jitter
from orchestra.outbox.lease import Lease
from orchestra.outbox.table import FAIL, Waiting, as_list, read, statements_for
from orchestra.sql.session import is_postgres
from orchestra.transport.port import Outgoing, Publisher

_log = logging.getLogger(__name__)

BUSY_SECONDS = 0.02
IDLE_SECONDS = 0.2
"""How soon the table is looked at again: while events come, and at most."""
_CALM_AFTER = 2.0
_LONGEST_BACK_OFF = 5.0
_LOOK_SECONDS = 5.0
"""How often lag is measured, and old rows are deleted."""
_WORRY_SECONDS = 10.0
_WORRY_AGAIN_SECONDS = 60.0
_PRUNE_ROWS = 1000
_PRUNE_BATCHES = 50


@dataclass(slots=True)
class RelayStatistics:
    """Counts since the start, and how things stand now."""

    sent: int = 0
    """Events stored by all replicas and marked."""
    failed: int = 0
    """Rows that became dead letters."""
    waits: int = 0
    """Rounds after which something had to be tried again."""
    is_sending: bool = False
    """Whether this relay is the one that sends, now."""
    lag: float = 0.0
    """Age of the oldest event that is not sent, in seconds, when last looked at."""
    held_topics: list[str] = field(default_factory=list[str])
    """Topics that are missing or forbidden, now."""


class Relay:
    """Sends what is in the outbox of one database, as long as it is the one that may.

    Args:
        engine: of the database.
        publisher: started, and closed by the caller afterwards.
        topic: declared topic -> topic on this cluster.
        keep: seconds that rows stay after they were sent; None: they are deleted at once.
        patience: seconds that the rows of a missing topic wait for it.
        on_failed: told of each row that becomes a dead letter, before it is marked.
        clock, jitter: time and chance, so that tests own them.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        publisher: Publisher,
        *,
        topic: Callable[[str], str] = str,
        keep: float | None = None,
        patience: float = 300.0,
        on_failed: Callable[[Waiting, Exception], Awaitable[None]] | None = None,
        clock: Clock | None = None,
        jitter: Jitter = system_jitter,
    ) -> None:
        # Each statement is a transaction of its own: it sees what is committed now, and costs one round trip.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT") if is_postgres(engine) else engine
        self._publisher = publisher
        self._topic = topic
        self._keep = keep
        self._patience = patience
        self._on_failed = on_failed
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._statements = statements_for(engine)
        self._lease = Lease(self._engine, self._statements, new_id(), clock=self._clock, jitter=jitter)
        self._statistics = RelayStatistics()
        self._missing: dict[str, float] = {}
        """Topic -> since when it is missing."""
        self._held: dict[str, float] = {}
        """Topic -> until when its rows wait."""
        self._looked = self._worried = float("-inf")

    def statistics(self) -> RelayStatistics:
        """What was done, and how things stand. A live object: copy what you want to keep."""
        return self._statistics

    async def run(self, stopping: asyncio.Event) -> None:
        """Send until told to stop. Cancelling it does the same: what was under way is sent again by whoever is next."""
        keeping = asyncio.create_task(self._lease.keep(), name="orchestra-outbox-lease")
        try:
            await self._send_until(stopping)
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})

    async def _send_until(self, stopping: asyncio.Event) -> None:
        failures, quiet_since = 0, self._clock.elapsed()
        while not stopping.is_set():
            self._statistics.is_sending = self._lease.is_held
            if not self._lease.is_held:
                await _first(self._lease.wait_held(), stopping.wait())
                continue
            try:
                sent, stuck = await self._round()
                await self._look()
            except ClosedError:
                return
            except Exception as error:  # whatever a database says: the rows are still there
                sent, stuck = 0, error
            failures = 0 if stuck is None else failures + 1
            now = self._clock.elapsed()
            quiet_since = now if sent else quiet_since
            if stuck is not None:
                if failures % 20 == 1:
                    _log.warning("outbox: waiting until this passes: %s: %s", type(stuck).__name__, stuck)
                self._statistics.waits += 1
                pause = min(_LONGEST_BACK_OFF, 0.1 * 2 ** min(failures - 1, 10)) * (0.5 + self._jitter() / 2)
            elif sent:
                continue  # there may be more
            else:
                pause = BUSY_SECONDS if now - quiet_since < _CALM_AFTER else IDLE_SECONDS
            await _first(self._clock.sleep(pause), stopping.wait())

    # ---- one batch

    async def _round(self) -> tuple[int, Exception | None]:
        """Send the oldest rows. Gives how many are done with, and why some must be tried again, if they must."""
        now = self._clock.elapsed()
        self._held = {topic: until for topic, until in self._held.items() if until > now}
        async with self._engine.connect() as connection:
            rows = await read(connection, self._statements, self._held)
        if not rows or not self._lease.is_held:  # the second: we were paused since we looked
            return 0, None
        errors = await self._send(rows)
        sent: list[int] = []
        given_up: list[tuple[Waiting, Exception]] = []
        again: Exception | None = None
        stuck: set[tuple[str, bytes]] = set()
        for row, error in zip(rows, errors, strict=True):
            lane = None if row.key is None else (row.topic, row.key)
            if lane in stuck:
                continue  # stored before its elder: it goes again, behind it
            if error is None:
                sent.append(row.id)
                self._missing.pop(row.topic, None)
            elif self._is_hopeless(row, error):
                given_up.append((row, error))
            else:
                again = again or (None if row.topic in self._held else error)
                if lane is not None:
                    stuck.add(lane)
        self._statistics.held_topics = sorted(self._held)
        await self._mark(sent)
        for row, error in given_up:
            await self._fail(row, error)
        return len(sent) + len(given_up), again

    async def _send(self, rows: Sequence[Waiting]) -> list[Exception | None]:
        """Hand all over, in order, then wait for all. What each came to: None where it is stored."""
        ends: list[asyncio.Future[Any] | Exception] = []
        for row in rows:
            outgoing = Outgoing(self._topic(row.topic), row.key, row.value, row.headers)
            try:
                ends.append(await self._publisher.send(outgoing))
            except ClosedError:
                raise
            except Exception as error:
                ends.append(error)
        futures = [end for end in ends if not isinstance(end, Exception)]
        if futures:
            await asyncio.wait(futures)
        return [end if isinstance(end, Exception) else _error_of(end) for end in ends]

    def _is_hopeless(self, row: Waiting, error: Exception) -> bool:
        """Whether the row is to become a dead letter; else it is tried again."""
        if isinstance(error, TopicError | AccessDeniedError):
            now = self._clock.elapsed()
            since = self._missing.setdefault(row.topic, now)
            if now - since >= self._patience:
                return True
            if row.topic not in self._held:
                _log.warning("outbox: events for %s wait, and others go on: %s", row.topic, error)
            self._held[row.topic] = now + min(_LONGEST_BACK_OFF, self._patience / 2)
            return False
        return not isinstance(error, TransportError) or isinstance(error, RecordTooLargeError)

    async def _fail(self, row: Waiting, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"[:1000]
        _log.error("outbox: dead letter %s (%s, for %s): %s", row.event_id, row.type, row.topic, reason)
        if self._on_failed is not None:
            await self._on_failed(row, error)
        async with self._engine.begin() as connection:
            failed_ms = round(self._clock.now().timestamp() * 1000)
            await connection.execute(FAIL, {"id": row.id, "failed_ms": failed_ms, "error": reason})
        self._statistics.failed += 1

    async def _mark(self, sent: Sequence[int]) -> None:
        if not sent:
            return
        statement = self._statements.delete if self._keep is None else self._statements.mark_sent
        async with self._engine.begin() as connection:
            await connection.execute(statement, {"ids": as_list(sent)})
        self._statistics.sent += len(sent)

    # ---- now and then

    async def _look(self) -> None:
        """See how old the oldest row is, and delete what was kept long enough."""
        now = self._clock.elapsed()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        async with self._engine.begin() as connection:
            age_ms = (await connection.execute(self._statements.oldest)).scalar_one_or_none()
            self._statistics.lag = max(0.0, (age_ms or 0) / 1000)
            if self._statistics.lag > _WORRY_SECONDS and now - self._worried > _WORRY_AGAIN_SECONDS:
                self._worried = now
                _log.warning("outbox: the oldest event waits for %.0f s", self._statistics.lag)
        if self._keep is not None:
            await self._prune(self._keep)

    async def _prune(self, keep: float) -> None:
        values = {"keep_ms": int(keep * 1000), "most": _PRUNE_ROWS}
        for _ in range(_PRUNE_BATCHES):
            async with self._engine.begin() as connection:
                gone = (await connection.execute(self._statements.prune, values)).rowcount
            if gone < _PRUNE_ROWS:
                return


def _error_of(future: asyncio.Future[Any]) -> Exception | None:
    if future.cancelled():
        return ClosedError("the publisher gave it up")
    error = future.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error


async def _first(*waits: Any) -> None:
    """Return when one has ended; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # noqa: TID251  owned, and awaited below
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
