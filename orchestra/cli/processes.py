"""How does one command run an app in processes of their own? As several workers, or as one that follows the code.

The parent serves the health endpoints of all: a probe has one port to ask.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from orchestra.cli.reload import Reloader, python_changes
from orchestra.cli.stopping import stop_on_signals
from orchestra.cli.worker_link import ANSWER_SECONDS, start_worker
from orchestra.cli.workers import Workers
from orchestra.health.asgi import Report, merged
from orchestra.health.inquiry import Inquiry
from orchestra.health.loop_watch import LoopWatch
from orchestra.health.server import health_endpoints
from orchestra.settings import Settings

log = logging.getLogger("orchestra")

_ALL_SECONDS = ANSWER_SECONDS + 0.05


class Processes(Protocol):
    """What keeps worker processes going."""

    async def run(self) -> int: ...

    def stop(self) -> None: ...

    async def health(self, timeout: float, *, fresh: bool) -> dict[int, dict[str, Any] | None]: ...


async def keep_workers(count: int, words: Sequence[str], settings: Settings) -> int:
    """Run ``orchestra`` with these words in so many processes. Gives the exit code."""
    spawn = partial(start_worker, words=words)
    workers = Workers(count, spawn, restarts=settings.worker_restarts, drain_seconds=settings.end_timeout)
    return await _keep(workers, settings)


async def keep_reloading(words: Sequence[str], settings: Settings) -> int:
    """Run it in one process, anew after each change of the code. Raises SettingsError: watchfiles is missing."""
    return await _keep(Reloader(partial(start_worker, words=words), python_changes(os.getcwd())), settings)


async def _keep(processes: Processes, settings: Settings) -> int:
    async def source(fresh: bool) -> Report:
        return merged(await processes.health(ANSWER_SECONDS, fresh=fresh))

    with LoopWatch() as loop_watch:
        inquiry = Inquiry(source, loop_watch, limit=settings.stall_timeout, timeout=_ALL_SECONDS)
        stop_on_signals(processes.stop)
        with health_endpoints(settings, inquiry.source):
            code = await processes.run()
    log.info("stopped")
    return code
