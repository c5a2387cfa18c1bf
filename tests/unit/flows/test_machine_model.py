"""Does the engine do what a reference does that was written apart from it, on charts that nobody would draw?"""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from orchestra import Data, Event, Key
from orchestra.errors import DefinitionError
from orchestra.events.envelope import compose
from orchestra.events.message import spec_of
from orchestra.flows.decision import Decision, Occurred, Status
from orchestra.flows.machine import walk as machine_walk
from orchestra.flows.machine.chart import Chart, ChartState, Method, Transition
from orchestra.flows.machine.decide import CompiledMachine
from tests.unit.flows.machine_reference import Path, Reference, Rule, Tree, paths
from tests.unit.flows.play import EPOCH


class Go(Event, type="model.go.v1", topic="model"):
    id: Key[str]


class A(Event, type="model.a.v1", topic="model"):
    id: Key[str]


class B(Event, type="model.b.v1", topic="model"):
    id: Key[str]


class Trace(Data):
    seen: tuple[str, ...] = ()


class Owner:
    now: Any
    data: Trace


EVENTS: dict[str, type[Event]] = {"A": A, "B": B}
LEAVES = st.sampled_from([Tree("atomic"), Tree("atomic"), Tree("final")])


def grown(children: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    several = st.lists(children, min_size=1, max_size=3)
    return st.one_of(
        several.map(lambda inside: Tree("compound", tuple(inside))),
        st.lists(several.map(lambda inside: Tree("compound", tuple(inside))), min_size=2, max_size=2).map(
            lambda inside: Tree("parallel", tuple(inside))
        ),
    )


TREES = st.lists(st.recursive(LEAVES, grown, max_leaves=8), min_size=1, max_size=3).map(
    lambda inside: Tree("compound", tuple(inside))
)


@st.composite
def charts(draw: st.DrawFn) -> tuple[Tree, list[Rule]]:
    root = draw(TREES)
    states = paths(root)
    assume(root.children[0].kind != "final")
    rules: list[Rule] = []
    sources = [path for path, tree in states.items() if tree.kind != "final"]
    for number in range(draw(st.integers(0, 10))):
        source = draw(st.sampled_from(sources))
        target = draw(st.none() | st.sampled_from(list(states)))
        event = draw(st.sampled_from(["A", "B", "A", "B", "", f"done {source}"]))
        assume(event or target is not None)
        rules.append(Rule(source, event, target, draw(st.booleans()), number))
    return root, rules


def noted(what: str) -> Method:
    return Method(label=what, make=lambda me, *_: Trace(seen=(*me.data.seen, what)), gives=(Trace,))


def name(path: Path) -> str:
    return "s" + "_".join(map(str, path))


def chart_of(root: Tree, rules: list[Rule]) -> Chart:
    states: dict[str, ChartState] = {}
    for order, (path, tree) in enumerate(paths(root).items()):
        mine: dict[str, tuple[Transition, ...]] = {}
        for rule in rules:
            if rule.source == path:
                said = {"A": "event:model.a.v1", "B": "event:model.b.v1", "": ""}
                trigger = said.get(rule.event, f"done:{name(path)}")
                mine[trigger] = (*mine.get(trigger, ()), transition(rule, trigger))
        parent = path[:-1]
        states[name(path)] = ChartState(
            name=name(path),
            parent=name(parent) if parent else None,
            order=order,
            initial=path[-1] == 0,
            final=tree.kind == "final",
            parallel=tree.kind == "parallel",
            failed=False,
            children=tuple(name((*path, place)) for place in range(len(tree.children))),
            ancestors=tuple(name(path[:end]) for end in range(len(path) - 1, 0, -1)),
            transitions=mine,
            entries=(noted(f"+{path}"),),
            exits=(noted(f"-{path}"),),
        )
    return Chart(
        name="model",
        version=1,
        label="Model",
        owner=Owner,
        data=Trace,
        begin=None,
        starts={spec_of(Go).type: Go},
        states=states,
        events={spec_of(event).type: event for event in EVENTS.values()},
        keys={},
        unexpected="ignore",
    )


def transition(rule: Rule, trigger: str) -> Transition:
    return Transition(
        source=name(rule.source),
        trigger=trigger,
        label=rule.event,
        to=None if rule.target is None else name(rule.target),
        when=lambda me, *_: rule.guard,
        action=noted(f"!{rule.number}"),
        has_value=rule.event in EVENTS,
    )


class Played:
    """The engine at work: its state goes through JSON after every input, as in the log."""

    def __init__(self, root: Tree, rules: list[Rule]) -> None:
        self.machine = CompiledMachine(chart_of(root, rules))
        event = compose(Go(id="1"), id="e-0", source="/model", time=EPOCH)
        self.last = self.machine.start(event, instance_id="model/1", run=0, now=EPOCH)

    def give(self, event: str, number: int) -> Decision:
        made = compose(EVENTS[event](id="1"), id=f"e-{number}", source="/model", time=EPOCH)
        state = json.loads(json.dumps(self.last.state))
        self.last = self.machine.advance(state, Occurred(made), now=EPOCH + timedelta(seconds=number))
        return self.last

    def seen(self) -> list[str]:
        value: list[str] = json.loads(str(self.last.state["data"]))["seen"]
        return value

    def active(self) -> set[str]:
        nodes: Any = self.last.state["nodes"]
        return {name for name, node in nodes.items() if node["s"] == "active"}


def agree(played: Played, reference: Reference) -> None:
    assert played.seen() == reference.trace
    assert played.active() == {name(path) for path in reference.active}
    assert (played.last.status is Status.COMPLETED) == reference.is_over


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(charts(), st.lists(st.sampled_from("AB"), max_size=6))
def test_a_machine_does_what_the_reference_does(chart: tuple[Tree, list[Rule]], events: list[str]) -> None:
    reference = Reference(*chart)
    with pytest.MonkeyPatch.context() as patch:
        # Eventless transitions in a circle: the engine stops there, and the reference never would.
        patch.setattr(machine_walk, "MAX_STEPS", 30)
        with contextlib.suppress(DefinitionError):
            played = Played(*chart)
            reference.start()
            agree(played, reference)
            for number, event in enumerate(events if not reference.is_over else "", 1):
                played.give(event, number)
                reference.give(event)
                agree(played, reference)
