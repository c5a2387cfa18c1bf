"""When is an effect tried again, and when has it waited long enough? Chance comes from the effect's id."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from orchestra.retry import Retry

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970: exact, and short in a record."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The moment, in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def jitter(effect_id: str, attempt: int) -> float:
    """A number in [0, 1) that is the same on every machine, and unlike that of other effects and attempts."""
    digest = hashlib.blake2b(f"{effect_id}\x1f{attempt}".encode(), digest_size=6).digest()
    return int.from_bytes(digest) / (1 << 48)


def due_again(now: int, effect_id: str, attempts: int, spent: int, retry: Retry) -> int:
    """When to send the next try, in microseconds since 1970.

    Args:
        now: the recorded time, likewise.
        effect_id: whose tries these are.
        attempts: tries in all so far.
        spent: tries of the present budget so far, at least 1.
        retry: the policy.
    """
    return now + round(retry.delay(spent + 1, jitter(effect_id, attempts)) * 1_000_000)


def is_alert_due(spent: int, retry: Retry) -> bool:
    """Whether an effect that is retried without end deserves an alert now: when its budget is spent, and then each time
    that as many tries again have failed as ever before, so that alerts get rarer and never stop."""
    times, rest = divmod(spent, retry.attempts)
    return rest == 0 and times > 0 and times & (times - 1) == 0
