"""Does a record of this partition end the process again and again? Pure.

A process that is killed says nothing about the record that did it. What remains is the group's place: an owner writes
into it that it has begun (``restarts``, one more than it found), and 0 again once it got on. So a place that stands
still while owners die counts them. From the second death on, fewer and fewer records are begun ahead of the place; from
the fifth on, one at a time and nothing beside it in the process, with a mark set before. Who finds that mark knows
which record it was.
"""

from __future__ import annotations

from orchestra.service.offsets import Place

ALONE = 5
"""So many deaths, and records are run one at a time."""
MARKED = 6
"""In a place: the record at it was running alone."""
_AHEAD = {2: 64, 3: 16, 4: 4}
"""Deaths -> how far ahead of the committed place records are begun."""
IDLE_SECONDS = 60.0
"""A partition that has had nothing to do for so long has killed nobody."""


class Suspicion:
    """What is known about one partition during one assignment.

    Args:
        place: the committed place that was found; None where there is none.
        ahead: how far ahead of the place a process begins records when it suspects nothing.
    """

    __slots__ = ("_alone", "_found", "_start", "_until", "condemned", "restarts")

    def __init__(self, place: Place | None, ahead: int) -> None:
        found = self._found = min(place.restarts, MARKED) if place else 0
        self.restarts = min(found + 1, ALONE)
        """Owners that died, counting the present one as if it had."""
        self._start = place.base if place else -1
        self._until = self._start + _AHEAD.get(self.restarts - 1, ahead if self.restarts < ALONE else _AHEAD[4])
        self._alone: int | None = None
        self.condemned = self._start if found == MARKED else None
        """The offset of the record that was running alone when the last owner died."""

    @property
    def is_careful(self) -> bool:
        """Whether it matters how far ahead of the place records are begun."""
        return self.restarts >= 2

    @property
    def is_alone(self) -> bool:
        """Whether records are run one at a time, with nothing beside them."""
        return self.restarts >= ALONE

    def runs_alone(self, offset: int | None) -> None:
        """The record that is about to run with nothing beside it; None: it has survived."""
        self._alone = offset

    def word(self, base: int) -> int:
        """What to write into the place at ``base``. The mark is about one record, and no other."""
        return MARKED if base in (self._alone, self.condemned) else self.restarts

    def gate(self, committed: int) -> int | None:
        """The offset from which no record may be begun yet; None: there is no such offset."""
        if self.is_alone:
            return committed
        ahead = _AHEAD.get(self.restarts)
        return None if ahead is None else committed + ahead

    def moved(self, base: int) -> None:
        """The place has moved to ``base``: what lies below it has killed nobody."""
        if base <= self._start:
            return
        if self.condemned is not None or not self.is_careful or base >= self._until:
            self.restarts = 0
            self.condemned = None

    def clear(self) -> None:
        """There has long been nothing that could kill anybody."""
        self.restarts = 0

    def left(self) -> int:
        """What to write into the place when it is given up alive: as it was found."""
        return min(self._found, ALONE) if self.restarts else 0
