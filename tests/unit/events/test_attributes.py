from datetime import UTC, datetime, timedelta, timezone

import pytest

from orchestra.errors import DecodeError, EncodeError
from orchestra.events.attributes import (
    attribute_name,
    canonical,
    extension_name,
    format_time,
    integer,
    is_json,
    parse_time,
    plain,
    string,
    typed,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T15:07:06Z", datetime(2026, 11, 24, 15, 7, 6, tzinfo=UTC)),
        ("2026-11-24t15:07:06z", datetime(2026, 11, 24, 15, 7, 6, tzinfo=UTC)),
        ("2026-11-24T15:07:06.5Z", datetime(2026, 11, 24, 15, 7, 6, 500_000, tzinfo=UTC)),
        ("2026-11-24T15:07:06.123456789Z", datetime(2026, 11, 24, 15, 7, 6, 123_456, tzinfo=UTC)),
        ("2026-11-24T15:07:06+05:30", datetime(2026, 11, 24, 9, 37, 6, tzinfo=UTC)),
        ("2026-11-24T15:07:06-00:00", datetime(2026, 11, 24, 15, 7, 6, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_rfc3339_times_are_read(text: str, expected: datetime) -> None:
    assert parse_time("time", text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-24",
        "2026-11-24T15:07Z",
        "2026-11-24T15:07:06",
        "2026-11-24 15:07:06Z",
        "2026-11-24T15:07:06+01",
        "2026-11-24T15:07:06+0100",
        "20261124T150706Z",
        "2026-W48-2T15:07:06Z",
        "2026-11-24T15:07:06,5Z",
        "2026-11-24T15:07:06.Z",
        "2026-11-24T24:00:00Z",
        "2026-11-24T15:07:61Z",
        "2026-02-30T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:60Z",
        "2026-11-24T15:07:06+24:00",
        "2026-11-24T15:07:06Z\n",
        " 2026-11-24T15:07:06Z",
        "٢٠٢٦-11-24T15:07:06Z",
        "1763996826",
    ],
)
def test_what_is_not_rfc3339_is_refused_and_the_attribute_named(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_time("expirytime", text)
    assert caught.value.attribute == "expirytime"


def test_times_are_written_in_utc_with_z() -> None:
    at = datetime(2026, 11, 24, 15, 7, 6, 5, tzinfo=timezone(timedelta(hours=5, minutes=30)))

    assert format_time(at) == "2026-11-24T09:37:06.000005Z"
    assert format_time(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00Z"
    assert parse_time("time", format_time(at)) == at


def test_time_without_offset_is_refused() -> None:
    with pytest.raises(EncodeError, match="offset"):
        format_time(datetime.fromisoformat("2026-01-01"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (True, "true"),
        (False, "false"),
        (-5, "-5"),
        (b"\xff", "/w=="),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z"),
    ],
)
def test_canonical_text_of_each_type(value: str | bool | int | bytes | datetime, text: str) -> None:
    assert canonical(value) == text


@pytest.mark.parametrize("text", ["", "plain", "Zürich", "日本", "\N{PILE OF POO}", "\xa0", "\u200b", "\ue000", "%41"])
def test_strings_that_are_allowed(text: str) -> None:
    assert string("subject", text) is text


@pytest.mark.parametrize(
    "text",
    ["a\x00", "\n", "\x1f", "\x7f", "\x80", "\x9f", "\ud800", "\ufdd0", "\ufffe", "\uffff", "\U0010ffff"],
)
def test_characters_that_cloudevents_forbids(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        string("subject", text)
    assert caught.value.attribute == "subject"


def test_integer_has_32_bits() -> None:
    assert integer("n", -(2**31)) == -(2**31)
    assert integer("n", 2**31 - 1) == 2**31 - 1
    for value in (2**31, -(2**31) - 1):
        with pytest.raises(DecodeError, match="32 bits"):
            integer("n", value)


def test_integer_extension_is_read_from_its_canonical_text_only() -> None:
    assert [typed("replypartition", text) for text in ("0", "7", "-7", 7)] == [0, 7, -7, 7]
    wrong: object
    for wrong in ("", "07", "+7", "7.0", " 7", "7 ", "٧", "-0", "4294967296", "9" * 5000, 7.0, True, None, []):
        with pytest.raises(DecodeError) as caught:
            typed("replypartition", wrong)
        assert caught.value.attribute == "replypartition"


def test_timestamp_extension_is_checked_and_stays_text() -> None:
    text = "2026-11-24T15:07:06.123456789+05:30"
    assert typed("expirytime", text) == text
    for wrong in ("soon", 5, True, None):
        with pytest.raises(DecodeError) as caught:
            typed("expirytime", wrong)
        assert caught.value.attribute == "expirytime"


def test_plain_value_is_what_an_envelope_keeps() -> None:
    assert plain("expirytime", datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00Z"
    assert plain("replypartition", "7") == 7
    assert plain("flowname", "food") == "food"
    for name, value in (("expirytime", "soon"), ("replypartition", "x")):
        with pytest.raises(EncodeError, match=name):
            plain(name, value)


def test_names_are_lower_case_letters_and_digits() -> None:
    assert attribute_name("flow1") == extension_name("flow1") == "flow1"
    for wrong in ("", "saga_id", "Saga", "data", "a-b", "ä", "a\n"):
        with pytest.raises(DecodeError):
            attribute_name(wrong)
        with pytest.raises(EncodeError):
            extension_name(wrong)
    for core in ("id", "specversion", "datacontenttype"):
        with pytest.raises(EncodeError):
            extension_name(core)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (None, True),
        ("application/json", True),
        ("APPLICATION/JSON; charset=utf-8", True),
        ("text/json", True),
        ("application/problem+json", True),
        ("application/json ;x=y", True),
        ("application/jsonlines", False),
        ("json", False),
        ("text/plain", False),
        ("application/avro; x=+json", False),
    ],
)
def test_json_content_types(content_type: str | None, expected: bool) -> None:
    assert is_json(content_type) is expected
