"""A record finds its headers."""

from __future__ import annotations

from orchestra.transport.port import Record


def test_header_is_the_last_of_its_name() -> None:
    record = Record("t", 0, 0, 0, None, None, [("a", b"1"), ("b", None), ("a", b"2")])

    assert (record.header("a"), record.header("b"), record.header("c")) == (b"2", None, None)
