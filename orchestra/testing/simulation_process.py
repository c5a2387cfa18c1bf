"""What is a process in a simulation? Parts of an app that live and die together, with a clock of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from orchestra.coordinator.coordinator import Coordinator
from orchestra.coordinator.runtime import CoordinatorRuntime
from orchestra.errors import OrchestraError, TransportError
from orchestra.ids import Jitter
from orchestra.service.runtime import ServiceRuntime
from orchestra.service.service import Service
from orchestra.settings import Settings
from orchestra.testing.simulation_loop import Scope, SimulationLoop
from orchestra.transport.memory import MemoryTransport
from orchestra.transport.memory_cluster import MemoryCluster

Part = Service | Coordinator
Runtime = ServiceRuntime | CoordinatorRuntime

EPOCH: Final = datetime(2030, 1, 1, tzinfo=UTC)
_PATIENCE: Final = 1.5
"""Seconds that a fetch waits at least. Well below the lease of an owner, whose sign of life it is."""


class WorldClock:
    """The true time of day. While nothing happens it can be moved on, without a loop that runs through all of it."""

    __slots__ = ("loop", "skipped")

    def __init__(self, loop: SimulationLoop) -> None:
        self.loop = loop
        self.skipped = 0.0

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.loop.time() + self.skipped)

    def elapsed(self) -> float:
        return self.loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ProcessClock:
    """The clock of one machine, which may be wrong."""

    __slots__ = ("_true", "wrong")

    def __init__(self, true: WorldClock) -> None:
        self._true = true
        self.wrong = timedelta()

    def now(self) -> datetime:
        return self._true.now() + self.wrong

    def elapsed(self) -> float:
        return self._true.loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Process:
    """Runs some parts of an app until it dies, is asked to leave, or a part fails for good.

    Args:
        parts: what it runs.
        on_failure: told of what ended a part for good: a bug, of ours or of the user's.
    """

    def __init__(
        self,
        name: str,
        parts: Sequence[Part],
        loop: SimulationLoop,
        cluster: MemoryCluster,
        clock: WorldClock,
        settings: Settings,
        jitter: Jitter,
        on_failure: Callable[[Process, BaseException], None],
    ) -> None:
        self.name = name
        self.parts = tuple(parts)
        self.scope = Scope(name)
        self.clock = ProcessClock(clock)
        self.runtimes: dict[str, Runtime] = {}
        self.is_leaving = False
        self.has_left = False
        self._loop = loop
        self._settings = settings
        self._jitter = jitter
        self._on_failure = on_failure
        self._transport = MemoryTransport(cluster, settings, client=name, patience=_PATIENCE)

    @property
    def is_gone(self) -> bool:
        """It runs no more, and never will again."""
        return self.scope.is_dead or self.has_left

    @property
    def is_working(self) -> bool:
        """It is there, runs, and is not about to leave."""
        return not (self.is_gone or self.is_leaving or self.scope.is_stopped)

    def start(self) -> None:
        self._loop.within(self.scope, self._begin)

    def die(self) -> None:
        """kill -9. What it has sent may still arrive; nothing else of it is heard of again."""
        self._loop.kill(self.scope)
        self._transport.crash()

    def stand_still(self) -> None:
        """kill -STOP."""
        self._loop.stop_scope(self.scope)
        self._transport.freeze()

    def go_on(self) -> None:
        """kill -CONT."""
        if not self.scope.is_dead:
            self._transport.thaw()
            self._loop.continue_scope(self.scope)

    def leave(self) -> None:
        """kill -TERM: an ordered end."""
        if not self.is_leaving and not self.is_gone:
            self.is_leaving = True
            self._loop.within(self.scope, self._stop_all)

    def _begin(self) -> None:
        self._loop.create_task(self._live())

    def _stop_all(self) -> None:
        for runtime in self.runtimes.values():
            runtime.stop()

    async def _live(self) -> None:
        await self._connect()
        tasks = [asyncio.create_task(self._keep(part)) for part in self.parts]
        await asyncio.wait(tasks)
        await self._transport.aclose()
        self.has_left = True

    async def _connect(self) -> None:
        while True:
            try:
                await self._transport.start()
            except TransportError:
                await asyncio.sleep(1.0)
            else:
                return

    async def _keep(self, part: Part) -> None:
        """Run one part, again after errors that may pass, as the supervisor does it."""
        while not self.is_leaving:
            try:
                runtime = self.runtimes[part.name] = self._make(part)
                await self._run(runtime)
            except OrchestraError as error:
                if not error.retriable:
                    self._on_failure(self, error)
                    return
                await asyncio.sleep(1.0)
            except Exception as error:
                self._on_failure(self, error)
                return
            finally:
                self.runtimes.pop(part.name, None)

    def _make(self, part: Part) -> Runtime:
        transport, settings, clock, jitter = self._transport, self._settings, self.clock, self._jitter
        if isinstance(part, Service):
            return ServiceRuntime(part, transport, settings, clock=clock, jitter=jitter)
        return CoordinatorRuntime(part, transport, settings, clock=clock, jitter=jitter)

    async def _run(self, runtime: Runtime) -> None:
        try:
            await runtime.start()
        except Exception:
            await runtime.drain()
            raise
        if self.is_leaving:
            runtime.stop()
        await runtime.run()
