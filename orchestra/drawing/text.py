"""How wide is a text? Going by Helvetica, near enough to whatever a browser takes for it."""

from __future__ import annotations

from unicodedata import east_asian_width

_WIDTHS = (  # of the characters from space to "~", in thousandths of the size
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
    1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
    333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
)  # fmt: skip
_ROOM = 1.06
"""Other fonts are a little wider."""


def width(text: str, size: float, *, bold: bool = False) -> float:
    """In pixels, at a size in pixels."""
    units = sum(map(_width, text))
    return units * size / 1000 * _ROOM * (1.07 if bold else 1.0)


def _width(character: str) -> int:
    code = ord(character) - 32
    if 0 <= code < len(_WIDTHS):
        return _WIDTHS[code]
    return 1000 if east_asian_width(character) in "WF" else 600
