"""When is an attempt over? One timer for all attempts under way, instead of one for each.

An attempt that reaches its deadline is cancelled. One that ignores that for ``grace`` seconds is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestra.errors import TransientError
from orchestra.service.lanes import Lanes
from orchestra.service.retry import TimedOutError
from orchestra.service.share import Worker


class Deadlines:
    """The deadlines of the attempts of one service's workers.

    Args:
        lanes: whose workers they are.
        grace: seconds from cancelling to giving up.
        on_abandoned: called with a worker that was given up.
    """

    def __init__(self, lanes: Lanes, *, grace: float, on_abandoned: Callable[[Worker], None]) -> None:
        self.lanes = lanes
        self._grace = grace
        self._on_abandoned = on_abandoned
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, worker: Worker, seconds: float) -> float:
        """The attempt that begins now may take that long. Gives its deadline in the loop's time."""
        loop = self._loop
        if loop is None:  # remembered: asking for the running loop is a system call in Python 3.11
            loop = self._loop = asyncio.get_running_loop()
        worker.deadline = deadline = loop.time() + seconds
        # Most attempts end long before: the timer stays where it is, and looks for the next deadline when it rings.
        if self._timer is None or deadline < self._timer.when():
            self._arm(loop, deadline)
        return deadline

    def press(self, worker: Worker) -> None:
        """The attempt under way is over now."""
        if not worker.is_waiting and not worker.is_timed_out:
            worker.deadline = asyncio.get_running_loop().time()
            self._arm(asyncio.get_running_loop(), worker.deadline)

    def end(self, worker: Worker) -> None:
        """The attempt has ended. A cancellation by its deadline is over with it."""
        worker.deadline = None
        if worker.is_timed_out and not worker.is_lost:
            worker.is_timed_out = False
            assert worker.task is not None
            worker.task.uncancel()

    def cause_of_cancellation(self, worker: Worker, timeout: float | None) -> TransientError | None:
        """What it means that the attempt under way ends with a CancelledError; None: this worker is to end."""
        assert worker.task is not None
        others = worker.task.cancelling() - worker.is_timed_out
        if worker.is_lost or others > 0:
            return None
        if worker.is_timed_out:
            return TimedOutError(f"not done within {timeout} s")
        return TransientError("the handler was cancelled by something that it awaited")

    def aclose(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for worker in list(self.lanes.workers):
            if worker.deadline is not None and worker.deadline <= now:
                self._end(worker, now)
        due = [worker.deadline for worker in self.lanes.workers if worker.deadline is not None]
        if due:
            self._arm(loop, min(due))

    def _end(self, worker: Worker, now: float) -> None:
        if worker.is_timed_out:
            worker.deadline = None
            self.lanes.abandon(worker)
            self._on_abandoned(worker)
            return
        worker.is_timed_out = True
        worker.deadline = now + self._grace
        assert worker.task is not None
        worker.task.cancel()
