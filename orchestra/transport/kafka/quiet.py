"""How loud is aiokafka while brokers are away? It logs an error per attempt: the same line passes once in a while."""

from __future__ import annotations

import logging

from orchestra.clock import Clock, SystemClock

_NAMES = (
    "aiokafka",
    "aiokafka.conn",
    "aiokafka.cluster",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
)
"""A filter of a logger is not asked about records of its children, so each logger gets it."""

_MOST_LINES = 256


class RateLimit(logging.Filter):
    """Lets a line of one logger pass once in ``seconds``; the next one that passes says how many were held back."""

    def __init__(self, seconds: float = 10.0, *, clock: Clock | None = None) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock = clock or SystemClock()
        self._lines: dict[tuple[str, str], tuple[float, int]] = {}
        """(logger, text with its gaps) -> (when one passed, how many were held back since)."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, str(record.msg))
        now = self._clock.elapsed()
        passed, held = self._lines.get(key, (-self._seconds, 0))
        if now - passed < self._seconds:
            self._lines[key] = (passed, held + 1)
            return False
        if len(self._lines) >= _MOST_LINES:
            self._lines.clear()
        self._lines[key] = (now, 0)
        if held:
            record.msg = f"{record.msg} (and {held} more like this)"
        return True


def calm_aiokafka() -> None:
    """Put one :class:`RateLimit` on aiokafka's loggers. Idempotent."""
    for name in _NAMES:
        logger = logging.getLogger(name)
        if not any(isinstance(each, RateLimit) for each in logger.filters):
            logger.addFilter(RateLimit())
