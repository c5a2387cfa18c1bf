"""How does one command keep several processes going: started, started again, drained and ended together?

The parent imports no application and no Kafka client. It speaks with each worker over a pair of sockets (see
``worker_link.py``) and not by signals: a signal may reach a worker from elsewhere too (Ctrl-C goes to a terminal's
whole group, systemd signals every process of a service), and must not count as a second one.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from orchestra.clock import Clock, SystemClock
from orchestra.ids import Jitter, system_jitter
from orchestra.restart import RestartBudget

log = logging.getLogger("orchestra")

FINAL_CODES = {2: "the command line or a definition is wrong", 3: "a setting is wrong", 5: "topics are not as needed"}
"""Exit codes that the next start would end with too."""
_KILL_AFTER = 5.0
"""Seconds that a worker may take to end at once."""


class Worker(Protocol):
    """A process that runs the services."""

    @property
    def pid(self) -> int: ...

    async def wait(self) -> int:
        """Its exit code; below zero: the signal that killed it."""
        ...

    def drain(self) -> None:
        """Ask it to finish what is under way, and end."""
        ...

    def end(self) -> None:
        """Ask it to end at once."""
        ...

    def kill(self) -> None: ...

    async def health(self, timeout: float, *, fresh: bool) -> dict[str, Any] | None:
        """What it says of itself; None: no answer within ``timeout`` seconds. ``fresh``: it asks brokers for that."""
        ...


Spawn = Callable[[int], Awaitable[Worker]]
"""Starts the worker of that number; the first is 1."""


class Workers:
    """Keeps ``count`` workers running until :meth:`stop`, or until one dies again and again.

    Args:
        count: how many.
        spawn: starts one.
        restarts: deaths of one worker within ten minutes that are followed by a new start.
        drain_seconds: how long a worker may take to end after :meth:`stop`; then it is killed.
    """

    def __init__(
        self,
        count: int,
        spawn: Spawn,
        *,
        restarts: int,
        drain_seconds: float,
        clock: Clock | None = None,
        jitter: Jitter = system_jitter,
    ) -> None:
        self._count = count
        self._spawn = spawn
        self._restarts = restarts
        self._drain_seconds = drain_seconds
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._running: dict[int, Worker] = {}
        self._stopping = asyncio.Event()
        self._stops = 0
        self._code = 0
        self._timers: list[asyncio.TimerHandle] = []

    async def run(self) -> int:
        """Work until all have ended. Gives the exit code: 0 where every worker drained; else that of the one that died
        too often or cannot work, or 1."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(1, self._count + 1):
                    group.create_task(self._keep(number), name=f"worker-{number}")
        finally:
            for timer in self._timers:
                timer.cancel()
            self._kill_all()
        return self._code

    def stop(self) -> None:
        """Drain all. Called a second time: end them at once; a third time: kill them."""
        self._stops += 1
        self._stopping.set()
        if self._stops > 2:
            self._kill_all()
            return
        for worker in self._running.values():
            worker.drain() if self._stops == 1 else worker.end()
        patience = self._drain_seconds if self._stops == 1 else _KILL_AFTER
        self._timers.append(asyncio.get_running_loop().call_later(patience, self._kill_late))

    async def health(self, timeout: float, *, fresh: bool) -> dict[int, dict[str, Any] | None]:
        """What each worker says of itself; None where one does not run, or does not answer within ``timeout`` s."""
        numbers = range(1, self._count + 1)
        said = await asyncio.gather(*(self._ask(number, timeout, fresh) for number in numbers))
        return dict(zip(numbers, said, strict=True))

    async def _ask(self, number: int, timeout: float, fresh: bool) -> dict[str, Any] | None:
        worker = self._running.get(number)
        return None if worker is None else await worker.health(timeout, fresh=fresh)

    # ---- one worker

    async def _keep(self, number: int) -> None:
        budget = RestartBudget(self._restarts)
        while not self._stopping.is_set():
            code = await self._live(number)
            if self._stopping.is_set():
                self._ended(number, code)
                return
            pause = None if code in FINAL_CODES else budget.spend(self._clock.elapsed(), self._jitter())
            if pause is None:
                self._give_up(number, code, budget)
                return
            log.error("worker %d %s; it starts again in %.1f s", number, describe(code), pause)
            await self._wait_stopping(pause)

    async def _live(self, number: int) -> int:
        """One life of a worker: its exit code."""
        worker = self._running[number] = await self._spawn(number)
        if self._stopping.is_set():
            worker.drain()
        log.info("worker %d has started: process %d", number, worker.pid)
        try:
            return await worker.wait()
        finally:
            del self._running[number]

    def _ended(self, number: int, code: int) -> None:
        """A worker ended when it was to. One that a signal reached before it had begun anything is no failure."""
        if code not in (0, -signal.SIGTERM, -signal.SIGINT):
            log.error("worker %d %s while it drained; what was in flight is done again later", number, describe(code))
            self._code = self._code or 1

    def _give_up(self, number: int, code: int, budget: RestartBudget) -> None:
        if code in FINAL_CODES:
            log.critical("worker %d %s: %s. Ending", number, describe(code), FINAL_CODES[code])
        else:
            times = f"{budget.limit + 1} times within {budget.window / 60:.0f} minutes"
            log.critical("worker %d died %s; the last time it %s. Ending", number, times, describe(code))
        self._code = code if code > 0 else 1
        if not self._stops:
            self.stop()

    async def _wait_stopping(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    # ---- the end

    def _kill_late(self) -> None:
        if self._running:
            log.error("%s did not end in time, and is killed", _listed(self._running))
        self._kill_all()

    def _kill_all(self) -> None:
        for worker in self._running.values():
            worker.kill()


def describe(code: int) -> str:
    """What an exit code tells, as the rest of a sentence."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _listed(numbers: Iterable[int]) -> str:
    ordered = sorted(numbers)
    return f"worker{'s' if len(ordered) > 1 else ''} {', '.join(map(str, ordered))}"
