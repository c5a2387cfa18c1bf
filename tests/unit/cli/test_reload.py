"""Does a service follow the code that is being written?"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from orchestra.cli.reload import Reloader
from tests.unit.cli.test_workers import Fleet

pytestmark = pytest.mark.virtual_time


class Editor:
    """Somebody who saves files."""

    def __init__(self) -> None:
        self._saved: asyncio.Queue[str] = asyncio.Queue()

    def save(self, name: str) -> None:
        self._saved.put_nowait(str(Path.cwd() / name))

    async def changes(self) -> AsyncIterator[Collection[str]]:
        while True:
            yield {await self._saved.get()}


async def test_a_change_drains_the_worker_and_starts_another(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    editor, fleet = Editor(), Fleet()
    reloader = Reloader(fleet, editor.changes())
    task = asyncio.create_task(reloader.run())
    await fleet.wait_started(1)

    editor.save("handlers.py")
    await fleet.wait_started(2)
    reloader.stop()

    assert await task == 0
    assert fleet.heard() == [["drain"], ["drain"]]
    assert "changed: handlers.py; starting again" in caplog.text


async def test_a_mistake_in_the_new_code_waits_for_the_next_change(caplog: pytest.LogCaptureFixture) -> None:
    editor, fleet = Editor(), Fleet(2)
    reloader = Reloader(fleet, editor.changes())
    task = asyncio.create_task(reloader.run())
    await fleet.wait_started(1)

    await asyncio.sleep(3600)
    assert len(fleet.started) == 1
    assert await reloader.health(1.0, fresh=False) == {1: None}
    editor.save("handlers.py")
    await fleet.wait_started(2)
    reloader.stop()

    assert await task == 0
    assert "the worker ended with code 2; waiting for a change of the code" in caplog.text


async def test_a_worker_that_does_not_drain_is_killed() -> None:
    editor, fleet = Editor(), Fleet(deaf_to=frozenset({"drain"}))
    reloader = Reloader(fleet, editor.changes(), drain_seconds=5.0)
    task = asyncio.create_task(reloader.run())
    await fleet.wait_started(1)

    editor.save("handlers.py")
    await fleet.wait_started(2)
    reloader.stop()
    await task

    assert fleet.heard() == [["drain", "kill"]] * 2


async def test_a_second_stop_kills() -> None:
    fleet = Fleet(deaf_to=frozenset({"drain"}))
    reloader = Reloader(fleet, Editor().changes(), drain_seconds=3600.0)
    task = asyncio.create_task(reloader.run())
    await fleet.wait_started(1)

    reloader.stop()
    reloader.stop()

    assert await task == 0
    assert "kill" in fleet.started[0].heard
    assert await fleet.started[0].wait() == -signal.SIGKILL
