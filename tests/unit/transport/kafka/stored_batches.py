"""Batches as a broker has them, byte for byte."""

from __future__ import annotations

import struct

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

GZIP, APPEND_TIME, TRANSACTIONAL, CONTROL = 0x01, 0x08, 0x10, 0x20


def batch(
    offset: int,
    count: int = 1,
    *,
    producer: int = -1,
    flags: int = 0,
    key: bytes = b"k",
    name: str = "hh",
    deltas: int | None = None,
) -> bytes:
    """A batch as a broker has it: ``count`` records from ``offset`` on, and ``deltas`` offsets in all."""
    builder = DefaultRecordBatchBuilder(2, flags & GZIP, 0, producer, 0, 0, 1 << 20)
    for i in range(count):
        builder.append(i, 1000 + i, key, b"%d" % (offset + i), [("hh", b"1")])
    raw = bytearray(builder.build())
    struct.pack_into(">q", raw, 0, offset)
    struct.pack_into(">h", raw, 21, flags)
    struct.pack_into(">i", raw, 23, (deltas or count) - 1)
    return _summed(raw)


def with_names(raw: bytes, name: bytes, *, was: bytes = b"hh") -> bytes:
    """The batch with another name, of the same length, for its headers."""
    return _summed(bytearray(raw.replace(was, name)))


def _summed(raw: bytearray) -> bytes:
    struct.pack_into(">I", raw, 17, calc_crc32c(bytes(raw[21:])))
    return bytes(raw)
