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
    ("key", "unsigned"),
    [
        (b"", 0x106E08D9),
        (b"a", 0xA2D0B27C),
        (b"ab", 0x12D8262A),
        (b"abc", 0x1C94221B),
        (b"abcd", 0xB11AB5F4),
        ("K\u00f6ln".encode(), 0xA2B0DF96),
        ("\u4e2d\u6587".encode(), 0x4005D34D),
        ("\U0001f680x".encode(), 0x19B347DE),
        (b"\xff\x80\0\xfe\xff\1\x80", 0xCCD25C69),
        (b"kafka", 0xD067CF64),
        (b"giberish123456789", 0x8F552B0C),
        (b"PreAmbleWillBeRemoved,ThePrePartThatIs", 0x78424F1C),
        (b"AmbleWillBeRemoved,ThePrePartThatIs", 0x62B8B43F),
    ],
)
def test_murmur2_gives_the_numbers_of_javas_client_for_every_tail_and_any_bytes(key: bytes, unsigned: int) -> None:
    """Printed by ``Utils.murmur2`` of kafka-clients 4.3.1; the last four are librdkafka's for Java's algorithm."""
    assert murmur2(key) == unsigned
    assert partitions_for([key] * 20, 1 << 31) == [unsigned & 0x7FFFFFFF] * 20


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
