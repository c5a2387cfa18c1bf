"""How often is a failed try repeated, and after what delay? Pure: the randomness comes in as a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from orchestra.duration import Duration, seconds
from orchestra.errors import DefinitionError, OrchestraError

Order = Literal["block_key", "divert_key", "unordered"]
ErrorKind = Literal["transient", "permanent", "infrastructure"]

TIERS: Mapping[str, float] = {"5s": 5.0, "30s": 30.0, "2m": 120.0, "10m": 600.0, "1h": 3600.0}
"""The retry topics that there can be, shortest first -> their delay in seconds."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A policy for repeating what failed.

    Attributes:
        attempts: tries in place, the first included; at least 1. Default 3.
        first: the longest delay before the second try. Default "200ms".
        factor: what each further delay is multiplied by; at least 1. Default 2.
        cap: no delay is longer than this, except what a handler asks for with ``RetryAfter``. Default "30s".
        later: then one more try after each of these delays, for handlers only: some of "5s", "30s", "2m", "10m", "1h",
            rising. They are waited for in retry topics (``<service>.retry.5s``), so that what fails for long holds
            nobody up; with ``order="block_key"`` in place. Default: none.
        order: what becomes of the later records of the key meanwhile. "block_key" (default): they wait.
            "divert_key": they follow it into the retry topic, and are handled behind it. "unordered": they overtake it.
            A record without a key always goes alone.
        errors: exception class -> "transient" (tried again), "permanent" (a dead letter at once) or "infrastructure"
            (something is down: waited for, no try used up). The most specific class decides, before the built-in
            rules. An entry for ``Exception`` leaves orchestra's own errors as they are. Default: none.

    The delay in place is drawn evenly between zero and the bound ("full jitter", from the article "Exponential Backoff
    And Jitter" of the AWS Architecture Blog), so that many failing at once do not come back at once.

    Raises:
        DefinitionError: a value that cannot work; says what to write instead.
    """

    attempts: int = 3
    first: Duration = "200ms"
    factor: float = 2.0
    cap: Duration = "30s"
    later: Sequence[Duration] = ()
    order: Order = "block_key"
    errors: Mapping[type[Exception], ErrorKind] = field(default_factory=dict[type[Exception], ErrorKind], hash=False)

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise DefinitionError(
                f"Retry(attempts={self.attempts}): there is always one try; write attempts=1 for none more"
            )
        if self.factor < 1:
            raise DefinitionError(f"Retry(factor={self.factor}): a factor below 1 would shorten the delays")
        if seconds(self.cap) < seconds(self.first):
            raise DefinitionError(f"Retry(first={self.first!r}, cap={self.cap!r}): the cap is below the first delay")
        if self.order not in get_args(Order):
            raise DefinitionError(f"Retry(order={self.order!r}): an order is one of {', '.join(get_args(Order))}")
        object.__setattr__(self, "later", _tiers(self.later))
        _check_errors(self.errors)

    def allows(self, attempt: int) -> bool:
        """Whether a try numbered ``attempt`` (the first is 1) may happen in place."""
        return attempt <= self.attempts

    def tier(self, attempt: int) -> str | None:
        """Which delay of ``later`` stands before try ``attempt``; None: it is in place, or there is none."""
        index = attempt - self.attempts - 1
        return str(self.later[index]) if 0 <= index < len(self.later) else None

    @property
    def first_tier(self) -> str:
        """The shortest of ``later``, which must not be empty."""
        return str(self.later[0])

    def delay(self, attempt: int, jitter: float) -> float:
        """Seconds to wait before try ``attempt`` (2 or more), with ``jitter`` drawn from [0, 1)."""
        return self.longest_delay(attempt) * jitter

    def longest_delay(self, attempt: int) -> float:
        """The bound in seconds of the delay before try ``attempt`` (2 or more)."""
        exponent = min(attempt - 2, 64)
        return min(seconds(self.cap), seconds(self.first) * self.factor**exponent)

    def kind_of(self, error: BaseException) -> ErrorKind | None:
        """What ``errors`` says of it; None where it says nothing."""
        if not self.errors:
            return None
        for each in type(error).__mro__:
            if (kind := self.errors.get(each)) is not None:
                return kind
            if each is OrchestraError:  # what lies above, Exception at most, is not meant for our own
                return None
        return None


def _tiers(later: Sequence[Duration]) -> tuple[str, ...]:
    """The names of the delays."""
    if isinstance(later, str):
        raise DefinitionError(f"Retry(later={later!r}): write a tuple, later=({later!r},)")
    names = {length: name for name, length in TIERS.items()}
    lengths = [seconds(each) for each in later]
    if not all(length in names for length in lengths):
        raise DefinitionError(f"Retry(later={tuple(later)!r}): there are retry topics for {', '.join(TIERS)} only")
    if lengths != sorted(set(lengths)):
        raise DefinitionError(f"Retry(later={tuple(later)!r}): write each delay once, shortest first")
    return tuple(names[length] for length in lengths)


def _check_errors(errors: Mapping[Any, Any]) -> None:
    for kind, what in errors.items():
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise DefinitionError(f"Retry(errors={{{kind!r}: ...}}): the keys are exception classes")
        if what not in get_args(ErrorKind):
            kinds = ", ".join(f'"{each}"' for each in get_args(ErrorKind))
            raise DefinitionError(f"Retry(errors={{{kind.__name__}: {what!r}}}): write one of {kinds}")
