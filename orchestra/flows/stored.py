"""What stands beside an instance's record? What would be written with every decision, though it never changes.

That is what has become of many items, and data beyond a few kilobytes: in parts, and decoded once.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from orchestra.events.message import Message, decode_data
from orchestra.flows.decision import ReadValue, no_values

LARGE_BYTES = 2048
_PART_BYTES = 48 * 1024
_MOST_KNOWN = 64

M = TypeVar("M", bound=Message)

_decoded: OrderedDict[tuple[type[Message], tuple[bytes, ...]], Message] = OrderedDict()


class Stored:
    """Values beside the record: what an instance has stored, and what this decision changes in it."""

    __slots__ = ("_read", "changed")

    def __init__(self, read: ReadValue = no_values) -> None:
        self._read = read
        self.changed: dict[str, bytes | None] = {}

    def get(self, name: str) -> bytes | None:
        """None for what is not there, or not any more."""
        if name in self.changed:
            return self.changed[name]
        try:
            return self._read(name)
        except KeyError:
            return None

    def __getitem__(self, name: str) -> bytes:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def put(self, name: str, value: bytes) -> None:
        """Store it from now on. A name is used once in a run: the value never changes."""
        self.changed[name] = value

    def put_parts(self, name: str, data: bytes) -> int:
        """Store data of any size. Returns the number of its parts."""
        places = range(0, len(data), _PART_BYTES)
        for number, at in enumerate(places):
            self.put(f"{name}/{number}", data[at : at + _PART_BYTES])
        return len(places)

    def parts(self, name: str, count: int) -> tuple[bytes, ...]:
        """What :meth:`put_parts` has stored."""
        return tuple(self[f"{name}/{number}"] for number in range(count))

    def drop(self, name: str) -> None:
        """Nothing refers to it any more."""
        self.changed[name] = None


def decode_parts(cls: type[M], parts: tuple[bytes, ...]) -> M:
    """The typed message, decoded once while it is in use: messages do not change. Raises DecodeError."""
    known = _decoded.get((cls, parts))
    if isinstance(known, cls):
        _decoded.move_to_end((cls, parts))
        return known
    made = decode_data(cls, b"".join(parts))
    _decoded[cls, parts] = made
    while len(_decoded) > _MOST_KNOWN:
        _decoded.popitem(last=False)
    return made
