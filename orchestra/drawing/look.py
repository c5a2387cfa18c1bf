"""What does each kind of thing look like? Outlines, colours and words, the same in every format."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from orchestra.flows.picture import GroupKind, LineKind, Mark, Part, PartKind, Shape, ShapeKind


class Outline(StrEnum):
    """The form of a shape."""

    BOX = "box"
    PILL = "pill"
    HEXAGON = "hexagon"
    DOUBLE = "double"
    """A box within a box: it happens many times, or is a flow of its own."""
    DASHED = "dashed"
    DOT = "dot"


class Colours(NamedTuple):
    """Of a shape."""

    fill: str
    stroke: str
    text: str


_PLAIN = Colours("#ffffff", "#64748b", "#0f172a")
_GREY = Colours("#f8fafc", "#cbd5e1", "#64748b")
_BLUE = Colours("#eff6ff", "#1d4ed8", "#1e3a8a")
_GREEN = Colours("#f0fdf4", "#15803d", "#14532d")
_ORANGE = Colours("#fff7ed", "#c2410c", "#7c2d12")
_PURPLE = Colours("#faf5ff", "#7e22ce", "#581c87")
_TEAL = Colours("#f0fdfa", "#0f766e", "#134e4a")
_RED = Colours("#fef2f2", "#b91c1c", "#7f1d1d")


@dataclass(frozen=True, slots=True)
class Look:
    """How one kind of shape is drawn. ``caption`` is the small line above its name."""

    outline: Outline
    colours: Colours
    caption: str = ""


LOOKS: dict[ShapeKind, Look] = {
    ShapeKind.START: Look(Outline.PILL, _GREEN, "starts with"),
    ShapeKind.END: Look(Outline.PILL, _GREEN, "completed"),
    ShapeKind.BAD_END: Look(Outline.PILL, _ORANGE, "failed, all undone"),
    ShapeKind.STEP: Look(Outline.BOX, _PLAIN),
    ShapeKind.PIVOT: Look(Outline.HEXAGON, _BLUE, "point of no return"),
    ShapeKind.RETRIABLE: Look(Outline.BOX, _PLAIN, "tried until it works"),
    ShapeKind.READ_ONLY: Look(Outline.BOX, _PLAIN, "only looks"),
    ShapeKind.ANY_OF: Look(Outline.PILL, _TEAL, "the first that works"),
    ShapeKind.SETTLED: Look(Outline.PILL, _TEAL, "waits for all"),
    ShapeKind.DELAY: Look(Outline.PILL, _PURPLE, "pause"),
    ShapeKind.WAIT: Look(Outline.BOX, _PURPLE, "waits for an event"),
    ShapeKind.APPROVAL: Look(Outline.BOX, _PURPLE, "a person decides"),
    ShapeKind.CALL: Look(Outline.DOUBLE, _TEAL, "runs another flow"),
    ShapeKind.FOR_EACH: Look(Outline.DOUBLE, _PLAIN, "for each"),
    ShapeKind.REPEAT: Look(Outline.DOUBLE, _PLAIN, "again and again"),
    ShapeKind.STATE: Look(Outline.BOX, _PLAIN),
    ShapeKind.INITIAL: Look(Outline.DOT, Colours("#334155", "#334155", "#ffffff")),
    ShapeKind.FINAL: Look(Outline.DOUBLE, _GREEN, "final"),
    ShapeKind.SERVICE: Look(Outline.BOX, _BLUE, "service"),
    ShapeKind.FLOW: Look(Outline.DOUBLE, _TEAL, "flow"),
    ShapeKind.EVENT: Look(Outline.PILL, _PLAIN, "event"),
    ShapeKind.COMMAND: Look(Outline.PILL, _PURPLE, "command"),
    ShapeKind.TROUBLE: Look(Outline.PILL, _RED),
}

MARKS: dict[Mark, Colours] = {
    Mark.DONE: Colours("#dcfce7", "#15803d", "#14532d"),
    Mark.RUNNING: Colours("#dbeafe", "#1d4ed8", "#1e3a8a"),
    Mark.FAILED: Colours("#fee2e2", "#b91c1c", "#7f1d1d"),
    Mark.UNDONE: Colours("#ffedd5", "#c2410c", "#7c2d12"),
    Mark.SKIPPED: Colours("#f1f5f9", "#64748b", "#475569"),
    Mark.NOT_REACHED: Colours("#f8fafc", "#94a3b8", "#64748b"),
    Mark.NEW: Colours("#dcfce7", "#15803d", "#14532d"),
    Mark.CHANGED: Colours("#fef9c3", "#a16207", "#713f12"),
    Mark.GONE: Colours("#fee2e2", "#b91c1c", "#7f1d1d"),
}

PARTS: dict[PartKind, tuple[str, Colours]] = {
    PartKind.UNDO: ("undo: ", _ORANGE),
    PartKind.ENTRY: ("on entry: ", _GREY),
    PartKind.EXIT: ("on exit: ", _GREY),
    PartKind.INSIDE: ("", _GREY),
}

LINES: dict[LineKind, tuple[str, str]] = {
    LineKind.NEXT: ("#475569", ""),
    LineKind.AFTER: ("#94a3b8", ""),
    LineKind.UNDO: ("#c2410c", "2 4"),
    LineKind.TIMER: ("#7e22ce", "6 4"),
    LineKind.TROUBLE: ("#b91c1c", ""),
}
"""Colour, and the dashes where it is no whole line."""

GROUPS: dict[GroupKind, tuple[Colours, str]] = {
    GroupKind.STATE: (Colours("#f8fafc", "#64748b", "#0f172a"), ""),
    GroupKind.REGION: (Colours("#ffffff", "#94a3b8", "#475569"), "6 4"),
    GroupKind.BLOCK: (Colours("#f8fafc", "#cbd5e1", "#475569"), ""),
}


def colours_of(shape: Shape) -> Colours:
    """As its mark says, or else its kind."""
    return LOOKS[shape.kind].colours if shape.mark is None else MARKS[shape.mark]


def outline_of(shape: Shape) -> Outline:
    """Its form; one that may be left out is dashed."""
    outline = LOOKS[shape.kind].outline
    return Outline.DASHED if shape.is_optional and outline is Outline.BOX else outline


def caption_of(shape: Shape) -> str:
    """The small line above its name; with how far it is, if that is known."""
    caption = shape.caption if shape.caption is not None else LOOKS[shape.kind].caption
    mark = shape.mark.value if shape.mark not in (None, Mark.NOT_REACHED) else ""
    return " · ".join(part for part in (caption, mark) if part)


def part_text(part: Part) -> str:
    """The line of a compartment."""
    mark = f" ({part.mark.value})" if part.mark not in (None, Mark.NOT_REACHED) else ""
    return f"{PARTS[part.kind][0]}{part.label}{mark}"


def part_colours(part: Part) -> Colours:
    return PARTS[part.kind][1] if part.mark is None else MARKS[part.mark]


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of about so many characters."""
    return textwrap.wrap(text, width, break_long_words=len(text) > 2 * width) or ([""] if text else [])
