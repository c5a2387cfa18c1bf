"""Twenty thousand simulated runs: ``python -m tests.soak_simulation [SEED]``. With a seed: that one, of each app, told.

Exits 1 at the first seed in which something is wrong, and prints its story.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping

from orchestra.testing import Simulation, SimulationFailed
from tests.simulated import SIMULATIONS

_AT_A_TIME = 250


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak_simulation", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="repeat this one")
    seed: int | None = parser.parse_args().seed
    os.environ.pop("ORCHESTRA_SEED", None)
    try:
        return soak(SIMULATIONS) if seed is None else repeat(SIMULATIONS, seed)
    except SimulationFailed as failed:
        print(f"\n{failed}")
        return 1


def soak(simulations: Mapping[str, tuple[Simulation, int]]) -> int:
    """Every app in its share of the seeds."""
    for name, (simulation, seeds) in simulations.items():
        begun, faults = time.perf_counter(), 0
        for first in range(0, seeds, _AT_A_TIME):
            faults += simulation.explore(min(_AT_A_TIME, seeds - first), first=first).faults
            rate = (first + _AT_A_TIME) / (time.perf_counter() - begun)
            print(
                f"\r{name}: {first + _AT_A_TIME} of {seeds} seeds, {faults} faults, {rate:.0f}/s ", end="", flush=True
            )
        print()
    return 0


def repeat(simulations: Mapping[str, tuple[Simulation, int]], seed: int) -> int:
    """One seed of each app. A failure is told; what went well, is told too."""
    for name, (simulation, _) in simulations.items():
        print(f"== {name}, seed {seed}")
        simulation.explore(1, first=seed)
        print(simulation.run(seed).story())
    return 0


if __name__ == "__main__":
    sys.exit(main())
