"""How often is a failed try repeated, and after what delay? Pure: the randomness comes in as a value."""

from __future__ import annotations

from dataclasses import dataclass

from orchestra.duration import Duration, seconds
from orchestra.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class Retry:
    """A policy for repeating what failed.

    Attributes:
        attempts: tries in all, the first included; at least 1. Default 3.
        first: the longest delay before the second try. Default "200ms".
        factor: what each further delay is multiplied by; at least 1. Default 2.
        cap: no delay is longer than this. Default "30s".

    The delay is drawn evenly between zero and the bound ("full jitter", from the article "Exponential Backoff And
    Jitter" of the AWS Architecture Blog), so that many failing at once do not come back at once.
    """

    attempts: int = 3
    first: Duration = "200ms"
    factor: float = 2.0
    cap: Duration = "30s"

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise DefinitionError(
                f"Retry(attempts={self.attempts}): there is always one try; write attempts=1 for none more"
            )
        if self.factor < 1:
            raise DefinitionError(f"Retry(factor={self.factor}): a factor below 1 would shorten the delays")
        if seconds(self.cap) < seconds(self.first):
            raise DefinitionError(f"Retry(first={self.first!r}, cap={self.cap!r}): the cap is below the first delay")

    def allows(self, attempt: int) -> bool:
        """Whether a try numbered ``attempt`` (the first is 1) is within the policy."""
        return attempt <= self.attempts

    def delay(self, attempt: int, jitter: float) -> float:
        """Seconds to wait before try ``attempt`` (2 or more), with ``jitter`` drawn from [0, 1)."""
        return self.longest_delay(attempt) * jitter

    def longest_delay(self, attempt: int) -> float:
        """The bound in seconds of the delay before try ``attempt`` (2 or more)."""
        exponent = min(attempt - 2, 64)
        return min(seconds(self.cap), seconds(self.first) * self.factor**exponent)
