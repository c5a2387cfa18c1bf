"""Are worker processes started again, bounded, and ended together?"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from orchestra.cli.workers import Workers, describe
from orchestra.clock import SystemClock

pytestmark = pytest.mark.virtual_time


class ScriptedWorker:
    """A worker that dies with the given code by itself, or ends when it is asked to."""

    def __init__(self, number: int, code: int | None, *, deaf_to: frozenset[str] = frozenset()) -> None:
        self.number = number
        self.heard: list[str] = []
        self._deaf_to = deaf_to
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if code is not None:
            self._ended.set_result(code)

    @property
    def pid(self) -> int:
        return 1000 + self.number

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def drain(self) -> None:
        self._hear("drain", 0)

    def end(self) -> None:
        self._hear("end", 1)

    def kill(self) -> None:
        self._hear("kill", -signal.SIGKILL)

    def die(self, code: int) -> None:
        self._ended.set_result(code)

    async def health(self, timeout: float, *, fresh: bool) -> dict[str, Any] | None:
        return {"number": self.number}

    def _hear(self, word: str, code: int) -> None:
        self.heard.append(word)
        if word not in self._deaf_to and not self._ended.done():
            self._ended.set_result(code)


class Fleet:
    """Spawns workers whose lives are scripted: exit codes in the order of their starts, then lives without an end."""

    def __init__(self, *codes: int, deaf_to: frozenset[str] = frozenset()) -> None:
        self.codes = list(codes)
        self.deaf_to = deaf_to
        self.started: list[ScriptedWorker] = []
        self.changed = asyncio.Event()

    async def __call__(self, number: int) -> ScriptedWorker:
        code = self.codes.pop(0) if self.codes else None
        self.started.append(ScriptedWorker(number, code, deaf_to=self.deaf_to))
        self.changed.set()
        return self.started[-1]

    async def wait_started(self, count: int) -> None:
        while len(self.started) < count:
            self.changed.clear()
            await self.changed.wait()
        await asyncio.sleep(0)

    def heard(self) -> list[list[str]]:
        return [worker.heard for worker in self.started]


def workers(fleet: Fleet, count: int = 2, *, restarts: int = 3) -> Workers:
    return Workers(count, fleet, restarts=restarts, drain_seconds=30.0, clock=SystemClock(), jitter=lambda: 0.5)


async def test_a_stop_drains_every_worker_and_ends_with_0() -> None:
    fleet = Fleet()
    running = workers(fleet, 3)
    task = asyncio.create_task(running.run())
    await fleet.wait_started(3)

    running.stop()

    assert await task == 0
    assert fleet.heard() == [["drain"]] * 3


async def test_a_worker_that_dies_is_started_again_under_its_number() -> None:
    fleet = Fleet()
    running = workers(fleet)
    task = asyncio.create_task(running.run())
    await fleet.wait_started(2)

    fleet.started[1].die(-signal.SIGSEGV)
    await fleet.wait_started(3)
    running.stop()

    assert await task == 0
    assert [worker.number for worker in fleet.started] == [1, 2, 2]


async def test_a_worker_that_dies_again_and_again_ends_everything_with_its_code(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fleet = Fleet(*[7] * 4)

    code = await workers(fleet, 1).run()

    assert code == 7
    assert len(fleet.started) == 4
    assert "worker 1 died 4 times within 10 minutes; the last time it ended with code 7. Ending" in caplog.text


async def test_the_others_are_drained_when_one_dies_for_good() -> None:
    fleet = Fleet()
    running = workers(fleet, 2, restarts=0)
    task = asyncio.create_task(running.run())
    await fleet.wait_started(2)

    fleet.started[0].die(-signal.SIGKILL)

    assert await task == 1
    assert fleet.started[1].heard == ["drain"]


@pytest.mark.parametrize("code", [2, 3, 5])
async def test_what_the_next_start_would_not_mend_is_not_tried_again(code: int) -> None:
    fleet = Fleet(code)

    assert await workers(fleet, 1).run() == code
    assert len(fleet.started) == 1


async def test_the_pause_before_a_new_start_grows() -> None:
    fleet = Fleet(*[1] * 4)
    begun = asyncio.get_running_loop().time()

    await workers(fleet, 1).run()

    assert asyncio.get_running_loop().time() - begun == pytest.approx(0.25 + 0.5 + 1.0)


async def test_a_second_stop_ends_at_once() -> None:
    fleet = Fleet(deaf_to=frozenset({"drain"}))
    running = workers(fleet)
    task = asyncio.create_task(running.run())
    await fleet.wait_started(2)

    running.stop()
    running.stop()

    assert await task == 1
    assert fleet.heard() == [["drain", "end"]] * 2


async def test_a_worker_that_does_not_drain_in_time_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    fleet = Fleet(deaf_to=frozenset({"drain"}))
    running = workers(fleet, 1)
    task = asyncio.create_task(running.run())
    await fleet.wait_started(1)
    begun = asyncio.get_running_loop().time()

    running.stop()

    assert await task == 1
    assert asyncio.get_running_loop().time() - begun == pytest.approx(30.0)
    assert fleet.heard() == [["drain", "kill"]]
    assert "worker 1 did not end in time, and is killed" in caplog.text


async def test_a_third_stop_kills() -> None:
    fleet = Fleet(deaf_to=frozenset({"drain", "end"}))
    running = workers(fleet, 1)
    task = asyncio.create_task(running.run())
    await fleet.wait_started(1)

    for _ in range(3):
        running.stop()

    assert await task == 1
    assert fleet.heard() == [["drain", "end", "kill"]]


async def test_a_stop_between_two_lives_starts_nothing_more() -> None:
    fleet = Fleet(1)
    running = workers(fleet, 1)
    task = asyncio.create_task(running.run())
    await fleet.wait_started(1)

    running.stop()

    assert await task == 0
    assert len(fleet.started) == 1


async def test_each_worker_is_asked_for_its_health_and_one_that_does_not_run_says_nothing() -> None:
    fleet = Fleet(1)
    running = workers(fleet, 2)
    task = asyncio.create_task(running.run())
    await fleet.wait_started(2)
    await asyncio.sleep(0)

    said = await running.health(1.0, fresh=False)
    running.stop()
    await task

    assert said == {1: None, 2: {"number": 2}}


def test_a_signal_is_named() -> None:
    assert describe(-signal.SIGSEGV) == "was killed by SIGSEGV"
    assert describe(3) == "ended with code 3"
