"""When does a thing that was sent arrive? Ordered delivery with delays, held while somebody is stopped (memory only).

No tasks: everything runs in callbacks of the running loop, so a virtual clock and a seed decide the whole order. Each
has an empty context: what is under way belongs to no process any more, and arrives though its sender has died.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context


class Valve:
    """Open or shut. Whoever waits behind it is told when it opens."""

    def __init__(self) -> None:
        self.is_open = True
        self._waiting: list[Callable[[], None]] = []

    def shut(self) -> None:
        self.is_open = False

    def open(self) -> None:
        self.is_open = True
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()

    def on_open(self, call: Callable[[], None]) -> None:
        """Call ``call`` once, when this opens next."""
        self._waiting.append(call)

    async def passed(self) -> None:
        """Return at once while open, else when it opens. Safe to cancel."""
        while not self.is_open:
            opened = asyncio.Event()
            self.on_open(opened.set)
            await opened.wait()


class Line:
    """Calls things in the order they were put in, each no sooner than its delay, none while a valve is shut."""

    def __init__(self, *valves: Valve) -> None:
        self._valves = valves
        self._queue: deque[tuple[float, Callable[[], None]]] = deque()
        self._last = 0.0
        self._scheduled = False

    def put(self, delay: float, call: Callable[[], None]) -> None:
        """Call ``call`` after ``delay`` seconds, and after everything that was put in before; never at once."""
        self._last = max(self._last, asyncio.get_running_loop().time() + delay)
        self._queue.append((self._last, call))
        self._schedule()

    def _schedule(self) -> None:
        if self._scheduled or not self._queue:
            return
        self._scheduled = True
        loop = asyncio.get_running_loop()
        for valve in self._valves:
            if not valve.is_open:
                valve.on_open(self._run_soon)
                return
        due = self._queue[0][0]
        if due <= loop.time():
            loop.call_soon(self._run, context=Context())
        else:
            loop.call_at(due, self._run, context=Context())

    def _run_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._run, context=Context())

    def _run(self) -> None:
        self._scheduled = False
        now = asyncio.get_running_loop().time()
        while self._queue and self._queue[0][0] <= now and all(valve.is_open for valve in self._valves):
            self._queue.popleft()[1]()
        self._schedule()


class Bell:
    """Rung when something has come, for one task that waits no longer than until a deadline. A third of what an event
    and a timeout cost: consumers do nothing else all day."""

    __slots__ = ("_rung", "_waiter")

    def __init__(self) -> None:
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        self._rung = True
        self._wake()

    def clear(self) -> None:
        self._rung = False

    async def wait_until(self, deadline: float) -> None:
        """Return when it is rung, at once if it was; or at the deadline, by the loop's time. Safe to cancel."""
        if self._rung:
            return
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        alarm = loop.call_at(deadline, self._wake)
        try:
            await waiter
        finally:
            alarm.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
