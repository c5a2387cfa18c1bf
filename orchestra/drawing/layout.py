"""Where does everything go? Graphviz says, by way of the wheel of pygraphviz, which brings it along.

Graphviz is given sizes and never text: it would measure that with whatever fonts the machine has. So a picture comes
out the same everywhere. Lengths are pixels, from the top left corner.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestra.drawing.box import Box, box_of
from orchestra.drawing.look import wrapped
from orchestra.drawing.text import width
from orchestra.errors import SettingsError
from orchestra.flows.picture import Group, Line, LineKind, Picture, Shape

Point = tuple[float, float]

EDGE_TEXT, GROUP_TEXT = 11.0, 12.0
_EDGE_LEADING, _GROUP_LEADING = 14.0, 17.0
_EDGE_CHARACTERS = 30


@dataclass(frozen=True, slots=True)
class PlacedShape:
    """A shape and its box; ``x`` and ``y`` are those of its top left corner."""

    shape: Shape
    box: Box
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class PlacedLine:
    """A line as Bézier curves of ``1 + 3n`` points (two, where a label stands between them), the tip of its arrow, and
    the middle of its label."""

    line: Line
    curves: tuple[tuple[Point, ...], ...]
    tip: Point
    label: tuple[str, ...]
    at: Point | None


@dataclass(frozen=True, slots=True)
class PlacedGroup:
    """A group's frame, and where its text begins."""

    group: Group
    x: float
    y: float
    width: float
    height: float
    label: tuple[str, ...]
    at: Point


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole picture, laid out."""

    width: float
    height: float
    shapes: tuple[PlacedShape, ...]
    lines: tuple[PlacedLine, ...]
    groups: tuple[PlacedGroup, ...]


def lay_out(picture: Picture) -> Layout:
    """The picture with a place for everything. Blocks for some milliseconds.

    Raises:
        SettingsError: pygraphviz is not installed, or lacks a library of the system; says how to get it.
    """
    try:
        from pygraphviz import AGraph
    except ModuleNotFoundError as error:
        raise SettingsError(
            "SVG needs pygraphviz, whose wheel brings Graphviz along: pip install 'orchestra[graph]'. "
            "Mermaid and DOT need nothing: --format mermaid"
        ) from error
    except ImportError as error:
        raise SettingsError(
            f"SVG needs Graphviz, which cannot be loaded: {error}. On Debian or Ubuntu: apt-get install libglib2.0-0 "
            "libx11-6 libxext6 libxrender1. Mermaid and DOT need nothing: --format mermaid"
        ) from error
    boxes = {shape.id: box_of(shape) for shape in picture.nodes}
    plan = _Plan(picture, boxes)
    graph = AGraph(string="\n".join(plan.dot()))
    try:
        found = json.loads(graph.draw(format="json", prog="dot") or b"{}")
    finally:
        graph.close()
    return plan.read(found)


def group_label(group: Group) -> tuple[str, ...]:
    """The lines at the top of a group's frame."""
    return tuple(line for text in (group.label, *group.detail) for line in wrapped(text, 60))


def line_label(line: Line) -> tuple[str, ...]:
    """The lines of text beside a line."""
    return tuple(wrapped(line.label, _EDGE_CHARACTERS))


class _Plan:
    """What Graphviz is told, and what it says."""

    def __init__(self, picture: Picture, boxes: Mapping[str, Box]) -> None:
        self._picture = picture
        self._boxes = boxes
        self._names = {shape.id: f"n{number}" for number, shape in enumerate(picture.nodes)}
        self._clusters = {group.id: f"cluster_{number}" for number, group in enumerate(picture.groups)}

    def dot(self) -> Iterator[str]:
        yield "digraph {"
        yield f"rankdir={'LR' if self._picture.is_wide else 'TB'}; compound=true; nodesep=0.4; ranksep=0.45;"
        yield 'node [shape=box, fixedsize=true, label=""]; edge [arrowsize=0.9];'
        yield from self._within(None)
        for number, line in enumerate(self._picture.edges):
            yield from self._edge(number, line)
        yield "}"

    def _within(self, group: str | None) -> Iterator[str]:
        for shape in self._picture.nodes:
            if shape.group == group:
                box = self._boxes[shape.id]
                yield _node(self._names[shape.id], box.width, box.height)
        for number, line in enumerate(self._picture.edges):
            if _is_labelled(line) and self._around(line) == group:
                yield _node(f"l{number}", *_room(line_label(line), EDGE_TEXT, _EDGE_LEADING))
        for inner in self._picture.groups:
            if inner.parent == group and self._inside(inner.id):
                label = group_label(inner)
                blank = _blank(*_room(label, GROUP_TEXT, _GROUP_LEADING)) if label else '""'
                yield f"subgraph {self._clusters[inner.id]} {{"
                yield f"margin=16; labeljust=l; label={blank};"
                yield from self._within(inner.id)
                yield "}"

    def _edge(self, number: int, line: Line) -> Iterator[str]:
        """A line; one with a label goes by way of a node for it, so that the label has a place of its own."""
        tail, leaves = self._end(line.start, -1, "ltail")
        head, enters = self._end(line.end, 0, "lhead")
        label = f"l{number}"
        pull = f", weight={1 if line.kind is LineKind.UNDO else 3}"  # what goes well goes straight down
        if _is_labelled(line):
            yield f"{tail} -> {label} [comment={number}, dir=none{pull}{leaves}];"
            yield f"{label} -> {head} [comment={number}{pull}{enters}];"
        else:
            blank = f", label={_blank(*_room(line_label(line), EDGE_TEXT, _EDGE_LEADING))}" if line.label else ""
            yield f"{tail} -> {head} [comment={number}{pull}{leaves}{enters}{blank}];"
        if line.start in self._clusters and line.end not in self._clusters:
            # What follows a frame stands below all of it, and not beside its last shape.
            below = label if _is_labelled(line) else head
            yield from (f"{self._names[one]} -> {below} [style=invis, weight=4];" for one in self._inside(line.start))

    def _end(self, one: str, which: int, clip: str) -> tuple[str, str]:
        """Where a line begins or ends; at a frame, Graphviz wants a shape in it, and cuts the line off there."""
        if one in self._clusters:
            far = ", minlen=2" if clip == "lhead" else ""  # what is cut off at the frame must leave an arrow to be seen
            return self._names[self._inside(one)[which]], f", {clip}={self._clusters[one]}{far}"
        return self._names[one], ""

    def _around(self, line: Line) -> str | None:
        """The innermost group that holds both ends of a line."""
        others = self._groups_of(line.end)
        return next((group for group in self._groups_of(line.start) if group in others), None)

    def _groups_of(self, one: str) -> list[str]:
        """The groups that a shape or group stands in, innermost first."""
        parents = {group.id: group.parent for group in self._picture.groups}
        around = parents | {shape.id: shape.group for shape in self._picture.nodes}
        found: list[str] = []
        group = around[one]
        while group is not None:
            found.append(group)
            group = parents[group]
        return found

    def _inside(self, group: str) -> list[str]:
        """The shapes in a group: Graphviz draws a line to a frame by way of one of them."""
        found = [shape.id for shape in self._picture.nodes if shape.group == group]
        for inner in self._picture.groups:
            if inner.parent == group:
                found += self._inside(inner.id)
        return found

    def read(self, found: Mapping[str, Any]) -> Layout:
        _, _, across, up = _numbers(found["bb"])
        objects = {one["name"]: one for one in found.get("objects", ())}
        return Layout(
            across,
            up,
            tuple(self._shape(shape, objects[self._names[shape.id]], up) for shape in self._picture.nodes),
            tuple(self._lines(found.get("edges", ()), objects, up)),
            tuple(
                _group(group, objects[self._clusters[group.id]], up)
                for group in self._picture.groups
                if self._clusters[group.id] in objects
            ),
        )

    def _shape(self, shape: Shape, found: Mapping[str, Any], up: float) -> PlacedShape:
        x, y = _numbers(found["pos"])
        box = self._boxes[shape.id]
        return PlacedShape(shape, box, x - box.width / 2, up - y - box.height / 2)

    def _lines(self, edges: Sequence[Mapping[str, Any]], objects: Mapping[str, Any], up: float) -> Iterator[PlacedLine]:
        for number, line in enumerate(self._picture.edges):
            ways = [_way(edge["pos"], up) for edge in edges if edge.get("comment") == str(number)]
            at: Point | None = None
            if line.label:
                place = objects[f"l{number}"]["pos"] if _is_labelled(line) else _only(edges, number)["lp"]
                at = _point(place, up)
            curves = tuple(curve for curve, _ in ways)
            tip = next((tip for _, tip in ways if tip is not None), curves[-1][-1])
            yield PlacedLine(line, curves, tip, line_label(line), at)


def _only(edges: Sequence[Mapping[str, Any]], number: int) -> Mapping[str, Any]:
    return next(edge for edge in edges if edge.get("comment") == str(number))


def _is_labelled(line: Line) -> bool:
    """Whether its label stands on it; that of a line from a shape to itself stands beside it."""
    return bool(line.label) and line.start != line.end


def _way(text: str, up: float) -> tuple[tuple[Point, ...], Point | None]:
    """A curve, and the tip of the arrow if there is one."""
    curve: list[Point] = []
    tip: Point | None = None
    for word in text.split():
        if word.startswith("e,"):
            tip = _point(word[2:], up)
        elif not word.startswith("s,"):
            curve.append(_point(word, up))
    return tuple(curve), tip


def _node(name: str, across: float, down: float) -> str:
    return f"{name} [width={across / 72:.4f}, height={down / 72:.4f}];"


def _group(group: Group, found: Mapping[str, Any], up: float) -> PlacedGroup:
    left, bottom, right, top = _numbers(found["bb"])
    at = (left + 12.0, up - top + 6.0)
    return PlacedGroup(group, left, up - top, right - left, top - bottom, group_label(group), at)


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


def _point(text: str, up: float) -> Point:
    x, y = _numbers(text)
    return x, up - y


def _room(lines: Sequence[str], size: float, leading: float) -> tuple[float, float]:
    """The size of a label."""
    across = max((width(line, size, bold=size == GROUP_TEXT) for line in lines), default=0.0) + 8
    return across, len(lines) * leading + 4


def _blank(across: float, down: float) -> str:
    """A label of that size, without text."""
    return (
        f'<<TABLE BORDER="0" CELLBORDER="0" CELLPADDING="0" FIXEDSIZE="TRUE" WIDTH="{across:.0f}" '
        f'HEIGHT="{down:.0f}"><TR><TD></TD></TR></TABLE>>'
    )
