"""How does a contestant tell what it handled, and what that cost?

A handler does one thing: ``watch.seen(order_id)``, which notes the key and compares two numbers (0.1 us). The process's
CPU time is read at two records: the one after ``BENCH_WARM``, so that imports, joining the group and the first fetches
do not count, and the last. In between nobody waits for anything, so what is measured is the work and nothing idle.

It must happen in the handler: a task of its own would wait for a consumer that lets no other task run while there is
something in its buffer.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

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
        on_done: called in the end, with what was measured.
    """

    def __init__(
        self,
        count: int,
        warm: int,
        *,
        on_look: Callable[[], object] = lambda: None,
        on_done: Callable[[dict[str, float]], object] = lambda _: None,
    ) -> None:
        self._count = count
        self._marks = [count, warm]
        self._mark = self._marks.pop()
        self._on_look = on_look
        self._on_done = on_done
        self._looks: list[tuple[int, float, float]] = []
        self._keys: list[str] = []
        self.is_done = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """``BENCH_COUNT``, ``BENCH_WARM``, and ``BENCH_RESULT``: the file to write in the end."""
        result = Path(environment["BENCH_RESULT"])

        def write(told: dict[str, float]) -> None:
            written = result.with_suffix(".part")
            written.write_text(json.dumps(told))
            written.rename(result)  # at once: somebody waits for it

        return cls(int(environment["BENCH_COUNT"]), int(environment["BENCH_WARM"]), on_done=write)

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

    @contextmanager
    def running(self) -> Iterator[None]:
        """Waits for the end and tells the result, for as long as this is entered."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()

    async def _watch(self) -> None:
        handled = looks = 0
        while looks < (_SETTLE_LOOKS if handled >= self._count else _STALLED_LOOKS):
            await asyncio.sleep(_LOOK_SECONDS)
            looks = looks + 1 if len(self._keys) == handled else 0
            handled = len(self._keys)
        while len(self._looks) < 2:  # records are missing
            self._look()
        self.is_done = True
        self._on_done(self._told())

    def _told(self) -> dict[str, float]:
        (first, first_cpu, begun), (last, last_cpu, ended) = self._looks
        return {
            "records": last - first,
            "cpu_seconds": last_cpu - first_cpu,
            "seconds": ended - begun,
            "handled": len(self._keys),
            "distinct": len(set(self._keys)),
        }
