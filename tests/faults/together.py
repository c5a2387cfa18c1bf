"""How do tests that mostly wait run at the same time? ``@together()``: each has a site of its own on one cluster.

For faults that leave the brokers alone. A test stays what it was: a name, a body that gets its site, a verdict of its
own. The tests of a module that were chosen start when the first of them is run, a few at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from orchestra.testing.kafka_cluster import KafkaCluster
from tests.faults.site import Site

AT_ONCE = 3
Scene = Callable[[Site], Awaitable[None]]
Test = Callable[["Ensemble"], Awaitable[None]]


class Ensemble:
    """The scenes of one module, under way."""

    def __init__(self, cluster: KafkaCluster, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[Scene, asyncio.Task[None]] = {}

    def start(self, scene: Scene, times: dict[str, float]) -> None:
        self._tasks[scene] = asyncio.create_task(self._play(scene, times), name=scene.__name__)

    async def _play(self, scene: Scene, times: dict[str, float]) -> None:
        async with self._places, Site(self._cluster, self._folder / scene.__name__, **times) as site:
            await scene(site)

    async def outcome(self, scene: Scene) -> None:
        await self._tasks[scene]

    async def aclose(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


def together(**times: float) -> Callable[[Scene], Test]:
    """Make a test of a scene. ``times``: settings of its site that differ from the usual."""

    def decorate(scene: Scene) -> Test:
        async def test(ensemble: Ensemble) -> None:
            await ensemble.outcome(scene)

        marked: Any = test
        marked.scene, marked.times = scene, times
        test.__name__ = scene.__name__
        test.__doc__ = scene.__doc__
        return test

    return decorate
