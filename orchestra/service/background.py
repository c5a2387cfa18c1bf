"""What runs in a service's process beside its handlers, from after the resources are opened until before they close?

Such work never ends the service: what fails is begun again, after a pause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestra.clock import Clock
from orchestra.ids import Jitter
from orchestra.service.retry import waiting_delay
from orchestra.transport.port import Publisher

_log = logging.getLogger(__name__)

_END_SECONDS = 5.0
"""How long work may go on once it is told to stop."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What such work finds around it.

    Attributes:
        group, version, dead_letters: the service's, as they are named on this cluster.
        topic: declared topic -> topic on this cluster.
        publisher: started; the service's own.
        stopping: set when it is time to end.
        statistics: where it may show how it stands, by name.
    """

    group: str
    version: str
    dead_letters: str
    topic: Callable[[str], str]
    publisher: Publisher
    clock: Clock
    jitter: Jitter
    stopping: asyncio.Event
    statistics: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Background:
    """Work on one of the service's process resources.

    Attributes:
        name: for people; unique within the service.
        needs: the resource's type.
        run: called with the resource; returns when ``stopping`` is set.
        topics: declared topics that it publishes to.
    """

    name: str
    needs: type
    run: Callable[[Any, Surroundings], Coroutine[Any, Any, None]]
    topics: Collection[str] = ()


class BackgroundTasks:
    """The background work of one process, under way."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._around = surroundings
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, works: Sequence[Background], resources: Mapping[type, Any]) -> None:
        """Begin all of it, each in a task of its own."""
        for work in works:
            keeping = self._keep(work, resources[work.needs])
            self._tasks.add(asyncio.create_task(keeping, name=f"orchestra-{work.name}"))

    async def aclose(self) -> None:
        """Tell all of it to stop, wait a little, cancel the rest. Idempotent."""
        self._around.stopping.set()
        tasks, self._tasks = self._tasks, set()
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=_END_SECONDS)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _keep(self, work: Background, resource: Any) -> None:
        stopping, failures = self._around.stopping, 0
        while not stopping.is_set():
            try:
                await work.run(resource, self._around)
            except Exception:
                failures += 1
                _log.exception("%s failed, and is begun again", work.name)
                await self._wait(waiting_delay(failures, self._around.jitter()))

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._around.stopping.wait()
        except TimeoutError:
            pass
