"""How does a test sleep an hour in no time? An event loop whose clock jumps to the next timer when nothing else is due.

Mark a test, or a module: ``pytestmark = pytest.mark.virtual_time``. Use :class:`orchestra.clock.LoopClock` as the clock
of what you test. Never with real sockets, threads or processes: time jumps ahead of whatever they do.
"""

from __future__ import annotations

import asyncio
import selectors

from orchestra.errors import OrchestraError


class StalledError(OrchestraError):
    """Every task waits, and no timer will ever wake one: with real time, the test would hang."""

    code = "stalled"


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still while there is work and jumps while there is none. It begins at 0.

    Raises StalledError out of ``run_until_complete`` when nothing is left that could go on.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_PollingSelector(self))

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


class _PollingSelector(selectors.SelectSelector):
    """Never waits: it polls, and lets time jump by what the loop wanted to wait."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise StalledError("every task waits for another one, and no timer is set: the test would hang")
        if timeout > 0:
            self._loop.jump(timeout)
        return ready
