"""When was each record handled? On the clock that all processes of this machine share."""

from __future__ import annotations

import time

from bench.contestants.watch import Watch


class Arrivals(Watch):
    """Notes the time of each, by key."""

    def __init__(self, count: int, warm: int) -> None:
        super().__init__(count, warm)
        self._at: dict[str, float] = {}

    def seen(self, key: str) -> None:
        self._at[key] = time.monotonic()
        super().seen(key)

    def told(self) -> dict[str, object]:
        return {"handled_at": self._at}
