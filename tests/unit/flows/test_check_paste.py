"""Does a violation come as a story to read, and as a test that fails until the bug is mended?"""

from __future__ import annotations

import sys
from typing import Any

import pytest

from orchestra import Done, Undo
from orchestra.clock import SystemClock
from orchestra.flows.check.prove import Violation, check_definition
from orchestra.flows.saga import Flow, definition_of
from orchestra.testing import run
from tests.unit.flows.seeded_bugs import BUGS
from tests.unit.flows.test_seeded_bugs import BY_CHECK

PASTED = [
    "undoes_in_forward_order",
    "undoes_everything_at_once",
    "forgets_to_undo_what_may_be_done",
    "forgets_a_cancelled_sibling",
    "joins_when_the_first_branch_is_done",
    "takes_the_rejection_of_an_older_try",
    "takes_a_timeout_for_a_rejection",
    "forgets_the_timer_of_a_pause",
    "forgets_the_losers_of_any_of",
]


def violation_of(name: str) -> tuple[type[Flow], Violation]:
    flow, *_ = BY_CHECK[name]
    with BUGS[name].seeded():
        report = check_definition(definition_of(flow), elapsed=SystemClock().elapsed)
    assert report.violation is not None
    return flow, report.violation


def pasted(flow: type[Flow], violation: Violation) -> Any:
    known = {**vars(sys.modules[flow.__module__]), "run": run, "pytest": pytest, "Undo": Undo, "Done": Done}
    before = set(known)
    exec(violation.test, known)
    (name,) = {one for one in known.keys() - before if one.startswith("test_")}
    return known[name]


@pytest.mark.parametrize("name", PASTED)
def test_the_test_fails_while_the_bug_is_there_and_passes_once_it_is_mended(name: str) -> None:
    test = pasted(*violation_of(name))

    with BUGS[name].seeded(), pytest.raises((AssertionError, pytest.fail.Exception)):
        test()
    test()


@pytest.mark.parametrize("name", BY_CHECK)
def test_every_violation_can_be_pasted(name: str) -> None:
    assert callable(pasted(*violation_of(name)))


def test_the_test_reads_like_one_that_a_person_wrote() -> None:
    _, violation = violation_of("undoes_in_forward_order")

    assert violation.test.splitlines() == [
        "def test_undone_in_reverse_order() -> None:",
        "    t = run(FoodOrder, OrderPlaced(order_id='key-1', items=[Item(sku='sku-1', quantity=1)], total_cents=1))",
        "    t.expect(ReserveItems).reply(ItemsReserved(order_id='key-1'))",
        "    t.expect(ChargePayment).dead_letters()",
        "    # undone in reverse order; here reserve is undone, and charge, which came after it, is not",
        "    with pytest.raises(AssertionError):",
        "        t.expect(ReleaseItems)",
    ]


def test_the_story_says_what_happened_and_which_rule_is_broken() -> None:
    _, violation = violation_of("takes_a_timeout_for_a_rejection")

    lines = violation.story.splitlines()
    assert lines[1].endswith("starts it")
    assert "      30s  time is up for reserve" in lines
    assert lines[-2:] == [
        "  broken: no effect is left",
        "  here:   reserve may have been done, and was never undone",
    ]
    assert violation.moves == 1
