"""When is a group's place stored, and which? One committer for all partitions of a service.

The place goes forward over what is done without a gap, every second or every thousand records, and when partitions are
given up. One commit at a time, so an older place never overtakes a newer one on the way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

from orchestra.errors import CommitFailedError, TransportError
from orchestra.service.crash_loop import IDLE_SECONDS
from orchestra.service.share import Share
from orchestra.service.statistics import Statistics
from orchestra.transport.port import Committed, Consumer

_log = logging.getLogger(__name__)


class Committer:
    """Commits the shares of one service.

    Args:
        consumer: whose group it is.
        shares: those assigned now; read at each round.
        timeout: seconds for one commit.
        interval: seconds between rounds.
        every: records done that make a round due at once.
    """

    def __init__(
        self,
        consumer: Consumer,
        shares: Mapping[tuple[str, int], Share],
        statistics: Statistics,
        *,
        timeout: float,
        interval: float = 1.0,
        every: int = 1000,
    ) -> None:
        self._consumer = consumer
        self._shares = shares
        self._statistics = statistics
        self._timeout = timeout
        self._interval = interval
        self._every = every
        self._done = 0
        self._due = asyncio.Event()
        self._lock = asyncio.Lock()  # taken by nobody who fetches
        self.on_committed: Callable[[Share], None] = lambda _: None
        """Called with each share whose place is stored."""

    def on_done(self) -> None:
        """A record is done."""
        self._done += 1
        if self._done >= self._every:
            self._due.set()

    def hurry(self) -> None:
        """Somebody waits for the next round."""
        self._due.set()

    async def run(self) -> None:
        """Commit in rounds, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._interval):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._due.clear()
            self._done = 0
            shares = [share for share in self._shares.values() if not share.is_draining]
            self._clear_idle(shares)
            await self.commit(shares)

    def _clear_idle(self, shares: Collection[Share]) -> None:
        now = asyncio.get_running_loop().time()
        for share in shares:
            if share.suspicion.restarts and not share.tracker.incomplete and now - share.since > IDLE_SECONDS:
                share.suspicion.clear()

    async def commit(self, shares: Collection[Share]) -> None:
        """Store how far these are done, where that changed. Never raises: what is not stored is handled again."""
        async with self._lock:
            offsets: dict[Share, Committed] = {}
            for share in shares:
                if (place := self._place(share)) is not None:
                    offsets[share] = place
            if not offsets:
                return
            try:
                async with asyncio.timeout(self._timeout):
                    await self._consumer.commit({share.partition: place for share, place in offsets.items()})
            except CommitFailedError as error:
                # The assignment has moved, and on_revoked is about to be called: the new owner begins at the old place.
                self._statistics.commit_failures += 1
                _log.info("not committed: %s", error)
            except (TransportError, TimeoutError) as error:
                self._statistics.commit_failures += 1
                _log.warning("not committed, to be tried again: %s", str(error) or "no answer in time")
            else:
                for share, place in offsets.items():
                    share.committed = place
                    self.on_committed(share)

    def _place(self, share: Share) -> Committed | None:
        place = share.tracker.place()
        if place is None:
            return None
        suspicion = share.suspicion
        if suspicion.restarts:
            suspicion.moved(place.base)
            place = place._replace(restarts=suspicion.left() if share.is_draining else suspicion.word(place.base))
        made = Committed(place.base, place.note())
        before = share.committed
        return None if before is not None and (made == before or made.offset < before.offset) else made
