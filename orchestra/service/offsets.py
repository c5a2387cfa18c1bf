"""Which records of one partition are done, and which offset may be committed? Pure.

Records are admitted in the order of their offsets and become done in any order. The *base* is the lowest offset that is
not done: everything below it is done or never existed (markers, compaction), so it is what a group may commit. What
is done above the base is kept with the commit, as a map, so that a new owner does not run it again.

Invariants: the base never falls; the base is at most the lowest incomplete offset; an offset that was never admitted
holds nothing up.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections import deque
from typing import NamedTuple

WINDOW = 20_000
"""How far above the base the map reaches: 2,500 bytes, 3,336 in base64, below Kafka's 4,096 for a commit's note."""


class Place(NamedTuple):
    """A group's place in a partition, as it is committed."""

    base: int
    done: frozenset[int] = frozenset()
    """Offsets above the base that are done."""
    restarts: int = 0
    """Owners that died without getting beyond the base: see :mod:`orchestra.service.crash_loop`."""

    def note(self) -> str:
        """The text kept with the commit: ``o1;<restarts>;<map>``, the map's bit *i* being offset ``base + i``."""
        bits = bytearray()
        for offset in self.done:
            place = offset - self.base
            if 0 < place < WINDOW:
                if place >> 3 >= len(bits):
                    bits.extend(bytes((place >> 3) + 1 - len(bits)))
                bits[place >> 3] |= 1 << (place & 7)
        return f"o1;{self.restarts};{b64encode(bits).decode()}"


def read_place(base: int, note: str) -> Place:
    """The place that a commit holds. A note that is not ours, or is damaged, is no map: handled again, not lost."""
    try:
        version, restarts, text = note.split(";")
        bits = b64decode(text, validate=True)
        if version != "o1" or len(bits) > WINDOW // 8:
            return Place(base)
        done = frozenset(base + i for i in range(1, len(bits) * 8) if bits[i >> 3] >> (i & 7) & 1)
        return Place(base, done, max(0, int(restarts)))
    except (ValueError, Base64Error):
        return Place(base)


class Tracker:
    """The offsets of one partition during one assignment. ``start``: the committed place, None where there is none."""

    __slots__ = ("_done", "_next", "_order", "_restored")

    def __init__(self, start: Place | None = None) -> None:
        self._next = start.base if start else -1
        """One above the highest offset that is accounted for; -1 before the first."""
        self._order: deque[int] = deque()  # admitted offsets from the base up, rising
        self._done: set[int] = set()  # those of them that are done, the first never among them
        self._restored: frozenset[int] = start.done if start else frozenset()

    def admit(self, offset: int) -> bool:
        """Take a record in. False: it is not to be run, because it was admitted before or its map says done."""
        if offset < self._next:
            return False
        self._next = offset + 1
        if offset in self._restored:
            if self._order:
                self._order.append(offset)
                self._done.add(offset)
            return False
        self._order.append(offset)
        return True

    def done(self, offset: int) -> None:
        """Mark an admitted record as done; once for each."""
        order, done = self._order, self._done
        if order[0] != offset:
            done.add(offset)
            return
        order.popleft()
        while done and order[0] in done:
            done.remove(order.popleft())

    def pass_over(self, position: int) -> None:
        """Nothing below ``position`` is still to come: with nothing under way, the base moves there."""
        if not self._order and position > self._next:
            self._next = position

    @property
    def base(self) -> int | None:
        """The offset to commit: the lowest that is not done. None before anything is known."""
        if self._order:
            return self._order[0]
        return self._next if self._next >= 0 else None

    @property
    def span(self) -> int:
        """How far the highest admitted offset is above the base."""
        return self._next - self._order[0] if self._order else 0

    @property
    def incomplete(self) -> int:
        """Admitted records that are not done."""
        return len(self._order) - len(self._done)

    def place(self) -> Place | None:
        """What to commit, or None before anything is known."""
        while not self._order and self._next in self._restored:
            self._next += 1  # done by an earlier owner, and not seen again yet
        base = self.base
        if base is None:
            return None
        if self._restored:  # what lies beyond the records seen so far is still true, and the rest is in _done
            self._restored = frozenset(offset for offset in self._restored if offset >= self._next)
        return Place(base, self._restored.union(self._done))
