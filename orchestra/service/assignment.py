"""Which partitions are ours, and what happens when they come, grow too full, or go?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from orchestra.clock import Clock
from orchestra.errors import TransportError
from orchestra.service.offsets import WINDOW, Place, read_place
from orchestra.service.share import Share
from orchestra.transport.port import Committed, Consumer, Partition, Record

HELD = 32
"""The most records of a partition of a retry topic that wait in memory for their time."""

_log = logging.getLogger(__name__)

_FEW = 0.02
"""Part of a window that is not done, where the rest is."""


class Assignment:
    """The shares of one service in one process; the transport's listener.

    Args:
        leave: ends the work of shares and commits it; called before they are forgotten. Never raises.
        announce: stores that their records are about to be begun. Never raises.
        high_water: queued records from which a partition may be paused. It goes on at half of that.
        ahead: the most records that one fetch may bring after a partition was paused.
    """

    def __init__(
        self,
        leave: Callable[[Collection[Share]], Awaitable[None]],
        announce: Callable[[Collection[Share]], Awaitable[None]],
        *,
        high_water: int,
        ahead: int,
    ) -> None:
        self.shares: dict[tuple[str, int], Share] = {}
        self.consumer: Consumer | None = None
        """Set before it is started: consumer and listener know each other."""
        self._leave = leave
        self._announce = announce
        self._ahead = ahead
        self._high_water = high_water
        self._high_span = max(WINDOW // 2, WINDOW - ahead)

    async def on_assigned(self, partitions: Collection[Partition]) -> None:
        starts = await asyncio.gather(*(self._start_of(partition) for partition in partitions))
        for partition, (place, committed) in zip(partitions, starts, strict=True):
            share = Share(partition, place, ahead=self._ahead)
            share.committed = committed
            if place is not None:
                share.gate = share.suspicion.gate(place.base)
            self.shares[partition] = share
        assert self.consumer is not None
        self.consumer.resume(partitions)  # a pause may have outlived the share that asked for it
        await self._announce([self.shares[partition] for partition in partitions])

    async def _start_of(self, partition: Partition) -> tuple[Place | None, Committed | None]:
        """Where the group stands. Without an answer: unknown, and the map of what is done above the place is not used;
        the transport begins at the place all the same, so records are handled again and none is lost."""
        assert self.consumer is not None
        try:
            committed = await self.consumer.committed(partition)
        except TransportError as error:
            _log.warning("%s: no committed place to read: %s", partition, error)
            return None, None
        if committed is None:  # then where the subscription begins is the place, and is stored before the first record
            position = self.consumer.position(partition)
            return (None if position is None else Place(position)), None
        return read_place(committed.offset, committed.metadata), committed

    async def on_revoked(self, partitions: Collection[Partition]) -> None:
        leaving = [share for partition in partitions if (share := self.shares.get(partition)) is not None]
        await self._leave(leaving)
        for share in leaving:
            if self.shares.get(share.partition) is share:
                del self.shares[share.partition]

    def pass_over_idle(self) -> None:
        """Where everything that came is done, take what fetch passed over (markers, compacted records) as done too:
        else lag would stay above zero behind the last record.

        To be called only when nothing of the last fetch is unadmitted, and no fetch is under way: the position is ahead
        of what was admitted in between, and passing over that would lose it.
        """
        assert self.consumer is not None
        for share in self.shares.values():
            if not share.queued and not share.is_draining:  # while draining, records are thrown away unadmitted
                position = self.consumer.position(share.partition)
                if position is not None:
                    share.tracker.pass_over(position)

    # ---- back-pressure
    # Pausing is rare on purpose: the client throws away what it had fetched ahead of a paused partition.

    def paused_queued(self) -> int:
        """Records queued of paused partitions, and those of retry topics that may be waiting for their time."""
        return sum(
            share.queued if share.is_paused else min(share.queued, HELD)
            for share in self.shares.values()
            if share.is_paused or share.delay is not None
        )

    def holds_back(self, share: Share, record: Record, clock: Clock) -> bool:
        """Whether a record of a retry topic is not to be admitted now, because enough of them wait for their time. Then
        the partition is read again from there, some time later."""
        if share.is_held_back:
            return True
        due = record.timestamp_ms / 1000 + (share.delay or 0.0)
        if share.queued < HELD or due <= clock.now().timestamp():
            return False
        assert self.consumer is not None
        share.is_held_back = True
        self._pause([share])
        self.consumer.seek(share.partition, record.offset)
        return True

    def pause_hogs(self) -> None:
        """Fetch no more of the partitions that have most queued; of none, where that would not help."""
        going = [share for share in self.shares.values() if not share.is_paused]
        self._pause([share for share in going if share.queued >= self._high_water] or going)

    def pause_far(self, touched: Collection[Share]) -> None:
        """Fetch no more of partitions that are so far ahead of their base that what is done could not be noted."""
        self._pause([share for share in touched if not share.is_paused and share.tracker.span >= self._high_span])

    def held_up(self) -> list[Share]:
        """Partitions that stand still because of very few records, while nearly a whole window behind them is done."""
        return [
            share
            for share in self.shares.values()
            if share.is_paused
            and not share.is_draining
            and share.tracker.span >= self._high_span
            and share.tracker.incomplete <= share.tracker.span * _FEW
        ]

    def _pause(self, shares: Collection[Share]) -> None:
        for share in shares:
            share.is_paused = True
        if shares and self.consumer is not None:
            self.consumer.pause([share.partition for share in shares])

    def resume_emptied(self) -> None:
        """Fetch again of paused partitions that have come down to half."""
        ready = [
            share
            for share in self.shares.values()
            if share.is_paused and share.queued <= self._low_water(share) and share.tracker.span <= self._high_span // 2
        ]
        for share in ready:
            share.is_paused = share.is_held_back = False
        if ready and self.consumer is not None:
            self.consumer.resume([share.partition for share in ready])

    def _low_water(self, share: Share) -> int:
        return HELD // 2 if share.is_held_back else self._high_water // 2
