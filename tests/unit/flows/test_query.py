"""Questions to flows and machines, answered from states alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestra.errors import FlowQueryError
from orchestra.events.envelope import compose
from orchestra.events.message import Event, Key
from orchestra.flows.decision import Status
from orchestra.flows.machine.declare import StateMachine, state
from orchestra.flows.machine.state import Data
from orchestra.flows.query import FlowView, query
from orchestra.flows.saga import definition_of, starts_on
from tests.unit.bus.meal import Meal, Placed, Silent

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Ordered(Event, type="query.ordered.v1", topic="query.orders"):
    key: Key[str]
    colour: str = "red"


class Sent(Event, type="query.sent.v1", topic="query.orders"):
    key: Key[str]


class BoxData(Data):
    scans: int = 0


class Box(StateMachine[BoxData], name="box", version=1):
    ordered = starts_on(Ordered)

    waiting = state(initial=True)
    gone = state(final=True)
    waiting.on(Sent, to=gone)

    @query
    def label(self, view: FlowView) -> str:
        return f"{self.ordered.colour}, {self.data.scans} scans, {view.status}, waits for {len(view.waits_for)}"

    @query
    def reply(self, view: FlowView) -> object:
        return view.reply(Meal.cook)


def answer(question: object, event: Event) -> object:
    definition = definition_of(question.flow)  # type: ignore[attr-defined]
    start = compose(event, id="1", source="/t", time=NOW)
    decision = definition.start(start, instance_id="i/1", run=0, now=NOW)
    return question.answer(definition, decision.state, decision.status, NOW)  # type: ignore[attr-defined]


def test_a_machine_answers_from_its_data() -> None:
    assert answer(Box.label, Ordered(key="1", colour="blue")) == "blue, 0 scans, running, waits for 1"


def test_a_machine_keeps_no_replies() -> None:
    with pytest.raises(FlowQueryError, match="a machine keeps no replies"):
        answer(Box.reply, Ordered(key="1"))


def test_a_step_that_is_not_done_has_no_reply_yet() -> None:
    assert answer(Meal.minutes, Placed(order_id="1")) is None


def test_a_step_of_another_flow_is_named() -> None:
    view = FlowView(Status.RUNNING, [], [], NOW)

    with pytest.raises(FlowQueryError, match="there is no step 'cook' in this flow"):
        view.step(Silent.cook)


def test_a_version_without_the_query_is_named() -> None:
    with pytest.raises(FlowQueryError, match="version 1 of silent has no query 'progress'"):
        Meal.progress.of(definition_of(Silent))


def test_the_question_is_asked_of_the_version_that_runs() -> None:
    assert Meal.progress.of(definition_of(Meal)).flow is Meal
    assert repr(Meal.progress) == "Meal.progress"
