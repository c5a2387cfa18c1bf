"""Does ``prove`` say that a flow ends as it must, and fail with the story where it does not?"""

from __future__ import annotations

import pytest

from orchestra.testing import prove
from tests.unit.flows.impure import Dices
from tests.unit.flows.kinds import Child, Six
from tests.unit.flows.seeded_bugs import BUGS


def test_a_flow_that_ends_as_it_must_is_proved() -> None:
    report = prove(Child)

    assert (report.verdict, report.states, report.findings) == ("proved", 31, [])


def test_a_flow_that_does_not_fails_with_the_story_and_the_test() -> None:
    with BUGS["takes_a_timeout_for_a_rejection"].seeded(), pytest.raises(AssertionError) as caught:
        prove(Child)

    assert "broken: no effect is left" in str(caught.value)
    assert "def test_no_effect_is_left() -> None:" in str(caught.value)


def test_a_mistake_fails_too() -> None:
    with pytest.raises(AssertionError, match=r"Dices\.first: not deterministic: it calls uuid\.uuid4"):
        prove(Dices)


def test_a_search_that_gave_up_proves_nothing() -> None:
    with pytest.raises(AssertionError, match="not all: no violation so far"):
        prove(Six, limit=20)
