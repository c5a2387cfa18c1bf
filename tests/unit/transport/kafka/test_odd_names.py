"""Names of headers that are no UTF-8 become readable, and nothing else of their batch changes."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from orchestra.errors import TransportError
from orchestra.transport.kafka.fetched import unpack
from orchestra.transport.kafka.odd_names import readable
from tests.unit.transport.kafka.stored_batches import GZIP, batch, with_names


def test_only_names_that_are_no_utf8_are_changed() -> None:
    for name, read in ((b"h\xfc", "h?"), (b"\xff\xfe", "??"), ("ü".encode(), "ü"), (b"ok", "ok")):
        records = unpack(readable(with_names(batch(5, 3), name), 5), "t", 0, 5)

        assert [(r.offset, r.key, r.value, list(r.headers)) for r in records] == [
            (offset, b"k", b"%d" % offset, [(read, b"1")]) for offset in (5, 6, 7)
        ]


def test_batch_is_found_among_others() -> None:
    data = batch(0, 2) + with_names(batch(2, 2), b"h\xfc") + batch(4, 2)

    assert [record.offset for record in unpack(readable(data, 2), "t", 0, 3)] == [3]


def test_compressed_batch_is_read() -> None:
    raw = batch(0, 3, flags=GZIP)
    odd: Any = bytearray(raw[:61] + gzip.compress(gzip.decompress(raw[61:]).replace(b"hh", b"h\xfc")))
    odd[8:12] = (len(odd) - 12).to_bytes(4, "big")

    assert [list(record.headers) for record in unpack(readable(bytes(odd), 0), "t", 0, 0)] == 3 * [[("h?", b"1")]]


def test_batch_that_has_gone_is_an_error() -> None:
    with pytest.raises(TransportError):
        readable(batch(3, 1) + batch(4, 1)[:-1], 4)
