"""Is a blocked event loop noticed while it is blocked, and is who blocks it named? Real time: a thread looks on."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable

import pytest

from orchestra.health.inquiry import Inquiry
from orchestra.health.loop_watch import LoopWatch, describe

BLOCKED = 0.3


def quick_watch() -> LoopWatch:
    return LoopWatch(every=0.02, warn_after=0.1)


def charge_the_card(until: Callable[[], bool]) -> None:
    """A handler that does not know that it must not wait."""
    ended = threading.Event()
    while not until():
        ended.wait(0.01)


async def test_a_blocked_loop_is_warned_of_while_it_is_blocked_and_the_function_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    with quick_watch() as watch:
        await asyncio.sleep(0)
        charge_the_card(lambda: "blocked" in caplog.text)

        seconds, culprit = watch.blocked()

    assert seconds > 0.1
    assert culprit is not None
    assert "by test_a_blocked_loop_is_warned_of" in caplog.text
    assert "test_loop_watch.py:" in culprit


async def test_a_loop_that_goes_on_is_told_once() -> None:
    with quick_watch() as watch:
        charge_the_card(lambda: watch.blocked()[0] > 0.1)
        while watch.blocked()[0]:
            await asyncio.sleep(0.01)

        assert watch.blocked() == (0.0, None)


async def test_a_loop_that_waits_is_not_blocked(caplog: pytest.LogCaptureFixture) -> None:
    with quick_watch() as watch:
        await asyncio.sleep(BLOCKED)

        assert watch.blocked() == (0.0, None)
    assert "blocked" not in caplog.text


async def test_another_thread_is_told_that_the_loop_is_blocked_and_by_what() -> None:
    reports = []
    with quick_watch() as watch:
        inquiry = Inquiry(_report, watch, limit=60.0, timeout=0.05)
        thread = threading.Thread(target=lambda: reports.append(inquiry.report(False)))
        charge_the_card(lambda: watch.blocked()[0] > 0)
        thread.start()
        charge_the_card(lambda: not thread.is_alive())
        await asyncio.sleep(0)

    (report,) = reports
    assert report["live"]["ok"]
    assert "the event loop is blocked for" in report["live"]["notes"][0]
    assert not report["ready"]["ok"]
    assert report["error"]


async def test_a_loop_that_is_blocked_for_too_long_is_dead() -> None:
    reports = []
    with quick_watch() as watch:
        inquiry = Inquiry(_report, watch, limit=0.1, timeout=0.05)
        thread = threading.Thread(target=lambda: reports.append(inquiry.report(False)))
        charge_the_card(lambda: watch.blocked()[0] > 0.2)
        thread.start()
        charge_the_card(lambda: not thread.is_alive())
        await asyncio.sleep(0)

    assert not reports[0]["live"]["ok"]


async def test_another_thread_gets_the_report_of_a_loop_that_runs() -> None:
    with quick_watch() as watch:
        inquiry = Inquiry(_report, watch, limit=60.0)

        assert await inquiry.source(True) == {"fresh": True}


async def _report(fresh: bool) -> dict[str, object]:
    return {"fresh": fresh}


def test_the_function_that_was_called_first_is_named_with_the_line_that_is_at_work() -> None:
    described: list[str] = []

    def inner() -> None:
        described.append(describe(sys._getframe()))

    async def handler() -> None:
        inner()

    asyncio.run(handler())

    line = inner.__code__.co_firstlineno + 1
    assert described[0].startswith(f"{handler.__qualname__} (")
    assert described[0].endswith(f"test_loop_watch.py:{line})")
