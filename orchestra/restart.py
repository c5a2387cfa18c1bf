"""How often may something that died be started again, and after what pause? Pure: time and chance come in as values."""

from __future__ import annotations

from collections import deque

from orchestra.retry import Retry

MAX_RESTARTS = 5
RESTART_WINDOW = 600.0


class RestartBudget:
    """What one unit, or one worker process, may spend on starting again.

    Args:
        limit: deaths within the window that are followed by a new start; one more is too many.
        window: seconds; deaths longer ago are forgotten.
    """

    def __init__(self, limit: int = MAX_RESTARTS, window: float = RESTART_WINDOW) -> None:
        self.limit = limit
        self.window = window
        self._deaths: deque[float] = deque()
        self._back_off = Retry(attempts=limit + 1, first="500ms", cap="30s")

    def spend(self, now: float, jitter: float) -> float | None:
        """Note a death. Gives the seconds to wait before the next start, or None: it died too often."""
        self._deaths.append(now)
        while self._deaths[0] <= now - self.window:
            self._deaths.popleft()
        deaths = len(self._deaths)
        return None if deaths > self.limit else self._back_off.delay(deaths + 1, jitter)
