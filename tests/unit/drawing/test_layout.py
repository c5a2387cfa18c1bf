"""Does everything have a place of its own?"""

from __future__ import annotations

from itertools import combinations

import pytest

from orchestra.drawing.layout import EDGE_TEXT, Layout, PlacedGroup, PlacedShape, lay_out
from orchestra.drawing.text import width
from orchestra.flows.flow_picture import picture_of
from orchestra.flows.picture import Picture
from orchestra.flows.saga import graph_of
from tests.unit.drawing.pictures import EVERY_KIND, LOAN, MARKED
from tests.unit.flows.trip import Trip

PICTURES = [picture_of(graph_of(Trip)), LOAN, MARKED, EVERY_KIND]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: str(picture.title))
def test_no_two_shapes_overlap(picture: Picture) -> None:
    for one, other in combinations(lay_out(picture).shapes, 2):
        assert not _overlap(_box(one), _box(other)), f"{one.shape.id} and {other.shape.id}"


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: str(picture.title))
def test_every_line_begins_and_ends_at_its_shapes(picture: Picture) -> None:
    layout = lay_out(picture)

    assert len(layout.lines) == len(picture.edges)
    places = {placed.shape.id: _box(placed) for placed in layout.shapes}
    places |= {placed.group.id: (placed.x, placed.y, placed.width, placed.height) for placed in layout.groups}
    for line in layout.lines:
        assert _is_near(line.curves[0][0], places[line.line.start])
        assert _is_near(line.tip, places[line.line.end])


def test_a_group_holds_its_shapes_and_its_groups_and_no_others() -> None:
    layout = lay_out(LOAN)

    groups = {placed.group.id: placed for placed in layout.groups}
    for shape in layout.shapes:
        for name, group in groups.items():
            assert _holds(group, _box(shape)) == (name in _around(layout, shape.shape.group))
    assert _holds(groups["checking"], (groups["credit"].x, groups["credit"].y, groups["credit"].width, 1))


def test_a_label_stands_on_no_shape() -> None:
    layout = lay_out(LOAN)

    for line in layout.lines:
        if line.at is not None:
            across = max(width(text, EDGE_TEXT) for text in line.label)
            label = (line.at[0] - across / 2, line.at[1] - 5, across, 10.0)
            assert not any(_overlap(label, _box(shape)) for shape in layout.shapes)
            within = [
                placed for placed in layout.groups if _overlap(label, (placed.x, placed.y, placed.width, placed.height))
            ]
            assert all(_holds(group, label) for group in within), "it crosses a frame"


def _around(layout: Layout, group: str | None) -> set[str]:
    parents = {placed.group.id: placed.group.parent for placed in layout.groups}
    found: set[str] = set()
    while group is not None:
        found.add(group)
        group = parents[group]
    return found


Rectangle = tuple[float, float, float, float]


def _box(placed: PlacedShape) -> Rectangle:
    return placed.x, placed.y, placed.box.width, placed.box.height


def _overlap(one: Rectangle, other: Rectangle) -> bool:
    return (
        one[0] < other[0] + other[2]
        and other[0] < one[0] + one[2]
        and one[1] < other[1] + other[3]
        and other[1] < one[1] + one[3]
    )


def _is_near(point: tuple[float, float], place: Rectangle) -> bool:
    return _overlap((point[0] - 3, point[1] - 3, 6, 6), place)


def _holds(group: PlacedGroup, inner: Rectangle) -> bool:
    return (
        group.x <= inner[0]
        and group.y <= inner[1]
        and inner[0] + inner[2] <= group.x + group.width
        and inner[1] + inner[3] <= group.y + group.height
    )
