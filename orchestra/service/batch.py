"""How much is handled at once? A batch handler's size, and how long the first of its events may wait."""

from __future__ import annotations

from dataclasses import dataclass

from orchestra.duration import Duration, seconds
from orchestra.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class Batch:
    """Events come as a list: ``@warehouse.on(OrderPlaced, batch=Batch(size=500, within="200ms"))``.

    A batch holds events of one partition, in their order. It is handled when it is full, or when its first event has
    waited for ``within``; while it waits it holds up neither other work nor a stop.

    Attributes:
        size: the most events in one batch, 1 to 5,000. Default 100.
        within: the longest that an event waits for others. Default "200ms".

    Raises:
        DefinitionError: a size that cannot be, or no duration.
    """

    size: int = 100
    within: Duration = "200ms"

    def __post_init__(self) -> None:
        if not 1 <= self.size <= 5_000:
            raise DefinitionError(f"Batch(size={self.size}): a batch holds 1 to 5,000 events")
        seconds(self.within)

    @property
    def seconds(self) -> float:
        """``within`` as seconds."""
        return seconds(self.within)
