"""What the picture of a flow holds."""

from __future__ import annotations

import pytest

from orchestra.drawing.dot import dot
from orchestra.drawing.mermaid import mermaid
from orchestra.drawing.svg import svg
from orchestra.duration import in_words
from orchestra.flows.flow_picture import COMPENSATED, COMPLETED, START, draw, picture_of
from orchestra.flows.graph import Graph, GraphNode
from orchestra.flows.picture import LineKind, Picture, Shape, ShapeKind
from orchestra.flows.saga import Flow, definition_of, graph_of
from tests.unit.flows.holiday import Careful, Patient, Quick, Race, Survey, WithOuting
from tests.unit.flows.packing import Polling, Shipment
from tests.unit.flows.shop import FoodOrder
from tests.unit.flows.trip import Ingest, Trip, TripAsked


def test_the_picture_of_the_food_order() -> None:
    picture = picture_of(graph_of(FoodOrder))

    assert _pairs(picture) == [
        (START, "reserve"), ("reserve", "charge"), ("charge", "assign"), ("assign", COMPENSATED), ("assign", COMPLETED),
    ]  # fmt: skip
    assert [part.label for part in _shape(picture, "charge").parts] == ["refund"]
    assert _shape(picture, "assign").kind is ShapeKind.PIVOT


def test_how_long_and_how_often_is_told() -> None:
    picture = picture_of(graph_of(Trip))

    assert "up to 2 tries of 30 s" in _shape(picture, "hotel").detail
    assert "at most 30 s" in _shape(picture, "flight").detail
    assert "tries of 30 s" in _shape(picture, "tell").detail


def test_lines_that_others_imply_are_left_out() -> None:
    pairs = _pairs(picture_of(graph_of(Trip)))

    assert ("visa", "pay") in pairs
    assert ("flight", "pay") not in pairs
    assert ("flight", "tell") not in pairs


def test_order_without_data_is_another_kind_of_line() -> None:
    picture = picture_of(graph_of(Trip))

    kinds = {(line.start, line.end): line.kind for line in picture.edges}
    assert kinds["hotel", "pay"] is LineKind.NEXT
    assert kinds["visa", "pay"] is LineKind.AFTER


def test_a_flow_that_is_no_saga_has_no_compensated_end() -> None:
    picture = picture_of(graph_of(Ingest))

    assert COMPENSATED not in {shape.id for shape in picture.nodes}
    assert any("halts" in note for note in picture.notes)


def test_any_kind_of_node_is_drawn() -> None:
    nodes = {"wait_a_bit": GraphNode(name="wait_a_bit")}
    starts = {"trip.asked.v1": TripAsked}
    graph = Graph(name="g", version=1, label="G", owner=object, saga=False, starts=starts, nodes=nodes)

    assert _shape(picture_of(graph), "wait_a_bit").label == "wait a bit"


def _pairs(picture: Picture) -> list[tuple[str, str]]:
    return [(line.start, line.end) for line in picture.edges]


def _shape(picture: Picture, name: str) -> Shape:
    return next(shape for shape in picture.nodes if shape.id == name)


def _drawn(flow: type[Flow], name: str) -> tuple[ShapeKind, str, tuple[str, ...]]:
    shape = _shape(draw(definition_of(flow)), name)
    return shape.kind, shape.caption or "", tuple(shape.detail)


def test_waits_pauses_and_people_are_told_with_what_becomes_of_them() -> None:
    assert _drawn(Careful, "insurance") == (ShapeKind.STEP, "only if is long", ("Book", "at most 30 s"))
    assert _drawn(Careful, "agreed") == (
        ShapeKind.APPROVAL,
        "",
        ("boss", "after 2 days owner too", "at most 7 days, then fails", "if rejected, fails"),
    )
    assert _drawn(Careful, "night") == (ShapeKind.DELAY, "", ("8 h",))
    assert _drawn(Careful, "paid") == (ShapeKind.WAIT, "", ("Paid", "where is enough", "at most 5 days, then fails"))


def test_loops_are_told_with_their_bounds() -> None:
    assert _drawn(Shipment, "pack") == (
        ShapeKind.FOR_EACH,
        "for each of lines, 2 at a time",
        ("PackLine", "up to 2 tries of 10 s"),
    )
    kind, caption, detail = _drawn(Polling, "poll")
    assert (kind, caption) == (ShapeKind.REPEAT, "again and again, until is ready")
    assert detail[-1] == "every 30 s, 3 times at most, then fails"


def test_a_call_names_the_flow_that_runs() -> None:
    kind, _, detail = _drawn(WithOuting, "outing")

    assert kind is ShapeKind.CALL
    assert detail[0] == "flow outing"


def test_a_join_that_bears_failures_has_a_frame_around_its_branches() -> None:
    picture = draw(definition_of(Survey))

    [frame] = picture.groups
    inside = {shape.id for shape in picture.nodes if shape.group == frame.id}
    assert inside == {"one", "more", "two", "three", "all_of"}
    assert [line.start for line in picture.edges if line.end == COMPENSATED] == ["all_of"]


def test_every_kind_of_node_in_every_format() -> None:
    for flow in (Race, Survey, Careful, Quick, WithOuting, Patient, Shipment, Polling):
        picture = draw(definition_of(flow))
        for write in (svg, dot, mermaid):
            text = write(picture)
            assert all(shape.label in text for shape in picture.nodes)


@pytest.mark.parametrize(
    ("length", "told"),
    [(0.2, "200 ms"), (30, "30 s"), (90, "1.5 min"), (7200, "2 h"), (86400, "1 day"), (14 * 86400, "14 days")],
)
def test_lengths_of_time_are_told_in_words(length: float, told: str) -> None:
    assert in_words(length) == told
