from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from orchestra.cli.ending import run_to_the_end


def test_task_that_ignores_its_cancellation_is_left_behind_and_named(caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()

    async def cling() -> None:
        while not ended.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await ended.wait()

    async def main() -> None:
        main.task = asyncio.create_task(cling(), name="clinging")  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR):
        run_to_the_end(main(), patience=0.01)

    assert "clinging" in caplog.text
    task: asyncio.Task[None] = main.task  # type: ignore[attr-defined]
    ended.set()  # so that this test leaves nothing behind itself
    task.get_loop().run_until_complete(task)
    task.get_loop().close()


def test_what_takes_its_cancellation_ends_and_what_main_raises_comes_out() -> None:
    cancelled: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append("waiting")

    async def main() -> None:
        main.task = asyncio.create_task(wait())  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        raise ValueError("of main")

    with pytest.raises(ValueError, match="of main"):
        run_to_the_end(main())

    assert cancelled == ["waiting"]
