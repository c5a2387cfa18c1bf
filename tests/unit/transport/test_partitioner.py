"""The partition of a key is the one that Java's clients choose, for one key and for many at once."""

from __future__ import annotations

from hashlib import sha256

import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from orchestra.transport.partitioner import murmur2, partition_for, partitions_for


@pytest.mark.parametrize(
    ("data", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_gives_the_numbers_of_kafkas_own_tests(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed & 0xFFFFFFFF


@pytest.mark.parametrize(
    "key", [b"", b"a", b"ab", b"abc", b"abcd", "K\u00f6ln-\u4e2d".encode(), b"\xff" * 7, b"\x80\0\0\0"]
)
def test_murmur2_is_aiokafkas_for_every_tail_and_any_bytes(key: bytes) -> None:
    assert murmur2(key) == aiokafka_murmur2(key) & 0xFFFFFFFF


@given(st.binary(max_size=64), st.integers(1, 100))
def test_partition_is_the_one_that_aiokafka_chooses(key: bytes, partitions: int) -> None:
    assert partition_for(key, partitions) == (aiokafka_murmur2(key) & 0x7FFFFFFF) % partitions


@given(st.lists(st.binary(max_size=40), max_size=60), st.integers(1, 100))
def test_many_keys_get_the_partitions_that_each_gets_alone(keys: list[bytes], partitions: int) -> None:
    assert partitions_for(keys, partitions) == [partition_for(key, partitions) for key in keys]


@pytest.mark.parametrize("count", [9, 10, 255, 256])
@pytest.mark.parametrize("length", range(14))
def test_many_keys_of_one_length_get_the_partitions_that_each_gets_alone(length: int, count: int) -> None:
    keys = [sha256(b"%d/%d" % (length, n)).digest()[:length] for n in range(count - 1)] + [b"\xff" * length]

    assert partitions_for(keys, 17) == [partition_for(key, 17) for key in keys]
