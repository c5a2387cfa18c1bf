"""How many records of a partition may become dead letters? Pure: time and successes come in as values.

A bad release fails on everything. Without a bound it would empty its topics into the dead letters within minutes; with
one, most of the backlog is still where it was when the mended release starts. The idea, and credits from successes, are
those of Uber's Consumer Proxy (uForwarder).
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestra.duration import Duration, seconds
from orchestra.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class DeadLetterBudget:
    """How many dead letters a partition may have, in each process.

    Attributes:
        burst: so many at once, from the start and at most. Default 10.
        share: of the records handled well, this part more. Default 0.1.
        every: and one more in this time. Default "5m".

    Raises:
        DefinitionError: a value that cannot work.
    """

    burst: int = 10
    share: float = 0.1
    every: Duration = "5m"

    def __post_init__(self) -> None:
        if self.burst < 1:
            raise DefinitionError(f"DeadLetterBudget(burst={self.burst}): one poison record must be able to leave")
        if not 0 <= self.share <= 1:
            raise DefinitionError(f"DeadLetterBudget(share={self.share}): it is a part, from 0 to 1")
        if seconds(self.every) <= 0:
            raise DefinitionError(f"DeadLetterBudget(every={self.every!r}): no time at all would be no budget")


class Purse:
    """What is left of one partition's budget. ``now``: the time in seconds, on any clock that does not go back."""

    __slots__ = ("_assigned", "_at", "_budget", "_earned", "_granted", "_left")

    def __init__(self, budget: DeadLetterBudget, now: float) -> None:
        self._budget = budget
        self._left = float(budget.burst)
        self._at = now
        self._assigned = now
        self._granted = 0
        self._earned = 0

    def take(self, now: float, finished: int, assigned: float = 0.0) -> float:
        """Take one. 0: it is granted; else the seconds after which one would be, without any success until then.

        Args:
            finished: records of the partition that are done, counted since its assignment, dead letters included.
            assigned: when that was; another value is another assignment.
        """
        budget = self._budget
        if assigned != self._assigned:
            self._assigned, self._granted, self._earned = assigned, 0, 0
        earned = max(self._earned, finished - self._granted)  # what was granted and is not done yet is no debt
        self._left += (earned - self._earned) * budget.share + (now - self._at) / seconds(budget.every)
        self._left = min(self._left, float(budget.burst))
        self._earned, self._at = earned, now
        if self._left < 1:
            return (1 - self._left) * seconds(budget.every)
        self._left -= 1
        self._granted += 1
        return 0.0
