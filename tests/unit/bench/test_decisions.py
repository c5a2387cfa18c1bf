from __future__ import annotations

import pytest

from bench.decisions import history, records
from bench.flows import Parallel, ThreeSteps
from bench.many import EDGE, Stored, figures
from orchestra.flows.saga import definition_of


def test_every_step_is_measured() -> None:
    assert len(list(history(definition_of(ThreeSteps)))) == 3
    assert len(list(history(definition_of(Parallel)))) == 20


@pytest.mark.virtual_time
async def test_an_instance_of_three_steps_is_a_kilobyte() -> None:
    sizes = await records()

    assert len(sizes) == 4
    assert max(instance for instance, _ in sizes) <= 1024


def test_an_item_that_takes_longer_at_the_end_is_told() -> None:
    slower = [Stored(f"!value/f/1/0/each/{number}", 100, number**1.5) for number in range(3 * EDGE)]
    found = {figure.name: figure for figure in figures("here", [*slower, Stored("f/1", 70_000, 0)])}

    assert found["for_each here: last / first"].holds is False
    assert found["for_each here: largest record"].holds is False
