"""Is each bug that somebody could put into the engine noticed, and by what?

By ``orchestra check``, which goes through everything that may happen to one flow; by random histories against the
reference; by the simulation of whole apps. The table says which flow and which rule.
"""

from __future__ import annotations

from random import Random

import pytest

from bench import simulated
from orchestra.flows.check.prove import model_of
from orchestra.flows.check.search import Explored, Search
from orchestra.flows.saga import Flow, definition_of
from orchestra.testing import Simulation
from tests.unit.flows.kinds import AnyOf, Six, Waits
from tests.unit.flows.seeded_bugs import BUGS
from tests.unit.flows.shop import FoodOrder
from tests.unit.flows.test_model import ACTIONS, act
from tests.unit.flows.trip import Trip
from tests.unit.flows.world import History

BY_CHECK: dict[str, tuple[type[Flow], str, int]] = {
    "undoes_in_forward_order": (FoodOrder, "undone in reverse order", 2),
    "undoes_everything_at_once": (FoodOrder, "undone in reverse order", 2),
    "forgets_to_undo_what_may_be_done": (FoodOrder, "no effect is left", 1),
    "forgets_a_cancelled_sibling": (Trip, "no effect is left", 1),
    "undoes_before_siblings_are_known": (Trip, "an end is an end", 1),
    "resumes_on_a_late_reply": (FoodOrder, "nothing waits for ever", 5),
    "begins_a_join_again_on_a_duplicate": (Trip, "duplicates change nothing", 2),
    "joins_when_the_first_branch_is_done": (Six, "a step waits for what it needs", 2),
    "takes_the_rejection_of_an_older_try": (FoodOrder, "undone in reverse order", 4),
    "takes_a_timeout_for_a_rejection": (FoodOrder, "no effect is left", 1),
    "tries_again_as_another_effect": (FoodOrder, "begun anew when proven not done", 3),
    "forgets_the_timer_of_a_pause": (FoodOrder, "nothing waits for ever", 2),
    "fires_timers_that_were_cancelled": (FoodOrder, "duplicates change nothing", 1),
    "lets_a_flow_be_cancelled_behind_its_pivot": (FoodOrder, "no effect is left", 6),
    "calls_nobody": (FoodOrder, "who needs a person calls one", 4),
    "lets_anybody_decide": (Waits, "duplicates change nothing", 4),
    "keeps_an_early_event_twice": (Waits, "duplicates change nothing", 2),
    "forgets_the_losers_of_any_of": (AnyOf, "nothing waits for ever", 4),
    "gives_up_a_pivot_that_nobody_answers": (FoodOrder, "no effect is left", 5),
}
"""The flow, the rule that it breaks, and the length of the shortest history."""

RARE = {"says_twice_that_it_is_over": range(1420, 1430), "lets_anybody_decide": range(320, 330)}
"""Seeds of random histories that meet what most do not: a service that contradicts itself, a clerk who decides."""


def explore(flow: type[Flow]) -> Explored:
    return Search(model_of(definition_of(flow)), limit=2000, out_of_time=lambda: False).run()


def fails(seed: int) -> bool:
    random = Random(seed)
    try:
        history = History(random.choice)
        for _ in range(random.randrange(40)):
            act(history, random.choice(ACTIONS), random.choice)
        history.finish()
    except Exception:
        return True
    return False


@pytest.mark.parametrize("name", BY_CHECK)
def test_check_finds_it_by_the_shortest_history(name: str) -> None:
    flow, rule, moves = BY_CHECK[name]
    with BUGS[name].seeded():
        found = explore(flow).found

    assert found is not None
    assert (found.broken.rule, len(found.history) - 1) == (rule, moves)


@pytest.mark.parametrize("name", BUGS)
def test_random_histories_find_it(name: str) -> None:
    with BUGS[name].seeded():
        assert any(fails(seed) for seed in RARE.get(name, range(100)))


def test_simulation_finds_that_a_timer_is_forgotten() -> None:
    simulation = Simulation(simulated.app, simulated.one_trip, check=simulated.nothing_is_half_booked)

    with BUGS["forgets_the_timer_of_a_pause"].seeded():
        assert "waits for ever" in {simulation.run(seed).rule for seed in range(5)}


def test_no_bug_is_left_out() -> None:
    assert BUGS.keys() - BY_CHECK.keys() == {"says_twice_that_it_is_over"}
