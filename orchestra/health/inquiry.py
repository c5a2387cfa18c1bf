"""How does another thread learn how this process is, also while its event loop is blocked?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from orchestra.health.asgi import Report, Source
from orchestra.health.judge import Verdict
from orchestra.health.loop_watch import LoopWatch

LOOP_SECONDS = 0.7
"""How long the loop of a process may take to answer. Kubernetes waits one second for a probe, unless told otherwise."""


class Inquiry:
    """Asks the running loop for its report. Made in the loop's thread, used in others.

    Args:
        source: called in the loop.
        loop_watch: says whether the loop is blocked, and by what.
        limit: seconds of being blocked from which the process counts as dead.
        timeout: seconds that the loop has to answer.
    """

    def __init__(self, source: Source, loop_watch: LoopWatch, *, limit: float, timeout: float = LOOP_SECONDS) -> None:
        self._source = source
        self._loop_watch = loop_watch
        self._limit = limit
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()

    def report(self, fresh: bool) -> Report:
        """The report; blocks for ``timeout`` at most."""
        try:
            asked = asyncio.run_coroutine_threadsafe(_call(self._source, fresh), self._loop)
        except RuntimeError:
            return _report(Verdict(("the process ends",)), Verdict(("the process ends",)))
        try:
            return asked.result(self._timeout)
        except (TimeoutError, FutureTimeoutError):
            asked.cancel()
            return self._blocked()

    async def source(self, fresh: bool) -> Report:
        """The same, for a server in a loop of its own."""
        return await asyncio.to_thread(self.report, fresh)

    def _blocked(self) -> Report:
        seconds, culprit = self._loop_watch.blocked()
        text = f"the event loop does not answer within {self._timeout} s"
        if seconds:
            text = f"the event loop is blocked for {seconds:.1f} s{f', by {culprit}' if culprit else ''}"
        is_dead = seconds > self._limit
        live = Verdict((text,)) if is_dead else Verdict(notes=(text,))
        return _report(live, Verdict((text,)), error=text)


async def _call(source: Callable[[bool], Awaitable[Report]], fresh: bool) -> Report:
    return await source(fresh)


def _report(live: Verdict, ready: Verdict, error: str | None = None) -> dict[str, Any]:
    return {"live": live.as_json(), "ready": ready.as_json(), "lag": [], "error": error or ready.problems[0]}
