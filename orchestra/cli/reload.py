"""How does a running service follow the code that is being written? ``orchestra run --reload``.

One worker, ended and started anew whenever a .py file below the working directory changes. A worker that ends by itself
(a mistake in the new code, no broker) is not started again before the next change: the next save mends it, or nothing
does.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Collection
from typing import Any

from orchestra.cli.workers import Spawn, Worker, describe
from orchestra.errors import SettingsError

log = logging.getLogger("orchestra")

_END_SECONDS = 5.0
"""How long the old code may take to drain."""


class Reloader:
    """Runs one worker, and another one after each change.

    Args:
        spawn: starts a worker.
        changes: yields the changed files, as often as there are any.
        drain_seconds: how long a worker may take to end before it is killed.
    """

    def __init__(
        self, spawn: Spawn, changes: AsyncIterator[Collection[str]], *, drain_seconds: float = _END_SECONDS
    ) -> None:
        self._spawn = spawn
        self._changes = changes
        self._drain_seconds = drain_seconds
        self._worker: Worker | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Work until :meth:`stop`. Gives the exit code, which is 0: how a worker ended is told when it happens."""
        stop = asyncio.create_task(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                await self._until_change(stop)
        finally:
            stop.cancel()
        return 0

    def stop(self) -> None:
        """Drain the worker and end. Called a second time: end it at once."""
        if self._stopping.is_set() and self._worker is not None:
            self._worker.kill()
        self._stopping.set()

    async def health(self, timeout: float, *, fresh: bool) -> dict[int, dict[str, Any] | None]:
        """What the worker says of itself; None where it does not run or does not answer."""
        return {1: None if self._worker is None else await self._worker.health(timeout, fresh=fresh)}

    async def _until_change(self, stop: asyncio.Task[Any]) -> None:
        """One life of a worker, until its code changes or everything stops."""
        worker = self._worker = await self._spawn(1)
        ended = asyncio.create_task(worker.wait())
        change = asyncio.create_task(self._next_change())
        try:
            await asyncio.wait({ended, change, stop}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done() and not stop.done():
                log.error("the worker %s; waiting for a change of the code", describe(ended.result()))
                self._worker = None
                await asyncio.wait({change, stop}, return_when=asyncio.FIRST_COMPLETED)
            if change.done() and not stop.done():
                log.info("changed: %s; starting again", _listed(change.result()))
        finally:
            change.cancel()
            await self._end(worker, ended)

    async def _next_change(self) -> Collection[str]:
        return await anext(self._changes)

    async def _end(self, worker: Worker, ended: asyncio.Task[int]) -> None:
        if not ended.done():
            worker.drain()
            _, late = await asyncio.wait({ended}, timeout=self._drain_seconds)
            if late:
                log.warning("the worker did not drain within %.0f s, and is killed", self._drain_seconds)
                worker.kill()
        await ended
        self._worker = None


def _listed(paths: Collection[str]) -> str:
    return ", ".join(sorted(map(os.path.relpath, paths)))


def python_changes(directory: str) -> AsyncIterator[Collection[str]]:
    """Changed .py files below a directory, in batches; virtual environments and caches are passed over.

    Raises:
        SettingsError: watchfiles is not installed.
    """
    try:
        from watchfiles import PythonFilter, awatch
    except ImportError as missing:
        raise SettingsError("--reload needs the extra: pip install 'orchestra[reload]'") from missing
    return _paths(awatch(directory, watch_filter=PythonFilter(), step=100))


async def _paths(batches: Any) -> AsyncIterator[Collection[str]]:
    async for changes in batches:
        yield {path for _, path in changes}
