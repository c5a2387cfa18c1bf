"""Is the event loop blocked, and by what? A thread looks on, for a blocked loop can tell nothing about itself.

The loop leaves a mark twice a second. When the mark grows old, the thread reads the stack of the loop's thread and logs
a warning that names the function at work: the users' one that the framework called, and the line that it is at.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import sysconfig
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType

from orchestra.clock import Clock, SystemClock

_log = logging.getLogger("orchestra")

_PACKAGE = str(Path(__file__).parents[1])
_ASYNCIO = str(Path(asyncio.__file__).parent)
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


class LoopWatch:
    """Watches the running event loop: ``with LoopWatch() as watch``. Entered in the loop's thread.

    Args:
        every: seconds between two marks, and between two looks at them.
        warn_after: seconds of being blocked that are worth a warning.
    """

    def __init__(self, clock: Clock | None = None, *, every: float = 0.5, warn_after: float = 1.0) -> None:
        self._clock = clock or SystemClock()
        self._every = every
        self._warn_after = warn_after
        self._marked = self._clock.elapsed()
        self._thread_id = threading.get_ident()
        self._ended = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._watch, name="orchestra-loop-watch", daemon=True)

    def __enter__(self) -> LoopWatch:
        self._mark()
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._ended.set()
        self._thread.join()

    def blocked(self) -> tuple[float, str | None]:
        """For how many seconds the loop has been blocked (0: it is not), and by what. Asked by another thread."""
        late = self._clock.elapsed() - self._marked - self._every
        return (late, self._at_work()) if late > self._warn_after else (0.0, None)

    def _mark(self) -> None:
        self._marked = self._clock.elapsed()
        self._timer = asyncio.get_running_loop().call_later(self._every, self._mark)

    def _watch(self) -> None:
        warned: float | None = None
        slept_at, used_before = self._clock.elapsed(), time.process_time()
        while not self._ended.wait(self._every):
            now, used = self._clock.elapsed(), time.process_time()
            # This thread is late too, and nothing was at work: the process was stopped, the loop is not to blame.
            passed = now - slept_at
            was_suspended = passed > 4 * self._every + 0.5 and used - used_before < passed / 2
            slept_at, used_before = now, used
            late = now - self._marked - self._every
            if warned is not None and late <= self._warn_after:
                _log.warning("the event loop goes on, after %.1f s", now - warned)
                warned = None
            elif late > self._warn_after and not was_suspended and warned is None:
                warned = self._marked
                _log.warning("the event loop is blocked for %.1f s so far, by %s", late, self._at_work())

    def _at_work(self) -> str:
        frame = sys._current_frames().get(self._thread_id)
        return describe(frame) if frame is not None else "a thread that is gone"


def describe(frame: FrameType) -> str:
    """What a stack is at, in words: the users' function that was called first, and where it is."""
    users: list[FrameType] = []
    innermost = frame
    each: FrameType | None = frame
    while each is not None and not (users and _is_caller(each)):  # from the inside out, up to whoever called it
        if not _is_caller(each) and not each.f_code.co_filename.startswith((*_LIBRARIES, "<")):
            users.append(each)
        each = each.f_back
    if not users:
        return f"{innermost.f_code.co_qualname} ({_place(innermost)})"
    return f"{users[-1].f_code.co_qualname} ({_place(users[0])})"


def _is_caller(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith((_PACKAGE, _ASYNCIO))


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
