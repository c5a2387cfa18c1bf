"""How does a contestant tell what it handled, and what that cost?

A handler does one thing: ``watch.seen(order_id)``, which notes the key and compares two numbers (0.1 us). The process's
CPU time is read at two records: the one after the warm-up, so that imports, joining the group and the first fetches do
not count, and the last. In between nobody waits for anything, so what is measured is the work and nothing idle.

It must happen in the handler: a task of its own would wait for a consumer that lets no other task run while there is
something in its buffer.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_SECONDS = 0.1
_SETTLE_LOOKS = 3
"""Without a new record after the last one: nothing comes twice."""
_STALLED_LOOKS = 200
"""Without a new record before the last one: the rest is lost."""


class Watch:
    """Counts in one process; is done when ``count`` records came, or when none come any more.

    Args:
        count: how many there are.
        warm: after how many the measurement begins.
        on_look: called at the two records.
    """

    def __init__(self, count: int, warm: int, *, on_look: Callable[[], object] = lambda: None) -> None:
        self._count = count
        self._marks = [count, warm]
        self._mark = self._marks.pop()
        self._on_look = on_look
        self._looks: list[tuple[int, float, float]] = []
        self._keys: list[str] = []
        self.is_done = False

    def seen(self, key: str) -> None:
        """A record was handled."""
        keys = self._keys
        keys.append(key)
        if len(keys) == self._mark:
            self._look()
            self._mark = self._marks.pop() if self._marks else 0

    def _look(self) -> None:
        self._looks.append((len(self._keys), time.process_time(), time.perf_counter()))
        self._on_look()

    @property
    def handled(self) -> int:
        return len(self._keys)

    def told(self) -> dict[str, object]:
        """What there is to tell in the end."""
        while len(self._looks) < 2:  # records are missing
            self._look()
        (first, first_cpu, begun), (last, last_cpu, ended) = self._looks
        return {
            "records": last - first,
            "cpu_seconds": last_cpu - first_cpu,
            "seconds": ended - begun,
            "handled": len(self._keys),
            "distinct": len(set(self._keys)),
        }

    async def wait_done(self) -> None:
        """Return when the last record was handled and nothing came after it, or when nothing has come for long."""
        handled = looks = 0
        while looks < (_SETTLE_LOOKS if handled >= self._count else _STALLED_LOOKS):
            await asyncio.sleep(_LOOK_SECONDS)
            looks = looks + 1 if self.handled == handled else 0
            handled = self.handled
        self.is_done = True

    @contextmanager
    def telling(self, result: Path) -> Iterator[None]:
        """While this is entered a task waits for the end, and writes what there is to tell into a file."""
        task = asyncio.create_task(self._tell(result))
        try:
            yield
        finally:
            task.cancel()

    async def _tell(self, result: Path) -> None:
        await self.wait_done()
        written = result.with_suffix(".part")
        written.write_text(json.dumps(self.told()))
        written.rename(result)  # at once: somebody waits for it
