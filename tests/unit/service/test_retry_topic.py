"""A record in a retry topic: the record, and what it says of itself."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.errors import DecodeError
from orchestra.service.dead_letter import PREFIX, dead_letter, dead_letter_id, failure_of
from orchestra.service.retry_topic import Detoured, Source, due, put, read, source_of
from orchestra.transport.port import Outgoing, Record

AT = datetime(2030, 1, 1, 12, 30, tzinfo=UTC)
ABOUT = Detoured("stock.reserve", 3, 1, Source("stock.commands", 2, 77, 1_000), AT, 12.5, "ValueError")


def stored(outgoing: Outgoing, *, offset: int = 5, timestamp_ms: int = 50_000) -> Record:
    partition = outgoing.partition or 0
    return Record(
        outgoing.topic,
        partition,
        offset,
        timestamp_ms,
        outgoing.key,
        outgoing.value,
        outgoing.headers,
        append_time=True,
    )


def original(*headers: tuple[str, bytes | None], value: bytes | None = b"v") -> Record:
    return Record("stock.commands", 2, 77, 1_000, b"k", value, headers)


def test_it_is_the_record_with_headers_behind() -> None:
    record = original(("ce_id", b"1"), ("twice", b"a"), ("twice", None))

    out = put(record, ABOUT, topic="stock.retry.5s", tier="5s")

    assert (out.topic, out.key, out.value, out.partition) == ("stock.retry.5s", b"k", b"v", 2)
    assert list(out.headers)[:3] == list(record.headers)
    assert out.timestamp_ms is None, "the broker says when"


@given(
    st.text(min_size=1, max_size=20).filter(str.strip),
    st.integers(1, 99),
    st.integers(1, 9),
    st.integers(0, 2**40),
    st.none() | st.just(AT),
)
def test_what_is_put_on_is_what_is_read(
    handler: str, attempt: int, hop: int, offset: int, first: datetime | None
) -> None:
    told = Detoured(handler, attempt, hop, Source("t", 3, offset, 12), first)

    assert read(stored(put(original(), told, topic="r", tier="5s"))) == told


def test_a_second_hop_replaces_the_headers_of_the_first() -> None:
    once = stored(put(original(("ce_id", b"1")), ABOUT, topic="a", tier="5s"))
    twice = put(once, ABOUT, topic="b", tier="30s")

    assert len(twice.headers) == len(once.headers)
    assert dict(twice.headers)["orchestra-retry-tier"] == b"30s"


def test_due_is_append_time_and_delay_or_later_where_that_was_asked_for() -> None:
    record = stored(put(original(), ABOUT, topic="a", tier="5s"), timestamp_ms=60_250)

    assert due(record, 5.0, ABOUT) == 65.25
    assert due(record, 5.0, Detoured("h", 2, 1, ABOUT.source, not_before=99.0)) == 99.0


def test_the_source_is_where_it_was_read_first() -> None:
    assert source_of(original()) == Source("stock.commands", 2, 77, 1_000)
    assert source_of(stored(put(original(), ABOUT, topic="a", tier="5s"))) == ABOUT.source


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("orchestra-retry-handler", None),),
        (("orchestra-retry-handler", b"h"),),
        (("orchestra-retry-handler", b"h"), ("orchestra-retry-attempt", b"\xff")),
    ],
)
def test_headers_that_are_not_ours_are_no_reason_to_fall(headers: tuple[tuple[str, bytes | None], ...]) -> None:
    with pytest.raises(DecodeError):
        read(original(*headers))


def test_a_source_that_makes_no_sense_is_no_source() -> None:
    record = original(("orchestra-retry-source-topic", b"x"), ("orchestra-retry-source-offset", b"many"))

    assert source_of(record) == Source("stock.commands", 2, 77, 1_000)


def test_a_dead_letter_from_a_retry_topic_is_the_first_record() -> None:
    record = original(("ce_id", b"1"))
    late = stored(put(record, ABOUT, topic="stock.retry.5s", tier="5s"))
    failure = failure_of(ValueError("x"), "TRANSIENT", handler="h", attempts=4, first=AT, last=AT)

    letter = dead_letter(late, failure, topic="stock.dead-letters", group="stock")

    assert (letter.key, letter.value, letter.timestamp_ms) == (record.key, record.value, record.timestamp_ms)
    assert [header for header in letter.headers if not header[0].startswith(PREFIX)] == [("ce_id", b"1")]
    told = dict(letter.headers)
    assert told[PREFIX + "source-topic"] == b"stock.commands"
    assert told[PREFIX + "source-offset"] == b"77"
    assert told[PREFIX + "attempts"] == b"4"
    assert dead_letter_id(late, "stock") == dead_letter_id(record, "stock") == "stock/stock.commands/2/77"


def test_a_redriven_record_keeps_its_very_first_source_through_a_retry_topic() -> None:
    redriven = original((PREFIX + "source-topic", b"long.ago"), (PREFIX + "source-offset", b"1"))
    late = stored(put(redriven, ABOUT, topic="stock.retry.5s", tier="5s"))
    failure = failure_of(ValueError("x"), "TRANSIENT", handler="h", attempts=4, first=AT, last=AT)

    told = dict(dead_letter(late, failure, topic="d", group="stock").headers)

    assert told[PREFIX + "source-topic"] == b"long.ago"
    assert told[PREFIX + "source-offset"] == b"1"
