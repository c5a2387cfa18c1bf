"""Who is killed with ``kill -9``, and when? The same for the same seed."""

from __future__ import annotations

import random
from collections import deque

from services.demo_kit.processes import Crew, Member


class Kills:
    """So many kills, at random moments of equal stretches of the middle of a demo.

    Args:
        count: 0: nobody is killed.
        records: how many will be submitted; moments are counted in these.
    """

    def __init__(self, count: int, records: int, chance: random.Random) -> None:
        first, stretch = records // 5, records * 3 // 5 // max(count, 1)
        self._chance = chance
        self._points = deque(
            first + stretch * number + chance.randrange(max(stretch // 2, 1)) for number in range(count)
        )

    def are_due(self, submitted: int) -> bool:
        return bool(self._points) and submitted >= self._points[0]

    def strike(self, crew: Crew) -> str:
        """Kill the busiest coordinator first, then whoever chance chooses. Says who."""
        self._points.popleft()
        coordinators = [member for member in crew.coordinators if member.is_running]
        if coordinators and not crew.killed:
            chosen, why = max(coordinators, key=Member.cpu_seconds), "the busiest coordinator"
        else:
            chosen = self._chance.choice([member for member in crew.members if member.is_running])
            why = "chosen by the seed"
        crew.kill(chosen)
        return f"[red]kill -9[/] {chosen.name}, {why}"
