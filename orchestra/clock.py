"""What time is it? The only module that asks the operating system."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Time as a value, so that tests and simulation can own it."""

    def now(self) -> datetime:
        """The time of day, in UTC, with microseconds."""
        ...

    def elapsed(self) -> float:
        """Seconds since an arbitrary start; never falls, and counts time that the machine was suspended."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds. Safe to cancel."""
        ...


class SystemClock:
    """The machine's clock."""

    __slots__ = ()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def elapsed(self) -> float:
        return time.clock_gettime(_STEADY)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class LoopClock:
    """The running event loop's time: virtual where the loop's is (see ``orchestra.testing``).

    ``epoch`` is the time of day that loop time 0 stands for. Once asked within the loop, it can be asked from threads.
    """

    __slots__ = ("_epoch", "_loop")

    def __init__(self, epoch: datetime) -> None:
        self._epoch = epoch.timestamp()
        self._loop: asyncio.AbstractEventLoop | None = None

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._epoch + self.elapsed(), UTC)

    def elapsed(self) -> float:
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            if self._loop is None:
                raise
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


# CLOCK_MONOTONIC stands still while Linux is suspended; an owner's lease must not.
_STEADY: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
