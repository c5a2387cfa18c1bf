"""Which records are in retry topics, and what follows for the later ones of their keys? Pure.

A *trail* is what one handler has of one key of one source partition. Within a trail only the earliest record of the
source may be handled; whatever comes up besides has to follow it. So order is kept by the source's own offsets, however
often records move from topic to topic, and nothing has to be said when a trail ends: it is empty then.

A detour covers the partitions of one number, of the sources and of all retry topics of a service, which one member
always has together. It is built from the records that stand in the retry topics, and lives as long as the assignment.

Copies: who dies after a record was put on and before its old place was committed leaves two. The one with more hops is
the newer and knows more; the older one is passed over.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import NamedTuple

from orchestra.service.retry_topic import Detoured, Source
from orchestra.transport.port import Position


class Trail(NamedTuple):
    """One handler, one key, one source partition."""

    handler: str
    key: bytes
    topic: str
    partition: int


class _Copy(NamedTuple):
    hop: int
    offset: int
    topic: str


class Detour:
    """What is in the retry topics' partitions of one number."""

    __slots__ = ("_order", "_places", "_trails")

    def __init__(self) -> None:
        self._trails: dict[Trail, dict[int, list[_Copy]]] = {}
        """Trail -> source offset -> its copies."""
        self._order: dict[Trail, list[int]] = {}
        """Trail -> its source offsets, rising."""
        self._places: dict[tuple[str, int], tuple[Trail, int, _Copy]] = {}

    def __len__(self) -> int:
        """Records that are on this detour."""
        return len(self._places)

    def add(self, key: bytes, about: Detoured, topic: str, offset: int) -> None:
        """A record stands there. Idempotent."""
        if (topic, offset) in self._places:
            return
        trail = _trail(about.handler, key, about.source)
        copies = self._trails.setdefault(trail, {})
        at = about.source.offset
        if at not in copies:
            copies[at] = []
            insort(self._order.setdefault(trail, []), at)
        copy = _Copy(about.hop, offset, topic)
        copies[at].append(copy)
        self._places[topic, offset] = trail, at, copy

    def put(self, key: bytes, about: Detoured, at: Position) -> None:
        """A record was just stored there."""
        self.add(key, about, at.topic, at.offset)

    def done(self, topic: str, offset: int) -> None:
        """A record is done there, or was never there."""
        if (found := self._places.pop((topic, offset), None)) is None:
            return
        trail, at, copy = found
        copies = self._trails[trail]
        copies[at].remove(copy)
        if copies[at]:
            return
        del copies[at]
        order = self._order[trail]
        del order[bisect_left(order, at)]
        if not order:
            del self._order[trail], self._trails[trail]

    def is_on(self, handler: str, key: bytes, source: Source) -> bool:
        """Whether a record of the source is in a retry topic already."""
        return source.offset in self._trails.get(_trail(handler, key, source), ())

    def is_superseded(self, topic: str, offset: int) -> bool:
        """Whether there is a newer copy of the record that stands there."""
        if (found := self._places.get((topic, offset))) is None:
            return False
        trail, at, copy = found
        return max(self._trails[trail][at])[:2] > copy[:2]

    def ahead_of(self, handler: str, key: bytes, source: Source) -> str | None:
        """The retry topic where the earliest record of the trail waits, if that is earlier than this one."""
        trail = _trail(handler, key, source)
        order = self._order.get(trail)
        if not order or order[0] >= source.offset:
            return None
        return max(self._trails[trail][order[0]]).topic


def _trail(handler: str, key: bytes, source: Source) -> Trail:
    return Trail(handler, key, source.topic, source.partition)
