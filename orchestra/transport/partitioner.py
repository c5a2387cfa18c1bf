"""Which partition does a key belong to? As Java's default partitioner chooses it, for one key or for many at once."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from struct import unpack_from
from typing import Final

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF
_FEW: Final = 8
"""So many keys of one length are hashed one by one: numbers for all of them would cost more."""


def partition_for(key: bytes, partitions: int) -> int:
    """The partition of a key, as Java's default partitioner chooses it: (murmur2(key) & 0x7fffffff) % partitions."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def partitions_for(keys: Sequence[bytes], partitions: int) -> list[int]:
    """:func:`partition_for` each key, at a tenth of the cost or less where many have the same length."""
    by_length: defaultdict[int, list[int]] = defaultdict(list)
    for index, length in enumerate(map(len, keys)):
        by_length[length].append(index)
    if len(by_length) == 1 and len(keys) > _FEW and keys[0]:
        return [(hash_ & 0x7FFFFFFF) % partitions for hash_ in _hash_many(keys)]
    found = [0] * len(keys)
    for length, places in by_length.items():
        some = [keys[place] for place in places]
        hashes = _hash_many(some) if length and len(some) > _FEW else map(murmur2, some)
        for place, hash_ in zip(places, hashes, strict=True):
            found[place] = (hash_ & 0x7FFFFFFF) % partitions
    return found


def murmur2(data: bytes) -> int:
    """Kafka's murmur2 (seed 0x9747b28c) as an unsigned 32-bit number; Austin Appleby's algorithm, public domain."""
    length = len(data)
    h = _SEED ^ length
    for word in unpack_from(f"<{length >> 2}I", data):
        k = word * _M & _MASK
        h = (h * _M ^ (k ^ k >> 24) * _M) & _MASK
    if tail := data[length & ~3 :]:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def _hash_many(keys: Sequence[bytes]) -> list[int]:
    """The murmur2 of keys that all have the same length, not 0.

    Python's whole numbers are as wide as one likes, and are multiplied in C. So one number holds a word of every second
    key, each in 64 bits: a product of two 32-bit words does not reach its neighbour. Two such numbers, for the even and
    the odd keys, go through the algorithm side by side, a word of the keys at a time.
    """
    length, count = len(keys[0]), len(keys)
    tail = length & 3
    words = (length + 3) >> 2
    padding = bytes(-tail & 3)
    columns = array("I", padding.join(keys) + padding)
    half = (count + 1) >> 1
    low, ones = _every_second(half)
    even = odd = ones * (_SEED ^ length)
    for word in range(words):
        both = int.from_bytes(columns[word::words].tobytes(), "little")
        if tail and word == words - 1:
            even, odd = _mix_tail(even, both & low, low), _mix_tail(odd, both >> 32 & low, low)
        else:
            even, odd = _mix(even, both & low, low), _mix(odd, both >> 32 & low, low)
    both = _finish(even, low) | _finish(odd, low) << 32
    return list(unpack_from(f"<{count}I", both.to_bytes(half * 8, "little")))


def _mix(h: int, k: int, low: int) -> int:
    k = k * _M & low
    return (h * _M & low) ^ ((k ^ k >> 24 & low) * _M & low)


def _mix_tail(h: int, k: int, low: int) -> int:
    return (h ^ k) * _M & low


def _finish(h: int, low: int) -> int:
    h = (h ^ h >> 13 & low) * _M & low
    return h ^ h >> 15 & low


@lru_cache(maxsize=16)
def _every_second(half: int) -> tuple[int, int]:
    """For so many lanes of 64 bits: the lower 32 bits of each, and a 1 in each."""
    return int.from_bytes(b"\xff\xff\xff\xff\0\0\0\0" * half, "little"), int.from_bytes(
        b"\1\0\0\0\0\0\0\0" * half, "little"
    )
