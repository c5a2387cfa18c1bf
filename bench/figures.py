"""What is a measured figure, and does it meet its target?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. Without a ``target`` it only informs.

    Attributes:
        name: what was measured.
        value: the number, in ``unit``.
        target: the number to reach.
        better: whether the target is the most or the least that the value may be.
        note: what one must know to read it.
        details: what stands behind it, such as the value of each round; only in the JSON.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    better: Literal["lower", "higher"] = "lower"
    note: str = ""
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.value <= self.target if self.better == "lower" else self.value >= self.target

    def unjudged(self) -> Figure:
        """The figure without its target: a short run says little about speed."""
        return replace(self, target=None)


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that at least ``part`` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(part * len(ordered) + 0.5) - 1))]


def latency(name: str, seconds: Sequence[float], *, p50: float | None = None, p99: float | None = None) -> list[Figure]:
    """The median and the 99th percentile in milliseconds, with their targets in milliseconds."""
    count = f"n={len(seconds)}"
    return [
        Figure(f"{name}, p50", percentile(seconds, 0.5) * 1000, "ms", p50, note=count),
        Figure(f"{name}, p99", percentile(seconds, 0.99) * 1000, "ms", p99, note=count),
    ]
