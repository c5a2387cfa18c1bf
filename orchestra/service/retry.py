"""What follows from a failure: another try, a dead letter, or waiting until a dependency is back? Pure."""

from __future__ import annotations

import math
from datetime import timedelta
from enum import Enum, StrEnum

from orchestra.duration import seconds
from orchestra.errors import (
    DecodeError,
    DefinitionError,
    EncodeError,
    HopLimitError,
    PermanentError,
    RetryAfter,
    TransientError,
    TransportError,
)
from orchestra.retry import Retry
from orchestra.sql.failure import is_contention, is_database_down


class TimedOutError(TransientError):
    """An attempt reached its handler's timeout."""

    code = "timeout"


class Reason(StrEnum):
    """Why a record became a dead letter. Stable: operators filter by it."""

    DECODE = "DECODE"
    """The bytes are no valid event, or its data is not what its type says."""
    CONTRACT = "CONTRACT"
    """The handler broke its declaration: a return of the wrong type, an outcome that cannot be encoded."""
    PERMANENT = "PERMANENT"
    TRANSIENT = "TRANSIENT"
    """The tries of the retry policy are spent."""
    TIMEOUT = "TIMEOUT"
    """The last try ran out of time."""
    UNKNOWN_TYPE = "UNKNOWN_TYPE"
    """No handler for this type on the service's own command topic."""
    HEAD_OF_LINE = "HEAD_OF_LINE"
    """It failed, and a whole window of its partition was done behind it."""
    CRASH_LOOP = "CRASH_LOOP"
    """Every process that began it died."""
    UNDELIVERABLE = "UNDELIVERABLE"
    """The answer cannot be stored where it must go."""
    HOP_LIMIT = "HOP_LIMIT"
    """What it would emit is too many events away from what began it: a storm."""


class Course(Enum):
    """What to do after a failure."""

    DEAD_LETTER = "dead letter"
    TRY_AGAIN = "try again"
    WAIT = "wait"
    """Something that we depend on is down: wait and try again; no attempt is burned and nothing dead-lettered."""
    AGAIN = "again"
    """Another transaction was in the way: do it again soon. Nothing is down, no attempt is burned."""


_COURSES = {
    "permanent": (Course.DEAD_LETTER, Reason.PERMANENT),
    "infrastructure": (Course.WAIT, Reason.TRANSIENT),
    "transient": (Course.TRY_AGAIN, Reason.TRANSIENT),
}


def course_of(error: BaseException, retry: Retry | None = None) -> tuple[Course, Reason]:
    """What follows from a handler's error, and the reason to give when it ends as a dead letter. What the handler's
    policy says of the error comes first, but for a storm, which no try ends."""
    if isinstance(error, HopLimitError):
        return Course.DEAD_LETTER, Reason.HOP_LIMIT
    if retry is not None and (kind := retry.kind_of(error)) is not None:
        return _COURSES[kind]
    if isinstance(error, DecodeError):
        return Course.DEAD_LETTER, Reason.DECODE
    if isinstance(error, DefinitionError | EncodeError):
        return Course.DEAD_LETTER, Reason.CONTRACT
    if isinstance(error, PermanentError):
        return Course.DEAD_LETTER, Reason.PERMANENT
    if is_infrastructure(error):
        return Course.WAIT, Reason.TRANSIENT
    if is_contention(error):
        return Course.AGAIN, Reason.TRANSIENT
    return Course.TRY_AGAIN, Reason.TIMEOUT if isinstance(error, TimedOutError) else Reason.TRANSIENT


def is_infrastructure(error: BaseException) -> bool:
    """Whether the error says that something we depend on is down, and nothing about the record."""
    if isinstance(error, TransportError):
        return error.retriable
    return isinstance(error, ConnectionError) or is_database_down(error)


def waiting_delay(round_: int, jitter: float) -> float:
    """Seconds before looking again whether a dependency is back, ``round_`` counting from 1: 0.1 s doubling to 5 s,
    half of it drawn by chance, so that many waiting ones do not come back at once."""
    longest: float = min(5.0, 0.1 * 2 ** min(round_ - 1, 16))
    return longest * (0.5 + jitter / 2)


def contention_delay(round_: int, jitter: float) -> float:
    """Seconds before a transaction that was in another's way is done again: up to 10 ms, doubling to a second, all of
    it drawn by chance, so that the two do not meet again."""
    longest: float = min(1.0, 0.01 * 2 ** min(round_ - 1, 10))
    return longest * jitter


def earliest(error: BaseException) -> float:
    """Seconds that must pass before the next try: what a ``RetryAfter`` says, else none.

    Raises:
        DefinitionError: it says no length of time.
    """
    if not isinstance(error, RetryAfter):
        return 0.0
    delay = error.delay
    if isinstance(delay, str | timedelta):
        return seconds(delay)
    if not 0 <= delay < math.inf:
        raise DefinitionError(f"RetryAfter({delay!r}): write seconds, or a duration such as '30s'")
    return delay
