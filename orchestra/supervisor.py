"""What keeps a set of runtimes going in one process, and how do they end together?

Every runtime has a task of its own. One that ends with an error that may pass is made anew after a pause; any other
error, or too many of them, ends the process: the rest are drained first. Nothing here knows what a runtime does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from orchestra.clock import Clock, SystemClock
from orchestra.errors import OrchestraError, StalledError
from orchestra.health.asgi import Report, report_of
from orchestra.health.facts import UnitFacts
from orchestra.health.judge import limits_of
from orchestra.health.watch import Watch
from orchestra.ids import Jitter, system_jitter
from orchestra.restart import RESTART_WINDOW, RestartBudget
from orchestra.settings import Settings
from orchestra.transport.port import TopicSpec, Transport
from orchestra.transport.topic_check import merge
from orchestra.transport.topic_setup import ensure_topics

_CANCEL_SECONDS = 5.0
_BROKER_SECONDS = 0.35
"""How long whoever asks for lag waits for brokers."""

log = logging.getLogger("orchestra")


class Runtime(Protocol):
    """A running service or coordinator."""

    def needed_topics(self) -> Sequence[TopicSpec]:
        """The topics it reads and writes, by their names on this cluster. May be asked before ``start``."""
        ...

    async def start(self) -> None:
        """Open what it needs. Raises any OrchestraError; ``drain`` closes what it had opened by then."""
        ...

    async def run(self) -> None:
        """Work until ``stop`` is called, drain, close, return. What it opened is closed also when it raises."""
        ...

    def stop(self) -> None:
        """Ask ``run`` to end. Returns at once; may be called at any time, and twice."""
        ...

    async def drain(self) -> None:
        """``stop``, and return when all is closed; also after a ``start`` that failed half-way."""
        ...

    def statistics(self) -> object: ...

    def health(self) -> UnitFacts:
        """What is under way at this moment. Waits for nothing; may be asked at any time."""
        ...


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing to keep running.

    Attributes:
        name: for people; unique.
        build: makes a new runtime; called again for each restart.
    """

    name: str
    build: Callable[[], Runtime]


class Supervisor:
    """Runs units on one started transport until :meth:`stop`, or until one fails for good.

    Args:
        units: what to run.
        transport: started; closing it is the caller's.
        settings: ``may_create_topics``, ``partitions`` and ``drain_timeout`` are used.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        transport: Transport,
        settings: Settings,
        *,
        clock: Clock | None = None,
        jitter: Jitter = system_jitter,
    ) -> None:
        self._units = units
        self._transport = transport
        self._settings = settings
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._stopping = asyncio.Event()
        self._aborted = asyncio.Event()
        self._running: dict[str, Runtime] = {}
        self._stalled: dict[str, asyncio.Future[str]] = {}
        self._failure: Exception | None = None
        self._watch = Watch(
            transport.topics,
            self._look,
            limits=limits_of(settings),
            timeout=settings.request_timeout,
            clock=self._clock,
            on_stalled=self._give_up,
        )

    async def run(self) -> None:
        """Check the topics, start everything, and return when all have drained after :meth:`stop`.

        Raises:
            TopicError: topics are not as they must be; nothing was started.
            OrchestraError: whatever ended a unit for good (the others were drained first); or work in flight was
                abandoned because the drain deadline passed, or :meth:`stop` was called twice.
        """
        first = {unit.name: unit.build() for unit in self._units}
        await ensure_topics(self._transport.topics, needed_topics(first.values()), self._settings)
        tasks = {asyncio.create_task(self._keep(unit, first[unit.name]), name=unit.name) for unit in self._units}
        watching = asyncio.create_task(self._watch.run(), name="orchestra-watch")
        try:
            await self._stopping.wait()
            left = await self._drain(tasks)
        finally:
            await _cancel({*tasks, watching})
            await self._watch.aclose()
        if self._failure is not None:
            raise self._failure
        if left:
            raise OrchestraError(f"stopped with work in flight, which will be done again: {', '.join(left)}")

    def stop(self) -> None:
        """Drain and end. Called a second time: end at once."""
        if self._stopping.is_set():
            self._aborted.set()
        self._stopping.set()
        for runtime in self._running.values():
            runtime.stop()

    def statistics(self) -> Mapping[str, object]:
        """Each running unit's own statistics, by name."""
        return {name: runtime.statistics() for name, runtime in self._running.items()}

    async def health(self, fresh: bool = False) -> Report:
        """How this process is, as JSON; see :func:`orchestra.health.asgi.health_app`.

        Args:
            fresh: ask the brokers how far the partitions reach, where the last answer is older than a second. Else
                nothing is waited for.
        """
        return report_of(await self._watch.fresh_health(_BROKER_SECONDS) if fresh else self._watch.health())

    def _look(self) -> tuple[list[UnitFacts], list[str]]:
        """What runs, and what does not yet."""
        working = [self._running[name].health() for name in self._running if name in self._stalled]
        if self._stopping.is_set():
            return working, []
        return working, [unit.name for unit in self._units if unit.name not in self._stalled]

    def _give_up(self, stalled: Mapping[str, str]) -> None:
        for name, why in stalled.items():
            if (told := self._stalled.get(name)) is not None and not told.done():
                told.set_result(why)

    async def _keep(self, unit: Unit, runtime: Runtime) -> None:
        """Run one unit, again after errors that may pass. Records what ended it for good, and stops the others."""
        budget = RestartBudget(window=max(RESTART_WINDOW, 10 * self._settings.stall_timeout))
        while not self._stopping.is_set():
            error = await self._attempt(unit, runtime)
            if error is None:
                return
            delay = budget.spend(self._clock.elapsed(), self._jitter())
            if self._stopping.is_set() or not error.retriable or delay is None:
                self._fail(unit, error)
                return
            log.warning("%s ended and starts again in %.1f s: %s", unit.name, delay, error)
            await self._wait_stopping(delay)
            runtime = unit.build()

    async def _attempt(self, unit: Unit, runtime: Runtime) -> OrchestraError | None:
        """One life of a runtime. Gives the error that it ended with; None if that life was its last."""
        self._running[unit.name] = runtime
        try:
            await self._start(runtime)
            log.info("%s is running", unit.name)
            if self._stopping.is_set():
                runtime.stop()  # a stop that came during the start may have found nothing to stop
            await self._work(unit, runtime)
        except OrchestraError as error:
            return error
        except Exception as error:
            log.exception("%s met an error that nobody expected", unit.name)
            self._fail(unit, error)
        else:
            if not self._stopping.is_set():
                self._fail(unit, OrchestraError(f"{unit.name} ended though nobody stopped it"))
            log.info("%s has stopped", unit.name)
        finally:
            del self._running[unit.name]
        return None

    async def _work(self, unit: Unit, runtime: Runtime) -> None:
        """Let a runtime run until it ends, or until the watch finds that it takes nothing in any more."""
        stalled = self._stalled[unit.name] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(runtime.run(), name=f"{unit.name}-run")
        try:
            await asyncio.wait({running, stalled}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                log.error("%s is stalled, and torn down: %s", unit.name, stalled.result())
                runtime.stop()
                await asyncio.wait({running}, timeout=self._settings.drain_timeout)
        finally:
            del self._stalled[unit.name]
            await _cancel({running})
        if stalled.done():
            raise StalledError(stalled.result())
        running.result()

    async def _start(self, runtime: Runtime) -> None:
        try:
            await runtime.start()
        except Exception:
            await runtime.drain()
            raise

    def _fail(self, unit: Unit, error: Exception) -> None:
        log.error("%s ended for good: %s", unit.name, error)
        self._failure = self._failure or error
        if not self._stopping.is_set():
            self.stop()

    async def _wait_stopping(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    async def _drain(self, tasks: set[asyncio.Task[None]]) -> list[str]:
        """Wait for all within one deadline. Gives the names of those that are still at work."""
        deadline = self._settings.drain_timeout + self._settings.request_timeout  # to drain, then to commit and leave
        watches: list[asyncio.Task[Any]] = [
            asyncio.create_task(_wait_done(tasks)),
            asyncio.create_task(self._aborted.wait()),
        ]
        try:
            await asyncio.wait(watches, timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(watches)
        return sorted(task.get_name() for task in tasks if not task.done())


async def _wait_done(tasks: set[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)


async def _cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel what is not done. A task that clings to life for longer than a few seconds is left behind, and said so."""
    for task in tasks:
        task.cancel()
    if pending := {task for task in tasks if not task.done()}:
        _, clinging = await asyncio.wait(pending, timeout=_CANCEL_SECONDS)
        for task in clinging:
            log.error("%s does not end, also when cancelled", task.get_name())
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # looked at: whoever asked for the result has it


def needed_topics(runtimes: Iterable[Runtime]) -> list[TopicSpec]:
    """Every topic that these runtimes read or write, each once.

    Raises:
        DefinitionError: two of them want different things of one topic.
    """
    return merge(spec for runtime in runtimes for spec in runtime.needed_topics())
