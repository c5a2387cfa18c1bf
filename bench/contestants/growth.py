"""How large is the process, while more and more keys pass? Keeps none of them itself."""

from __future__ import annotations

import psutil

from bench.contestants.watch import Watch

EVERY = 25_000


class Growth(Watch):
    """Notes the resident memory at every 25,000th record."""

    def __init__(self, count: int, warm: int) -> None:
        super().__init__(count, warm)
        self._process = psutil.Process()
        self._passed = 0
        self._resident_mb: list[float] = []

    def seen(self, key: str) -> None:
        self._passed += 1
        if self._passed % EVERY == 0:
            self._resident_mb.append(self._process.memory_info().rss / 1e6)

    @property
    def handled(self) -> int:
        return self._passed

    def told(self) -> dict[str, object]:
        return {"handled": self._passed, "resident_mb": self._resident_mb}
