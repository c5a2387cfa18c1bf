"""What runs next in a simulation, and in which process? An event loop for many processes, with a time of its own.

Every callback belongs to the process in whose context it was scheduled. That is what lets a process die between any two
awaits, or stand still and go on later, exactly as the operating system does it: callbacks of a dead process never run,
those of a stopped one wait. Nothing here knows chance or the machine's clock, so equal calls give equal runs.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import sys
from asyncio import events
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

from orchestra.errors import OrchestraError

T = TypeVar("T")
Callback = Callable[..., object]


class EndlessError(OrchestraError):
    """A run did not end within its bound of callbacks."""

    code = "endless"


class Scope:
    """A process, as the loop knows it: what runs in its context, runs only while it does."""

    __slots__ = ("closers", "is_dead", "is_stopped", "name", "parked")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_stopped = False
        self.parked: list[Handle] = []
        """What became due while it was stopped, in order."""
        self.closers: list[Callable[[], object]] = []
        """What the operating system closes when the process is gone."""


_scope: contextvars.ContextVar[Scope] = contextvars.ContextVar("orchestra-simulation-scope")


def current_scope() -> Scope | None:
    """The process that this runs in; None: outside of all of them."""
    return _scope.get(None)


class Handle:
    """A callback that was scheduled. Has what asyncio asks of its own handles."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "scope", "time")

    def __init__(
        self, callback: Callback, args: tuple[Any, ...], context: contextvars.Context | None, time: float
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context = contextvars.copy_context() if context is None else context
        self.scope = context.get(_scope)
        self.time = time
        self.is_cancelled = False

    def __lt__(self, other: Handle) -> bool:
        return self.time < other.time

    def cancel(self) -> None:
        self.is_cancelled = True
        self.args = ()

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.time


class _Task(asyncio.Task[T]):
    """Tasks stand in sets, whose order must not depend on addresses.

    Equal in equal runs, and different in different ones: asyncio keeps tasks of all loops in one set.
    """

    number = 0

    def __hash__(self) -> int:
        return self.number


class SimulationLoop(asyncio.AbstractEventLoop):
    """One run's event loop. Time begins at 0, stands still while there is something to do, and jumps while not.

    Attributes:
        steps: callbacks of processes that have run.
        has_no_threads: for those who would start some: whatever runs here, runs at once.
        before_step: called with the scope of the callback that is number ``alarm`` of them, before it runs.
    """

    has_no_threads = True

    def __init__(self, seed: int = 0) -> None:
        self._first_number = seed * 1_000_003
        self.steps = 0
        self.alarm = sys.maxsize
        self.before_step: Callable[[Scope], None] = lambda _: None
        self.bound = 3_000_000
        self._time = 0.0
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._order = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._generators: list[AsyncGenerator[Any, Any]] = []
        self._is_running = False
        self._is_closed = False

    # ---- running

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """What ``main`` returns, or raises. Everything else is left where it stands; see :meth:`close`.

        Raises:
            EndlessError: nothing comes to an end, or nothing goes on.
        """
        around, hooks = events._get_running_loop(), sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self._generators.append, finalizer=lambda _: None)
        events._set_running_loop(self)
        self._is_running = True
        try:
            task = self.create_task(main)
            self._run(task)
            returned: T = task.result()
            return returned
        finally:
            self._is_running = False
            events._set_running_loop(around)
            sys.set_asyncgen_hooks(*hooks)

    def _run(self, main: asyncio.Task[Any]) -> None:
        ready, timers = self._ready, self._timers
        left = self.bound
        while not main.done():
            if not ready:
                self._advance(timers)
            handle = ready.popleft()
            if handle.is_cancelled:
                continue
            left -= 1
            if not left:
                raise EndlessError(f"the run has not ended after {self.bound} callbacks, at {self._time:.1f} s")
            if (scope := handle.scope) is not None:
                self.steps += 1
                if self.steps >= self.alarm:
                    self.before_step(scope)
                if scope.is_dead:
                    continue
                if scope.is_stopped:
                    scope.parked.append(handle)
                    continue
            handle.context.run(handle.callback, *handle.args)

    def _advance(self, timers: list[tuple[float, int, Handle]]) -> None:
        """Let time pass until something is due."""
        ready = self._ready
        while not ready:
            if not timers:
                raise EndlessError(f"at {self._time:.1f} s everything waits, and no timer will ever wake it")
            due, _, handle = heapq.heappop(timers)
            if not handle.is_cancelled:
                self._time = max(self._time, due)
                ready.append(handle)
        now = self._time
        while timers and timers[0][0] <= now:
            handle = heapq.heappop(timers)[2]
            if not handle.is_cancelled:
                ready.append(handle)

    def within(self, scope: Scope, call: Callable[..., T], *arguments: Any) -> T:
        """Call something as a part of a process: all that it starts belongs there."""
        context = contextvars.copy_context()
        context.run(_scope.set, scope)
        return context.run(call, *arguments)

    def kill(self, scope: Scope) -> None:
        """The process is gone: nothing of it runs any more, and what it held open is closed."""
        scope.is_dead = True
        scope.parked.clear()
        for close in scope.closers:
            close()

    def stop_scope(self, scope: Scope) -> None:
        """SIGSTOP."""
        scope.is_stopped = True

    def continue_scope(self, scope: Scope) -> None:
        """SIGCONT: what became due meanwhile runs now, in its order."""
        scope.is_stopped = False
        parked, scope.parked = scope.parked, []
        self._ready.extend(parked)

    def closes_with_process(self, close: Callable[[], object]) -> None:
        """The operating system would close this when the running process dies: so do we."""
        if (scope := _scope.get(None)) is not None:
            scope.closers.append(close)

    def close(self) -> None:
        """End what was left behind, in the order in which it began, without running any of it on."""
        if self._is_closed:
            return
        self._is_closed = True
        around = events._get_running_loop()
        events._set_running_loop(self)
        try:
            for task in self._tasks:  # while it goes on, what ends may begin more
                if not task.done():
                    _end_all(task.get_coro())
            for generator in self._generators:
                _end(generator.aclose())
        finally:
            events._set_running_loop(around)
            self._tasks.clear()
            self._generators.clear()
            self._timers.clear()
            self._ready.clear()

    # ---- what asyncio asks for

    def time(self) -> float:
        return self._time

    def call_soon(  # type: ignore[override]
        self, callback: Callback, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        handle = Handle(callback, args, context, self._time)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callback, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callback, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        return self.call_at(self._time + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callback, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        handle = Handle(callback, args, context, when)
        self._order += 1
        heapq.heappush(self._timers, (when, self._order, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None, **_: Any) -> Any:
        task: _Task[Any] = _Task.__new__(_Task)
        task.number = self._first_number + len(self._tasks)
        task.__init__(coro, loop=self, name=name or "task", context=context)  # type: ignore[misc]
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._tasks.append(task)
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """There are no threads in a simulation: it runs at once."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._is_running

    def is_closed(self) -> bool:
        return self._is_closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Errors that nobody asks for are not our business: what they lead to is checked."""

    async def shutdown_asyncgens(self) -> None: ...

    async def shutdown_default_executor(self) -> None: ...


def _end_all(coroutine: Any) -> None:
    """End a coroutine and what it waits for, from within: else the outer one would end, and leave the inner."""
    chain: list[Any] = []
    while hasattr(coroutine, "cr_await"):
        chain.append(coroutine)
        coroutine = coroutine.cr_await
    for each in reversed(chain):
        _end(each)


def _end(coroutine: Any) -> None:
    """Let it end where it stands. It may want to wait for something on its way out: that never comes."""
    for _ in range(100):
        try:
            coroutine.close()
        except RuntimeError:  # "ignored GeneratorExit": it waits at another place now
            continue
        except BaseException:
            pass
        return
