"""What the picture of a flow holds."""

from __future__ import annotations

from orchestra.flows.flow_picture import COMPENSATED, COMPLETED, START, picture_of
from orchestra.flows.graph import Graph, GraphNode
from orchestra.flows.picture import LineKind, Picture, Shape, ShapeKind
from orchestra.flows.saga import graph_of
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
