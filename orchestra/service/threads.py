"""Where does a plain function run? In a thread of a bounded pool, so that it does not hold up the event loop.

An attempt reserves its place in the pool before its timeout begins, so waiting for one burns nothing.

A thread cannot be cancelled. Cancelled once, a call is waited for all the same, as a coroutine that ignores its
cancellation is: so no second try of a record runs beside the first. Cancelled again, or given up (its attempt *left*
while it ran), it is lost: it goes on alone, and nobody hears of its end. Another thread takes a lost one's place, but
there are never more than twice ``limit`` in all: beyond that, attempts wait until a lost one ends.

The threads are daemons: one that never ends does not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from orchestra.errors import DefinitionError

_log = logging.getLogger(__name__)


class Reservation:
    """One attempt's place in the pool."""

    __slots__ = ("_threads", "future", "is_left", "task")

    def __init__(self, threads: Threads, task: asyncio.Task[Any]) -> None:
        self._threads = threads
        self.task = task
        self.future: asyncio.Future[Any] | None = None
        """Of the call that runs in the thread."""
        self.is_left = False

    def leave(self) -> None:
        """Give the place back. A call that still runs in it is lost. Idempotent."""
        if not self.is_left:
            self.is_left = True
            self._threads.left(self)


_reserved: contextvars.ContextVar[Reservation] = contextvars.ContextVar("orchestra-reservation")


class Threads:
    """The threads of one service in one process. They are started when they are needed.

    Args:
        limit: how many attempts may have a place at once.
        name: of the service, for the threads' names.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._reservations: dict[asyncio.Task[Any], Reservation] = {}
        self._granted = 0
        """Places of those that were woken and do not know it yet."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._running = 0
        self._started = 0
        self.lost = 0
        """Calls that were given up and have not ended."""

    async def reserve(self) -> Reservation:
        """A place for this task's attempt, as soon as there is one; given back with its ``leave``. Safe to cancel."""
        if self._waiting or not self._has_room():
            await self._wait_turn()
        task = asyncio.current_task()
        assert task is not None
        reservation = self._reservations[task] = Reservation(self, task)
        _reserved.set(reservation)
        return reservation

    async def _wait_turn(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.remove(turn)
            else:  # it was this one's turn already
                self._granted -= 1
                self._wake()
            raise
        self._granted -= 1

    def left(self, reservation: Reservation) -> None:
        """A place was given back."""
        del self._reservations[reservation.task]
        future = reservation.future
        if future is not None and not future.done():
            self.lost += 1
            future.add_done_callback(self._came_back)
            _log.error(
                "service %s: a function goes on in its thread after it was given up; %d such, and no more than %d"
                " threads in all",
                *(self._name, self.lost, 2 * self._limit),
            )
        self._wake()

    def give_up(self, task: asyncio.Task[Any]) -> None:
        """Leave for a task that was given up, if it has a place."""
        if (reservation := self._reservations.get(task)) is not None:
            reservation.leave()

    async def run(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """What the function returns, or raises, in the place that was reserved. Context variables are the caller's.

        Raises:
            DefinitionError: the function returned a coroutine.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        future.add_done_callback(_heard)
        context = contextvars.copy_context()
        self._submit(lambda: _run(loop, future, lambda: context.run(function, *arguments, **named)), future)
        _reserved.get().future = future
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError:
            # It cannot be stopped, and what it does will have happened. Cancelled again: somebody is leaving for good.
            await asyncio.wait({future})
        return _checked(future.result(), function)

    def aclose(self) -> None:
        """Let the threads end, when they have nothing to do."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _has_room(self) -> bool:
        return len(self._reservations) + self._granted < min(self._limit, 2 * self._limit - self.lost)

    def _wake(self) -> None:
        while self._waiting and self._has_room():
            self._granted += 1
            self._waiting.popleft().set_result(None)

    def _submit(self, job: Callable[[], None], future: asyncio.Future[Any]) -> None:
        self._running += 1
        future.add_done_callback(self._count_end)
        if getattr(future.get_loop(), "has_no_threads", False):  # a simulation, whose time would not wait for them
            job()
            return
        self._jobs.put(job)
        if self._started < self._running:
            self._started += 1
            name = f"orchestra-{self._name}-{self._started}"
            threading.Thread(target=_work, args=(self._jobs,), name=name, daemon=True).start()

    def _count_end(self, _: asyncio.Future[Any]) -> None:
        self._running -= 1

    def _came_back(self, _: asyncio.Future[Any]) -> None:
        self.lost -= 1
        self._wake()


def _work(jobs: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    while (job := jobs.get()) is not None:
        job()


def _run(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], call: Callable[[], Any]) -> None:
    """In the thread: call the function, and have the loop told."""
    returned, error = None, None
    try:
        returned = call()
    except BaseException as raised:  # also SystemExit: it ends the handler, not the thread
        error = raised
    try:
        loop.call_soon_threadsafe(_tell, future, returned, error)
    except RuntimeError:  # the loop is closed: nobody is left who would want to know
        _log.warning("a function ended in its thread after its service had stopped")


def _tell(future: asyncio.Future[Any], returned: Any, error: BaseException | None) -> None:
    if error is None:
        future.set_result(returned)
        return
    if not isinstance(error, Exception) or isinstance(error, StopIteration):  # no future can hold those well
        wrapped = RuntimeError(f"the function raised {type(error).__name__}")
        wrapped.__cause__ = error
        error = wrapped
    future.set_exception(error)


def _heard(future: asyncio.Future[Any]) -> None:
    """An error that nobody asks for any more is no reason for a warning."""
    if not future.cancelled():
        future.exception()


def _checked(returned: Any, function: Callable[..., Any]) -> Any:
    if asyncio.iscoroutine(returned):
        returned.close()
        name = getattr(function, "__qualname__", function)
        raise DefinitionError(f"{name} is no async function and returned a coroutine: write async def")
    return returned
