"""The event loop of a simulation: who runs, who does not any more, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestra.testing.simulation_loop import EndlessError, Scope, SimulationLoop, current_scope

said: list[str] = []


@pytest.fixture(autouse=True)
def _empty() -> None:
    said.clear()


def run(main: Coroutine[Any, Any, Any]) -> SimulationLoop:
    loop: SimulationLoop = SimulationLoop()  # type: ignore[abstract]
    loop.run(main)
    return loop


def loop() -> SimulationLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, SimulationLoop)
    return running


async def says(*words: str, pause: float = 1.0) -> None:
    for word in words:
        said.append(word)
        await asyncio.sleep(pause)


def begin(scope: Scope, coroutine: Coroutine[Any, Any, Any]) -> None:
    loop().within(scope, lambda: loop().create_task(coroutine))


def test_an_hour_passes_in_no_time_and_in_order() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(says("a", "c", pause=1800))
            group.create_task(says("b", pause=60))
        assert loop().time() == 3600

    run(main())

    assert said == ["a", "b", "c"]


def test_a_dead_process_runs_nothing_more_not_even_what_would_clean_up() -> None:
    async def guarded() -> None:
        try:
            await says("one", "two", "three")
        finally:
            said.append("cleaned up")

    async def main() -> None:
        scope = Scope("p")
        begin(scope, guarded())
        await asyncio.sleep(1.5)
        loop().kill(scope)
        await asyncio.sleep(10)
        assert said == ["one", "two"]

    run(main()).close()


def test_a_stopped_process_goes_on_where_it_was_with_what_became_due() -> None:
    async def main() -> None:
        scope = Scope("p")
        begin(scope, says("one", "two", "three"))
        await asyncio.sleep(0.5)
        loop().stop_scope(scope)
        await asyncio.sleep(60)
        assert said == ["one"]
        loop().continue_scope(scope)
        await asyncio.sleep(0.5)
        assert said == ["one", "two"]
        await asyncio.sleep(1)

    run(main())

    assert said == ["one", "two", "three"]


def test_what_a_process_starts_belongs_to_it() -> None:
    async def inner() -> None:
        scope = current_scope()
        said.append("nobody" if scope is None else scope.name)

    async def outer() -> None:
        await asyncio.create_task(inner())

    async def main() -> None:
        begin(Scope("p"), outer())
        await asyncio.sleep(1)
        await inner()

    run(main())

    assert said == ["p", "nobody"]


def test_what_the_operating_system_would_close_is_closed_when_a_process_dies() -> None:
    async def opens() -> None:
        loop().closes_with_process(lambda: said.append("closed"))
        await asyncio.sleep(60)

    async def main() -> None:
        scope = Scope("p")
        begin(scope, opens())
        await asyncio.sleep(1)
        loop().kill(scope)

    run(main())

    assert said == ["closed"]


def test_a_step_can_be_the_last_one_of_its_process() -> None:
    def kill(scope: Scope) -> None:
        loop().alarm = 1 << 62
        loop().kill(scope)

    async def main() -> None:
        loop().alarm, loop().before_step = 3, kill
        begin(Scope("p"), says("one", "two", "three"))
        await asyncio.sleep(60)

    run(main())

    assert said == ["one", "two"] or said == ["one"]


def test_what_is_left_behind_ends_quietly_also_when_it_wants_to_wait() -> None:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(1)
            await asyncio.sleep(1)

    async def clings() -> None:
        async with asyncio.TaskGroup() as group, opened():
            group.create_task(says("one"))
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.wait({asyncio.create_task(says("two"))})

    async def main() -> None:
        begin(Scope("p"), clings())
        await asyncio.sleep(0.5)

    run(main()).close()  # a warning would fail the test


def test_a_run_in_which_everything_waits_for_ever_ends() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(EndlessError, match="no timer will ever wake it"):
        run(main())


def test_a_run_that_spins_ends() -> None:
    async def main() -> None:
        loop().bound = 1000
        while True:
            await asyncio.sleep(0)

    with pytest.raises(EndlessError, match="has not ended"):
        run(main())


def test_an_executor_runs_at_once_for_there_are_no_threads() -> None:
    async def main() -> None:
        said.append(await asyncio.get_running_loop().run_in_executor(None, str.upper, "now"))

    run(main())

    assert said == ["NOW"]
