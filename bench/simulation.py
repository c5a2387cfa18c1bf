"""How many seeded runs of a three-step saga does one core simulate in a second?"""

from __future__ import annotations

import time

from bench import simulated
from bench.bench import Bench
from bench.figures import Figure
from orchestra.testing import Simulation

_ROUNDS = 5


async def simulation(bench: Bench) -> list[Figure]:
    """Whole runs: services, coordinator and client start, a saga goes through what the seed does to it, all is checked.

    CPU time of this process, which is what a core has to give; the best of several rounds, for other processes only
    ever make it slower.
    """
    seeds = bench.some(300)
    trip = Simulation(simulated.app, simulated.one_trip, check=simulated.nothing_is_half_booked)
    trip.explore(30)
    rates: list[float] = []
    for round_ in range(_ROUNDS):
        begun = time.process_time()
        trip.explore(seeds, first=round_ * seeds)
        rates.append(seeds / (time.process_time() - begun))
    note = f"{_ROUNDS} rounds of {seeds} seeds"
    details = {"rounds": rates}
    return [Figure("simulation: seeded runs", max(rates), "/s", 200, "higher", note=note, details=details)]
