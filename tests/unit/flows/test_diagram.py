"""What the picture of a flow shows."""

from __future__ import annotations

from orchestra.flows.diagram import mermaid
from orchestra.flows.graph import Graph, GraphNode
from orchestra.flows.saga import graph_of
from tests.unit.flows.shop import FoodOrder
from tests.unit.flows.trip import Ingest, Trip, TripAsked


def test_the_picture_of_the_food_order() -> None:
    picture = mermaid(graph_of(FoodOrder))

    lines = [line.strip() for line in picture.splitlines()]
    assert lines[0] == "flowchart TD"
    for line in (
        "start --> step_reserve",
        "step_reserve --> step_charge",
        "step_charge --> step_assign",
        "step_assign --> completed",
        "step_charge -. undone by .-> undo_charge",
        "undo_charge -.-> undo_reserve",
        "undo_reserve -.-> compensated",
    ):
        assert line in lines
    assert any(line.startswith("step_assign{{") and "without end" in line for line in lines)


def test_parallel_steps_joins_and_order_without_data_are_drawn() -> None:
    lines = [line.strip() for line in mermaid(graph_of(Trip)).splitlines()]

    for line in (
        "start --> step_flight",
        "start --> step_hotel",
        "step_hotel --> step_pay",
        "step_visa -- after --> step_pay",
        "undo_visa -.-> undo_flight",
    ):
        assert line in lines
    assert "undo_hotel -.-> undo_flight" not in lines


def test_a_flow_that_is_no_saga_has_no_compensated_end() -> None:
    assert "compensated" not in mermaid(graph_of(Ingest)).replace("classDef", "")


def test_any_kind_of_node_is_drawn() -> None:
    nodes = {"wait": GraphNode(name="wait")}
    starts = {"trip.asked.v1": TripAsked}
    graph = Graph(name="g", version=1, label="G", owner=object, saga=False, starts=starts, nodes=nodes)

    assert 'step_wait["wait"]' in mermaid(graph)
