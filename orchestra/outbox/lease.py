"""Which of many relays sends? The one that holds the lease: a row in the database that it renews every second.

A relay that dies is replaced when its lease ends; one that stops in good order gives it up. Should a relay that was
paused wake up and send what it had read before, while another one sends too, then every event's *first* arrival is in
order all the same: each of the two sends in order, and all that is not marked, from the oldest on. What comes late has
the id of what came before.
"""

from __future__ import annotations

import asyncio
import logging

from sqlalchemy.ext.asyncio import AsyncEngine

from orchestra.clock import Clock
from orchestra.ids import Jitter
from orchestra.outbox.table import Statements

_log = logging.getLogger(__name__)

LEASE_SECONDS = 5.0
RENEW_SECONDS = 1.0


class Lease:
    """One relay's claim to be the one that sends."""

    def __init__(
        self, engine: AsyncEngine, statements: Statements, owner: str, *, clock: Clock, jitter: Jitter
    ) -> None:
        self._engine = engine
        self._statements = statements
        self._owner = owner
        self._clock = clock
        self._jitter = jitter
        self._until = float("-inf")
        self._changed = asyncio.Event()
        self._failures = 0

    @property
    def is_held(self) -> bool:
        """Whether it is ours, by our own clock, which began to count before the database's did."""
        return self._clock.elapsed() < self._until

    async def wait_held(self) -> None:
        """Return when it is ours."""
        while not self.is_held:
            self._changed.clear()
            await self._changed.wait()

    async def keep(self) -> None:
        """Take it when it is free, and renew it, until cancelled; then give it up."""
        try:
            while True:
                await self._take()
                await self._clock.sleep(RENEW_SECONDS * (0.75 + self._jitter() / 2))
        finally:
            self._until = float("-inf")
            await self._give_up()

    async def _take(self) -> None:
        asked, was_held = self._clock.elapsed(), self.is_held
        try:
            async with asyncio.timeout(LEASE_SECONDS), self._engine.begin() as connection:
                values = {"owner": self._owner, "lease_ms": int(LEASE_SECONDS * 1000)}
                is_ours = (await connection.execute(self._statements.lease, values)).rowcount == 1
        except Exception as error:  # whatever a database says: without an answer the lease runs out
            if self._failures % 30 == 0:
                _log.warning("the outbox's lease could not be renewed: %s: %s", type(error).__name__, error)
            self._failures += 1
            return
        self._failures = 0
        self._until = asked + LEASE_SECONDS if is_ours else float("-inf")
        if is_ours and not was_held:
            _log.info("outbox: this process sends now (%s)", self._owner)
            self._changed.set()

    async def _give_up(self) -> None:
        try:
            async with asyncio.timeout(LEASE_SECONDS), self._engine.begin() as connection:
                await connection.execute(self._statements.give_up, {"owner": self._owner})
        except Exception as error:
            _log.info("the outbox's lease was not given up, and runs out: %s", error)
