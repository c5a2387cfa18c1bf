"""How is a picture drawn as SVG? One file that any browser shows, and no program is needed to make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import atan2, cos, pi, sin
from xml.sax.saxutils import escape

from orchestra.drawing.box import CAPTION, PART, PART_HEIGHT, Box
from orchestra.drawing.layout import EDGE_TEXT, GROUP_TEXT, Layout, PlacedGroup, PlacedLine, PlacedShape, Point, lay_out
from orchestra.drawing.look import GROUPS, LINES, MARKS, Colours, Outline, colours_of, outline_of, wrapped
from orchestra.drawing.text import width
from orchestra.flows.picture import Mark, Picture, Shape

_MARGIN = 24.0
_TITLE, _SUBTITLE, _NOTE = 18.0, 12.0, 11.5
_FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
_INK, _FADED, _UNUSED = "#0f172a", "#475569", "#94a3b8"


def svg(picture: Picture) -> str:
    """The picture as an SVG document. Blocks for some milliseconds.

    Raises:
        SettingsError: what lays it out is not installed; says how.
    """
    layout = lay_out(picture)
    room = max(60, int(max(layout.width, 420.0) / 6.2))
    head = _Block.of_head(picture, room)
    foot = _Block.of_foot(picture, room)
    across = max(layout.width, head.width, foot.width) + 2 * _MARGIN
    down = head.height + layout.height + foot.height + 2 * _MARGIN
    left = (across - layout.width) / 2
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{across:.0f}" height="{down:.0f}" '
        f'viewBox="0 0 {across:.0f} {down:.0f}" font-family="{_FONT}" role="img">',
        f"<title>{escape(picture.title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<g transform="translate({_MARGIN:.0f} {_MARGIN:.0f})">',
        *head.lines,
        "</g>",
        f'<g transform="translate({left:.1f} {_MARGIN + head.height:.1f})">',
        *_drawn(layout),
        "</g>",
        f'<g transform="translate({_MARGIN:.0f} {_MARGIN + head.height + layout.height:.1f})">',
        *foot.lines,
        "</g>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _drawn(layout: Layout) -> Iterator[str]:
    marks = {placed.shape.id: placed.shape.mark for placed in layout.shapes}
    for group in layout.groups:
        yield from _group(group)
    for line in layout.lines:
        is_faded = marks.get(line.line.end) is Mark.NOT_REACHED
        yield from _line(line, is_faded=is_faded)
        yield from _line_label(line, is_faded=is_faded)
    for shape in layout.shapes:
        yield from _shape(shape)


# ---- shapes


def _shape(placed: PlacedShape) -> Iterator[str]:
    shape, box = placed.shape, placed.box
    colours = colours_of(shape)
    yield f'<g transform="translate({placed.x:.1f} {placed.y:.1f})">'
    yield from _outline(outline_of(shape), box, colours)
    for strip in box.strips:
        yield from _strip(strip.text, strip.y, box, strip.colours)
    for text in box.texts:
        yield _text(text.text, box.width / 2, text.y, text.size, text.colour, is_bold=text.is_bold)
    if box.strips:  # once more on top: the compartments have covered its edge
        yield _rect(0, 0, box.width, box.height, 8, "none", colours.stroke, _dashes(shape))
    yield "</g>"


def _dashes(shape: Shape) -> str:
    return "6 4" if outline_of(shape) is Outline.DASHED else ""


def _outline(outline: Outline, box: Box, colours: Colours) -> Iterator[str]:
    across, down = box.width, box.height
    match outline:
        case Outline.DOT:
            yield f'<circle cx="{across / 2}" cy="{down / 2}" r="{across / 2}" fill="{colours.stroke}"/>'
        case Outline.PILL:
            yield _rect(0, 0, across, down, 8 if box.strips else min(down / 2, 24), colours.fill, colours.stroke)
        case Outline.HEXAGON if not box.strips:
            cut = 14.0
            points = (
                (cut, 0.0), (across - cut, 0.0), (across, down / 2), (across - cut, down), (cut, down), (0.0, down / 2),
            )  # fmt: skip
            drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            yield f'<polygon points="{drawn}" fill="{colours.fill}" stroke="{colours.stroke}" stroke-width="2.5"/>'
        case Outline.DOUBLE:
            yield _rect(0, 0, across, down, 8, colours.fill, colours.stroke)
            yield _rect(3.5, 3.5, across - 7, box.body - 7, 6, "none", colours.stroke)
        case Outline.DASHED:
            yield _rect(0, 0, across, down, 8, colours.fill, colours.stroke, "6 4")
        case _:
            yield _rect(0, 0, across, down, 8, colours.fill, colours.stroke)


def _strip(text: str, y: float, box: Box, colours: Colours) -> Iterator[str]:
    is_last = y + PART_HEIGHT >= box.height - 0.5
    right, bottom, corner = box.width, y + PART_HEIGHT, 8 if is_last else 0
    yield (
        f'<path d="M0 {y:.1f}H{right:.1f}V{bottom - corner:.1f}q0 {corner} {-corner} {corner}H{corner}'
        f'q{-corner} 0 {-corner} {-corner}Z" fill="{colours.fill}" stroke="{colours.stroke}"/>'
    )
    yield _text(text, box.width / 2, y + 14, PART, colours.text)


def _rect(
    x: float, y: float, across: float, down: float, radius: float, fill: str, stroke: str, dashes: str = ""
) -> str:
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{across:.1f}" height="{down:.1f}" rx="{radius:.0f}" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="1.5"{dash}/>'
    )


def _text(
    text: str, x: float, y: float, size: float, colour: str, *, is_bold: bool = False, anchor: str = "middle"
) -> str:
    weight = ' font-weight="bold"' if is_bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}" text-anchor="{anchor}"{weight}>'
        f"{escape(text)}</text>"
    )


# ---- lines and groups


def _line(placed: PlacedLine, *, is_faded: bool) -> Iterator[str]:
    colour, dashes = LINES[placed.line.kind]
    colour = _UNUSED if is_faded else colour
    path = "".join(map(_path, placed.curves))
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>'
    yield f'<polygon points="{_arrow(placed.curves[-1][-1], placed.tip)}" fill="{colour}"/>'


def _path(curve: Sequence[Point]) -> str:
    start, *rest = curve
    bends = zip(*[iter(rest)] * 3, strict=True)
    return f"M{_at(start)}" + "".join(f"C{_at(a)} {_at(b)} {_at(c)}" for a, b, c in bends)


def _at(point: Point) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"


def _arrow(end: Point, tip: Point) -> str:
    angle = atan2(tip[1] - end[1], tip[0] - end[0]) + pi / 2
    across = (4.0 * cos(angle), 4.0 * sin(angle))
    corners = ((end[0] + across[0], end[1] + across[1]), (end[0] - across[0], end[1] - across[1]), tip)
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)


def _line_label(placed: PlacedLine, *, is_faded: bool) -> Iterator[str]:
    if placed.at is None:
        return
    colour = _UNUSED if is_faded else LINES[placed.line.kind][0]
    x, middle = placed.at
    top = middle - 14.0 * len(placed.label) / 2
    for number, line in enumerate(placed.label):
        yield _text(line, x, top + 14 * number + 11, EDGE_TEXT, colour)


def _group(placed: PlacedGroup) -> Iterator[str]:
    colours, dashes = GROUPS[placed.group.kind]
    if placed.group.mark is not None:
        colours = MARKS[placed.group.mark]._replace(fill=colours.fill)
    yield _rect(placed.x, placed.y, placed.width, placed.height, 10, colours.fill, colours.stroke, dashes)
    for number, line in enumerate(placed.label):
        y = placed.at[1] + 14 + 17 * number
        yield _text(line, placed.at[0], y, GROUP_TEXT, colours.text, is_bold=number == 0, anchor="start")


# ---- above and below


class _Block:
    """Text above or below the drawing."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.width = 0.0
        self.height = 0.0

    @classmethod
    def of_head(cls, picture: Picture, room: int) -> _Block:
        block = cls()
        block.add(picture.title, _TITLE, _INK, is_bold=True)
        for line in wrapped(picture.subtitle, room):
            block.add(line, _SUBTITLE, _FADED)
        block.height += 14
        return block

    @classmethod
    def of_foot(cls, picture: Picture, room: int) -> _Block:
        block = cls()
        block.height = 14 if picture.legend or picture.notes else 0
        if picture.legend:
            block.add_legend(picture.legend)
        for note in picture.notes:
            for line in wrapped(note, room):
                block.add(line, _NOTE, _FADED)
        return block

    def add(self, text: str, size: float, colour: str, *, is_bold: bool = False) -> None:
        self.height += size + 6
        self.width = max(self.width, width(text, size, bold=is_bold))
        self.lines.append(_text(text, 0, self.height - 6, size, colour, is_bold=is_bold, anchor="start"))

    def add_legend(self, marks: Sequence[Mark]) -> None:
        x = 0.0
        for mark in marks:
            colours, across = MARKS[mark], width(mark.value, CAPTION + 1) + 20
            self.lines.append(_rect(x, self.height, across, 20, 6, colours.fill, colours.stroke))
            self.lines.append(_text(mark.value, x + across / 2, self.height + 14, CAPTION + 1, colours.text))
            x += across + 8
        self.width = max(self.width, x)
        self.height += 30
