"""Which id does a thing get, and what chance does a jitter have?"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha1

Jitter = Callable[[], float]
"""Gives a number in [0, 1): randomness as a value that a test or a simulation can own."""

_maker: ContextVar[Callable[[], str] | None] = ContextVar("orchestra-new-id", default=None)
_NAMESPACE = uuid.UUID("6f1d6f64-6f72-5c68-8573-747261000001")
_SEEDED = sha1(_NAMESPACE.bytes, usedforsecurity=False)
_VARIANT = dict(zip("0123456789abcdef", 4 * "89ab", strict=True))
"""A digit -> the one with the same lower bits that RFC 9562 wants in its place."""


def new_id() -> str:
    """A new, time-ordered id (UUIDv7, RFC 9562 section 5.7); within :func:`seeded_ids` what is given there."""
    if (make := _maker.get()) is not None:
        return make()
    millis = f"{time.time_ns() // 1_000_000 & 0xFFFFFFFFFFFF:012x}"
    tail = os.urandom(10).hex()
    return f"{millis[:8]}-{millis[8:]}-7{tail[:3]}-{_VARIANT[tail[3]]}{tail[4:7]}-{tail[7:19]}"


@contextmanager
def seeded_ids(make: Callable[[], str]) -> Generator[None]:
    """New ids come from ``make`` in this context, and in whatever is started in it: for runs that can be repeated."""
    token = _maker.set(make)
    try:
        yield
    finally:
        _maker.reset(token)


class IdSeries:
    """New ids at a tenth of :func:`new_id`'s cost: each is one new id, which they share, and a number.

    Unique as that one id is: a series belongs to one process.
    """

    __slots__ = ("_next", "_shared")

    def __init__(self) -> None:
        self._shared = new_id()
        self._next = 1

    def one(self) -> str:
        return self.many(1)[0]

    def many(self, count: int) -> list[str]:
        first, shared = self._next, self._shared
        self._next += count
        return [f"{shared}-{number}" for number in range(first, first + count)]


def derived_id(*parts: str | int) -> str:
    """The same id for the same parts, on any machine (UUIDv5). Parts are told apart: ("a", "b") is not ("ab",)."""
    # uuid.uuid5 makes an object with a dozen checks, and this runs three times for every input of an instance.
    digest = _SEEDED.copy()
    digest.update("\x1f".join(map(str, parts)).encode())
    text = digest.hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"


def system_jitter() -> float:
    """A :data:`Jitter` from the operating system's randomness."""
    return _RANDOM.random()


_RANDOM = random.SystemRandom()
