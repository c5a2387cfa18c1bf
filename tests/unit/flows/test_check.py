"""Does ``check`` go through everything, say so only when it did, and find what is wrong with a flow?"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from orchestra.clock import SystemClock
from orchestra.flows.check.model import START_TIME
from orchestra.flows.check.moves import given, moves
from orchestra.flows.check.prove import Report, check_definition, model_of
from orchestra.flows.check.search import Search
from orchestra.flows.check.world import Point, World, after_decision, after_move
from orchestra.flows.draft import Draft
from orchestra.flows.saga import definition_of
from tests.unit.flows import impure, kinds
from tests.unit.flows.incident import Incident
from tests.unit.flows.loan import CreditCheck, Loan
from tests.unit.flows.parcel import Parcel
from tests.unit.flows.trip import Ingest

MACHINES: tuple[type[Any], ...] = (Parcel, Loan, Incident, CreditCheck)


def report_of(flow: type[Any], **options: Any) -> Report:
    return check_definition(definition_of(flow), elapsed=SystemClock().elapsed, **options)


def places(report: Report) -> set[tuple[str, str]]:
    return {(one.place, one.code) for one in report.findings}


# ---- what is proved


LARGE = (kinds.AnyOf, Incident)
SMALL = [flow for flow in (*kinds.ALL, Ingest, *MACHINES) if flow not in LARGE]


@pytest.mark.parametrize("flow", SMALL, ids=lambda flow: flow.__name__)
def test_every_kind_of_node_is_gone_through(flow: type[Any]) -> None:
    report = report_of(flow)

    assert report.violation is None, report.violation.story
    assert report.verdict == "proved"


def test_a_flow_that_is_called_may_be_undone_when_it_is_completed() -> None:
    alone, called = report_of(kinds.Child), report_of(kinds.Child, called=True)

    assert called.verdict == "proved"
    assert called.states > alone.states


def test_a_flow_that_forgets_its_caller_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Draft, "answer", lambda self, event, phase="action": None)
    violation = report_of(kinds.Child, called=True).violation

    assert violation is not None
    assert (violation.rule, violation.moves) == ("whoever called is answered", 1)


@pytest.mark.soak
@pytest.mark.parametrize("flow", LARGE, ids=lambda flow: flow.__name__)
def test_large_flows_too(flow: type[Any]) -> None:
    assert report_of(flow).verdict == "proved"


@pytest.mark.parametrize("flow", [kinds.Settled, kinds.Parent, kinds.Halts, Loan], ids=lambda flow: flow.__name__)
def test_whatever_really_happens_was_gone_through(flow: type[Any]) -> None:
    """What is merged is equal: no walk, however long, comes to a state that no equal was found of."""
    model = model_of(definition_of(flow))
    search = Search(model, limit=10_000, out_of_time=lambda: False)
    assert search.run().finished
    for seed in range(12):
        random = Random(seed)
        model.oracle.begin([random.randrange(2) for _ in range(9)])
        decision = model.definition.start(model.start, instance_id=model.instance, run=0, now=START_TIME)
        point = Point(decision.state, decision.status, decision.timers, after_decision(World(), decision), START_TIME)
        for _ in range(40):
            assert search.has_seen(point)
            move = random.choice(list(moves(model, point)))
            what, now = given(model, point, move)
            model.oracle.begin([] if move.what != "event again" else [1] * 9)
            read = point.world.values.__getitem__
            decision = model.definition.advance(point.state, what, now=now, values=read)
            if decision.changed:
                world = after_decision(after_move(point.world, point, move), decision)
                point = Point(decision.state, decision.status, decision.timers, world, now)


# ---- what is not


def test_a_search_that_gives_up_has_proved_nothing() -> None:
    report = report_of(kinds.Six, limit=50)

    assert (report.verdict, report.violation, report.states > 50) == ("not exhausted", None, True)


def test_a_search_that_runs_out_of_time_has_proved_nothing() -> None:
    clock = iter(range(1000))
    report = check_definition(definition_of(kinds.Six), seconds=1, elapsed=lambda: float(next(clock)))

    assert report.verdict == "not exhausted"


def test_methods_that_are_not_deterministic_are_named_with_what_they_called() -> None:
    dices, remembers = report_of(impure.Dices, limit=1), report_of(impure.Remembers, limit=1)

    assert dices.verdict == remembers.verdict == "violation"
    assert [one.text.split(":")[0] for one in dices.findings] == [
        "it calls uuid.uuid4",
        "it calls random.choice",
        "it calls datetime.now",
    ]
    assert places(remembers) == {(f"Remembers.{name}", "not deterministic") for name in ("counts", "reads", "over")}


def test_a_method_that_cannot_take_a_sample_is_named_with_the_remedy() -> None:
    (finding, *_) = report_of(impure.Raises).findings

    assert (finding.place, finding.code) == ("Raises.looks_up", "method raises")
    assert "KeyError: 'currency-1'" in finding.text
    assert "Field(examples=[...])" in finding.text


def test_a_wait_without_timeout_is_noted() -> None:
    assert ("Parent.child", "wait without timeout") in places(report_of(kinds.Parent, limit=1))
    assert ("Parcel.returning", "wait without timeout") in places(report_of(Parcel, limit=1))
    assert not places(report_of(kinds.Waits, limit=1))


def test_a_flow_that_leaves_effects_standing_when_it_is_cancelled_is_noted() -> None:
    assert ("Ingest", "no compensation") in places(report_of(Ingest, limit=1))


def test_a_step_that_nothing_leads_to_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    definition = definition_of(kinds.Child)
    model = model_of(definition)
    explored = Search(model, limit=1000, out_of_time=lambda: False).run()

    assert explored.reached == {"a", "b"}
    monkeypatch.setattr("orchestra.flows.check.search.nodes_of", lambda state: {"a": {}})
    report = check_definition(definition, elapsed=SystemClock().elapsed)
    assert ("Child.b", "unreachable") in places(report)
    assert report.verdict == "violation"
