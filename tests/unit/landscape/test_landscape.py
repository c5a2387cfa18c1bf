"""Is what is wrong found, and nothing else?"""

from __future__ import annotations

from orchestra.drawing.svg import svg
from orchestra.flows.picture import LineKind, ShapeKind
from orchestra.flows.saga import definition_of
from orchestra.landscape.actor import Actor, Landscape, Reaction, Signal
from orchestra.landscape.finding import Finding, FindingKind, find
from orchestra.landscape.map import map_of
from orchestra.landscape.survey import survey
from tests.unit.flows.parcel import Parcel
from tests.unit.landscape.storm import calm, left, right, watch

ALL = survey([left, right, watch], calm.definitions)


def _of(kind: FindingKind, findings: list[Finding]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    return [(one.about, one.where) for one in findings if one.kind is kind]


def test_handlers_that_set_each_other_off_are_a_circle() -> None:
    assert _of(FindingKind.CIRCLE, find(ALL)) == [
        (("storm.ping.v1", "storm.pong.v1"), ("left.on_ping", "right.on_pong"))
    ]


def test_what_a_flow_waits_for_after_its_own_command_is_no_circle() -> None:
    assert all("calm.seen.v1" not in about for about, _ in _of(FindingKind.CIRCLE, find(ALL)))


def test_an_event_that_nobody_reacts_to_is_found() -> None:
    assert _of(FindingKind.EVENT_UNHANDLED, find(ALL)) == [(("calm.told.v1",), ("calm", "calm.seen"))]


def test_commands_that_nobody_handles_or_sends_are_found() -> None:
    assert [about for about, _ in _of(FindingKind.COMMAND_UNHANDLED, find(ALL))] == [("calm.ship.v1",)]
    assert _of(FindingKind.COMMAND_UNSENT, find(ALL)) == [(("calm.forgotten.v1",), ("left.forgotten",))]


def test_what_others_send_and_react_to_is_no_finding() -> None:
    kinds = {one.kind for one in find(ALL, outside=["calm.*"])}

    assert kinds == {FindingKind.CIRCLE}


def test_a_message_that_a_handler_publishes_is_found_in_its_code() -> None:
    [pong] = [reaction for _, reaction in ALL.reactions() if reaction.name == "right.on_pong"]

    assert [signal.type for signal in pong.perhaps] == ["storm.ping.v1"]


def test_a_pattern_reacts_to_events_and_not_to_commands() -> None:
    takers = {signal.type: [actor.name for actor in ALL.takers(signal)] for signal in ALL.signals}

    assert takers["storm.ping.v1"] == ["left", "watch"]
    assert takers["calm.look.v1"] == ["left"]


def test_each_circle_is_told_once_and_as_short_as_it_is() -> None:
    signals = {name: Signal(name, name.upper(), name, is_command=False) for name in "abcd"}
    ways = {"a": "b", "b": "ac", "c": "d", "d": "a"}
    reactions = tuple(
        Reaction(name=f"s.{name}", takes=(signals[name],), gives=tuple(signals[other] for other in others))
        for name, others in ways.items()
    )

    findings = find(Landscape([Actor(name="s", kind="service", reactions=reactions)]))

    assert [one.about for one in findings] == [("a", "b"), ("c", "d", "a", "b")]


def test_a_state_machine_takes_and_gives() -> None:
    [machine] = survey([], [definition_of(Parcel)]).actors

    assert machine.reactions
    assert any(signal.is_command for signal in machine.gives()) or machine.gives() == ()


def test_the_map_shows_circles_and_gaps_in_red() -> None:
    picture = map_of(ALL, find(ALL), title="storm")

    red = {(line.start, line.end) for line in picture.edges if line.kind is LineKind.TROUBLE}
    assert {("service:left", "storm.pong.v1"), ("storm.pong.v1", "service:right")} <= red
    assert ("storm.pong.v1", "service:watch") not in red
    kinds = {shape.id: shape.kind for shape in picture.nodes}
    assert kinds["calm.told.v1"] is kinds["calm.ship.v1"] is kinds["calm.forgotten.v1"] is ShapeKind.TROUBLE
    assert kinds["calm.asked.v1"] is ShapeKind.EVENT
    assert svg(picture).startswith("<svg")
