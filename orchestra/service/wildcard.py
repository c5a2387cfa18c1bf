"""Does a text match a pattern? ``*`` stands for any text, none included; everything else for itself. Pure."""

from __future__ import annotations

from collections.abc import Callable


def matcher(pattern: str) -> Callable[[str], bool]:
    """What tells whether a text matches. Its time grows with the text, never with a power of it."""
    head, *rest = pattern.split("*")
    if not rest:
        return pattern.__eq__
    *between, tail = rest
    parts = tuple(part for part in between if part)
    least = len(head) + len(tail)

    def matches(text: str) -> bool:
        if len(text) < least or not text.startswith(head) or not text.endswith(tail):
            return False
        at, end = len(head), len(text) - len(tail)
        for part in parts:
            found = text.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True

    return matches
