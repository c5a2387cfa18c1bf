"""What is sent arrives in order, after its delay, and not while somebody is stopped."""

from __future__ import annotations

import asyncio

import pytest

from orchestra.transport.memory_line import Line, Valve

pytestmark = pytest.mark.virtual_time


async def test_things_arrive_in_order_and_not_before_their_delay() -> None:
    line, seen = Line(), list[tuple[str, float]]()
    loop = asyncio.get_running_loop()
    began = loop.time()

    for name, delay in (("slow", 5.0), ("quick", 0.0), ("later", 7.0)):
        line.put(delay, lambda name=name: seen.append((name, round(loop.time() - began, 3))))  # type: ignore[misc]
    await asyncio.sleep(10)

    assert seen == [("slow", 5.0), ("quick", 5.0), ("later", 7.0)]


async def test_nothing_arrives_at_once() -> None:
    line, seen = Line(), list[int]()

    line.put(0, lambda: seen.append(1))

    assert seen == []
    await asyncio.sleep(0)
    assert seen == [1]


async def test_shut_valve_holds_everything_back() -> None:
    first, second = Valve(), Valve()
    line, seen = Line(first, second), list[int]()
    second.shut()
    line.put(1, lambda: seen.append(1))
    await asyncio.sleep(60)
    assert seen == []

    first.shut()
    second.open()
    await asyncio.sleep(60)
    assert seen == []

    first.open()
    await asyncio.sleep(0.1)
    assert seen == [1]


async def test_passing_waits_for_the_valve() -> None:
    valve = Valve()
    await valve.passed()
    valve.shut()
    waiting = asyncio.create_task(valve.passed())
    await asyncio.sleep(1)
    assert not waiting.done()

    valve.open()
    await waiting
