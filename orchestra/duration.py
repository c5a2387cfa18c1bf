"""How long is "30s"?"""

from __future__ import annotations

import re
from datetime import timedelta

from orchestra.errors import DefinitionError

Duration = timedelta | str
"""A length of time: a ``timedelta``, or text such as "200ms", "30s", "5m", "2h", "7d", "1h30m"."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def seconds(duration: Duration) -> float:
    """The duration in seconds.

    Raises:
        DefinitionError: the text is not a duration, or the duration is not above zero.
    """
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif _WHOLE.fullmatch(str(duration)):
        value = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(str(duration)))
    else:
        raise DefinitionError(
            f"{duration!r} is not a duration: write a timedelta, or text such as '200ms', '30s', '5m'"
        )
    if value <= 0:
        raise DefinitionError(f"{duration!r} is not above zero")
    return value


def in_words(length: float) -> str:
    """So many seconds, for people: "30 s", "5 min", "1.5 h", "1 day", "14 days"."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if length >= size:
            return "1 day" if length == 86400.0 else f"{length / size:.3g} {unit}"
    return f"{length:.3g} s" if length >= 1 else f"{length * 1000:.3g} ms"
