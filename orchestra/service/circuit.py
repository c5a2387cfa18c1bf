"""May a call be made to what was down a moment ago? One circuit for each resource or handler. Pure.

Closed: everything passes. A failure opens it: nothing passes for a while, longer with each failure in a row. Then one
probe passes; when it succeeds two, four, and so on, until it is closed again: what has just come back is not run over
by everything that waited for it. Time and chance come in as values.

What began before the circuit opened says nothing about now: hence the tickets.
"""

from __future__ import annotations

from orchestra.service.retry import waiting_delay

TOP = 128
"""When more than so many may be under way at once, there is nothing left to ration."""


class Circuit:
    """Args:
    name: what is down when it is open, for people.
    """

    __slots__ = ("_limit", "_rounds", "_successes", "_ticket", "_under_way", "name", "until")

    def __init__(self, name: str) -> None:
        self.name = name
        self.until = 0.0
        """Nothing passes before that time; of interest while it is not closed."""
        self._limit: int | None = None
        self._rounds = 0
        self._successes = 0
        self._under_way = 0
        self._ticket = 0

    @property
    def is_closed(self) -> bool:
        """Whether everything passes."""
        return self._limit is None

    @property
    def rounds(self) -> int:
        """How often it failed in a row."""
        return self._rounds

    @property
    def room(self) -> int:
        """How many more may pass, once its time is there; of interest while it is not closed."""
        return 0 if self._limit is None else self._limit - self._under_way

    def admits(self, now: float) -> bool:
        """Whether one may pass now."""
        return self._limit is None or (now >= self.until and self._under_way < self._limit)

    def enter(self) -> int:
        """One passes: what to say at its end, in :meth:`succeeded`, :meth:`failed` or :meth:`left`."""
        self._under_way += self._limit is not None
        return self._ticket

    def succeeded(self, ticket: int) -> bool:
        """What passed has got an answer. False: it began too long ago to mean anything."""
        if self._limit is None or ticket != self._ticket:
            return False
        self._under_way -= 1
        self._successes += 1
        self._rounds = 0
        if self._successes >= self._limit:
            self._limit, self._successes = self._limit * 2, 0
        if self._limit > TOP:
            self.close()
        return True

    def left(self, ticket: int) -> None:
        """What passed has ended, and nothing can be said from it."""
        if self._limit is not None and ticket == self._ticket:
            self._under_way -= 1

    def failed(self, ticket: int | None, now: float, jitter: float) -> bool:
        """What passed found it down. ``ticket`` None: it began while the circuit was closed. Whether it opens (again)
        now."""
        if self._limit is not None and ticket != self._ticket:
            return False
        self._rounds += 1
        self._ticket += 1
        self._limit, self._successes, self._under_way = 1, 0, 0
        self.until = now + waiting_delay(self._rounds, jitter)
        return True

    def close(self) -> None:
        """Everything passes again."""
        self._limit = None
        self._rounds = self._successes = self._under_way = 0
        self._ticket += 1
