"""What a machine looks like, and how far one instance of it is."""

from __future__ import annotations

from orchestra.drawing.mermaid import mermaid
from orchestra.flows.flow_picture import draw
from orchestra.flows.instance_picture import marked
from orchestra.flows.picture import Group, GroupKind, LineKind, Mark, Shape, ShapeKind
from orchestra.flows.saga import definition_of
from tests.unit.flows.incident import Acknowledged, AlarmRaised, Incident
from tests.unit.flows.loan import Loan, LoanRequested
from tests.unit.flows.parcel import Parcel
from tests.unit.flows.play import Play

PARCEL, LOAN = draw(definition_of(Parcel)), draw(definition_of(Loan))
SHAPES: dict[str, Shape] = {shape.id: shape for shape in (*PARCEL.nodes, *LOAN.nodes)}
GROUPS: dict[str, Group] = {group.id: group for group in (*PARCEL.groups, *LOAN.groups)}


def test_states_are_boxes_and_states_with_states_inside_are_frames() -> None:
    assert SHAPES["moving"].group == "under_way"
    assert (GROUPS["checking"].parent, GROUPS["credit"].parent) == ("pending", "checking")
    assert (GROUPS["checking"].kind, GROUPS["credit"].kind) == (GroupKind.STATE, GroupKind.REGION)
    assert SHAPES["paid_out"].kind is ShapeKind.FINAL
    assert SHAPES["declined"].kind is ShapeKind.BAD_END


def test_a_state_says_what_it_does() -> None:
    assert [part.label for part in SHAPES["lost"].parts] == [
        "publishes ParcelLost",
        "sends SearchParcel",
        "sends EndSearch",
    ]
    assert [part.label for part in SHAPES["scoring"].parts] == ["runs the flow credit-check"]
    assert [part.label for part in SHAPES["review"].parts] == ["asks a credit-officer"]
    assert SHAPES["returning"].detail == ["Scanned, if is newer: stays"]


def test_arrows_say_what_triggers_them() -> None:
    lines = {(line.start, line.end): line for line in (*PARCEL.edges, *LOAN.edges)}
    assert (lines["moving", "lost"].label, lines["moving", "lost"].kind) == ("after 7 days", LineKind.TIMER)
    assert lines["checking", "declined"].label == "done, if is risky"
    assert (lines["scoring", "declined"].label, lines["scoring", "declined"].kind) == ("score failed", LineKind.UNDO)
    assert lines["review", "paid_out"].label == "decision approved"


def test_an_instance_is_drawn_over_its_machine() -> None:
    play = Play(Incident, AlarmRaised(incident_id="i-1", severity=1))
    play.occur(Acknowledged(incident_id="i-1", by="ann"))
    picture = marked(draw(play.definition), play.definition.steps(play.last.state), instance=play.id, status="running")

    marks = {shape.id: shape.mark for shape in picture.nodes} | {group.id: group.mark for group in picture.groups}
    assert (marks["unowned"], marks["first_line"], marks["owned"]) == (Mark.DONE, Mark.DONE, Mark.RUNNING)
    assert marks["closed"] is Mark.NOT_REACHED


def test_a_machine_can_be_written_as_mermaid() -> None:
    assert mermaid(LOAN).startswith(("---", "flowchart", "%%"))


def test_a_transition_to_a_state_inside_is_told_in_the_frame() -> None:
    assert any(line == "cancel: to returning" for line in GROUPS["under_way"].detail)
    assert all((line.start, line.end) != ("under_way", "returning") for line in PARCEL.edges)


def test_a_state_within_one_that_is_not_entered_has_no_mark_of_being_begun() -> None:
    play = Play(Loan, LoanRequested(loan_id="l-1", amount=9000, clerk="carl"))
    picture = marked(LOAN, play.definition.steps(play.last.state), instance=play.id, status="running")

    marks = {shape.id: shape.mark for shape in picture.nodes}
    assert (marks["scoring"], marks["review"], marks["declined"]) == (Mark.RUNNING, Mark.NOT_REACHED, Mark.NOT_REACHED)
    groups = {group.id: group.mark for group in picture.groups}
    assert groups["credit"] is Mark.RUNNING
