"""Every kind of node, state machines and the example services under faults; and the engine's seeded bugs, found."""

from __future__ import annotations

import pytest

from orchestra.testing import Simulation, SimulationFailed
from tests import simulated
from tests.unit.flows.seeded_bugs import BUGS


@pytest.fixture(autouse=True)
def _no_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCHESTRA_SEED", raising=False)


@pytest.mark.parametrize(
    ("simulation", "seeds"),
    [
        pytest.param(simulated.ALL_FLOWS, 25, id="all flows"),
        pytest.param(simulated.MACHINES, 8, id="machines"),
        pytest.param(simulated.FOOD, 4, id="food delivery"),
        pytest.param(simulated.TRANSFERS, 4, id="account transfer"),
        pytest.param(simulated.TRAVEL, 4, id="travel booking"),
        pytest.param(simulated.PARCELS, 4, id="package tracking"),
        pytest.param(simulated.VALIDATION, 4, id="order validation"),
    ],
)
def test_what_must_hold_holds(simulation: Simulation, seeds: int) -> None:
    assert simulation.explore(seeds).runs == seeds


SOON = (
    "forgets_the_losers_of_any_of",
    "gives_up_a_pivot_that_nobody_answers",
    "joins_when_the_first_branch_is_done",
    "resumes_on_a_late_reply",
    "takes_a_timeout_for_a_rejection",
)
"""Of the engine's seeded bugs, those that a few seeds find. All of them: ``test_found_by_check.py`` and others."""


@pytest.mark.parametrize("name", SOON)
def test_a_seeded_bug_is_found(name: str) -> None:
    with BUGS[name].seeded(), pytest.raises(SimulationFailed):
        simulated.ALL_FLOWS.explore(150)
