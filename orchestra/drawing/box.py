"""What stands in a box, and how large is it then? The text of a shape in lines, measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestra.drawing.look import (
    Colours,
    Outline,
    caption_of,
    colours_of,
    outline_of,
    part_colours,
    part_text,
    wrapped,
)
from orchestra.drawing.text import width
from orchestra.flows.picture import Shape

CAPTION, LABEL, DETAIL, PART = 10.0, 14.0, 11.5, 11.0
"""Sizes of text, in pixels."""
PART_HEIGHT = 20.0
_LEADING = {CAPTION: 14.0, LABEL: 19.0, DETAIL: 15.0}
_SIDE, _TOP = 14.0, 7.0
_LEAST_WIDTH = 96.0
_DOT = 16.0
_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; ``y`` is that of its base line, from the top of its box."""

    text: str
    size: float
    y: float
    colour: str
    is_bold: bool = False


@dataclass(frozen=True, slots=True)
class Strip:
    """A compartment at the foot of a box, and how far below the top it begins."""

    text: str
    y: float
    colours: Colours


@dataclass(frozen=True, slots=True)
class Box:
    """A shape, measured. Sizes are in pixels."""

    width: float
    height: float
    texts: tuple[Text, ...]
    strips: tuple[Strip, ...]
    body: float
    """The height above the compartments."""


def box_of(shape: Shape) -> Box:
    """The box that the shape needs."""
    outline = outline_of(shape)
    if outline is Outline.DOT:
        return Box(_DOT, _DOT, (), (), _DOT)
    colours = colours_of(shape)
    texts: list[Text] = []
    y = _TOP
    for text, size, bold, colour in _lines(shape, colours):
        y += _LEADING[size]
        texts.append(Text(text, size, y - size * 0.28, colour, bold))
    body = y + _TOP
    strips = tuple(
        Strip(part_text(part), body + number * PART_HEIGHT, part_colours(part))
        for number, part in enumerate(shape.parts)
    )
    side = _SIDE + (10.0 if outline in (Outline.PILL, Outline.HEXAGON) else 0.0)
    widest = max([width(line.text, line.size, bold=line.is_bold) for line in texts], default=0.0) + 2 * side
    widest = max([widest, _LEAST_WIDTH, *(width(strip.text, PART) + 2 * _SIDE for strip in strips)])
    return Box(widest, body + len(strips) * PART_HEIGHT, tuple(texts), strips, body)


def _lines(shape: Shape, colours: Colours) -> Iterator[tuple[str, float, bool, str]]:
    if caption := caption_of(shape):
        yield caption, CAPTION, False, colours.stroke
    for line in wrapped(shape.label, _CHARACTERS):
        yield line, LABEL, True, colours.text
    for detail in shape.detail:
        for line in wrapped(detail, _CHARACTERS):
            yield line, DETAIL, False, colours.text
