from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from orchestra.service.dead_letter import Failure, bare, dead_letter, dead_letter_id, failure_of, without_payload
from orchestra.transport.port import Outgoing, Record

FIRST, LAST = datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 2, tzinfo=UTC)


def failure(message: str = "no", stack: str = "trace") -> Failure:
    return Failure("PERMANENT", "x.Error", message, stack, "f00d", "stock.reserve", 3, FIRST, LAST)


def record(headers: tuple[tuple[str, bytes | None], ...] = (("ce_id", b"1"),), value: bytes | None = b"v") -> Record:
    return Record("stock.commands", 3, 42, 1_700_000_000_123, b"key", value, headers)


def letter_of(source: Record, why: Failure | None = None) -> Outgoing:
    return dead_letter(source, why or failure(), topic="stock.dead-letters", group="team.stock", version="1.2")


def told(letter: Outgoing) -> dict[str, bytes | None]:
    prefix = "orchestra-dlq-"
    return {name.removeprefix(prefix): value for name, value in letter.headers if name.startswith(prefix)}


@given(
    st.binary() | st.none(),
    st.binary() | st.none(),
    st.lists(
        st.tuples(st.text(max_size=20).filter(lambda name: not name.startswith("orchestra-")), st.binary() | st.none())
    ),
    st.integers(0, 1 << 40),
)
def test_dead_letter_is_the_record_byte_for_byte_with_reasons_behind(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]], timestamp_ms: int
) -> None:
    source = Record("t", 0, 0, timestamp_ms, key, value, tuple(headers))

    letter = letter_of(source)

    assert (letter.key, letter.value, letter.timestamp_ms) == (key, value, timestamp_ms)
    assert list(letter.headers)[: len(headers)] == headers
    assert len(letter.headers) == len(headers) + 17


def test_dead_letter_says_why_where_and_when() -> None:
    assert told(letter_of(record())) == {
        "id": b"team.stock/stock.commands/3/42",
        "reason": b"PERMANENT",
        "error-class": b"x.Error",
        "error-message": b"no",
        "error-stack": b"trace",
        "fingerprint": b"f00d",
        "group": b"team.stock",
        "handler": b"stock.reserve",
        "service-version": b"1.2",
        "source-topic": b"stock.commands",
        "source-partition": b"3",
        "source-offset": b"42",
        "source-timestamp": b"1700000000123",
        "attempts": b"3",
        "first-failure": b"2030-01-01T00:00:00+00:00",
        "last-failure": b"2030-01-02T00:00:00+00:00",
        "redrive-count": b"0",
    }
    assert dead_letter_id(record(), "team.stock") == "team.stock/stock.commands/3/42"


def test_dead_letter_that_fails_again_keeps_its_first_source_and_the_last_error() -> None:
    once = letter_of(record())
    again = Record("stock.retry", 0, 7, 5, once.key, once.value, (*once.headers, ("orchestra-redrive-count", b"1")))

    twice = told(letter_of(again, failure("other")))

    assert twice["source-topic"] == b"stock.commands"
    assert twice["source-offset"] == b"42"
    assert twice["first-failure"] == b"2030-01-01T00:00:00+00:00"
    assert twice["error-message"] == b"other"
    assert twice["redrive-count"] == b"1"
    assert len(twice) == 17, "headers do not pile up"


def test_message_and_stack_are_cut_to_whole_characters() -> None:
    long = told(letter_of(record(), failure("ä" * 2000, "x" + "ü" * 4000)))

    message, stack = long["error-message"], long["error-stack"]
    assert message is not None
    assert stack is not None
    assert len(message) <= 1024
    assert len(stack) <= 4096
    assert set(message.decode()) == {"ä"}
    assert set(stack.decode()) == {"ü"}, "of a stack the end is kept"


def test_message_that_is_no_text_does_not_stop_a_dead_letter() -> None:
    assert told(letter_of(record(), failure("\ud800 lone")))["error-message"] == b"? lone"


def test_redrive_count_that_is_no_number_counts_as_none() -> None:
    for nonsense in (b"many", b"-1", b"1" * 5000, "\u0663".encode(), b""):
        assert told(letter_of(record((("orchestra-redrive-count", nonsense),))))["redrive-count"] == b"0"


def test_reduced_letters_keep_the_reasons() -> None:
    letter = letter_of(record())

    assert without_payload(letter).value is None
    assert told(without_payload(letter)) == told(letter) | {"payload": b"omitted"}
    assert ("ce_id", b"1") in without_payload(letter).headers
    assert ("ce_id", b"1") not in bare(letter).headers
    assert told(bare(letter))["reason"] == b"PERMANENT"


def fail(number: int) -> None:
    raise ValueError(f"order {number}")


def caught(number: int) -> Failure:
    try:
        fail(number)
    except ValueError as error:
        return failure_of(error, "TRANSIENT", handler="h", attempts=1, first=FIRST, last=LAST)
    raise AssertionError


def test_fingerprint_groups_the_same_failure_and_tells_others_apart() -> None:
    try:
        raise ValueError("order 1")
    except ValueError as error:
        elsewhere = failure_of(error, "TRANSIENT", handler="h", attempts=1, first=FIRST, last=LAST)

    assert caught(1).fingerprint == caught(2).fingerprint
    assert caught(1).fingerprint != elsewhere.fingerprint
    assert caught(1).error_class == "builtins.ValueError"
    assert "in fail" in caught(1).stack
