"""What holds for every event and for every record, whatever is in it."""

import string
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from orchestra.errors import DecodeError
from orchestra.events.attributes import CORE, TYPED, Value, is_usual_time, parse_time
from orchestra.events.cloudevents import Headers, Mode, _content_type, _decode_with_care, decode, encode
from orchestra.events.envelope import Envelope, compose
from orchestra.events.json_format import _check
from orchestra.events.message import Event, Key, decode_data, encode_data, record_key

thorough = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

_forbidden = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *map(chr, range(0xFDD0, 0xFDF0))}
_forbidden |= {chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF)}
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=_forbidden), min_size=1, max_size=12)
names = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20).filter(
    lambda name: name not in {*CORE, *TYPED, "data"}
)
times = st.one_of(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda at: at.isoformat() + "Z"),  # noqa: DTZ001
    st.sampled_from(["2026-11-24t15:07:06.123456789z", "2026-11-24T15:07:06+05:30", "2016-12-31T23:59:60Z"]),
)
integers = st.integers(-(2**31), 2**31 - 1)
values: st.SearchStrategy[Value] = st.one_of(texts, st.just(""), st.booleans(), integers, st.binary(max_size=5))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("data"), inner, max_size=3)
    ),
    max_leaves=8,
)
json_data = json_values.map(lambda value: to_json(value, inf_nan_mode="strings"))
content_types = st.none() | st.sampled_from(["application/json", "a/b+JSON; x=y", "text/plain", "application/avro"])


@st.composite
def extensions(draw: st.DrawFn) -> dict[str, Value]:
    found = draw(st.dictionaries(names, values, max_size=4))
    if draw(st.booleans()):
        found["replypartition"] = draw(integers)
    if draw(st.booleans()):
        found["expirytime"] = draw(times)
    return found


envelopes = st.builds(
    Envelope,
    id=texts,
    source=texts,
    type=texts,
    subject=st.none() | texts,
    time_text=st.none() | times,
    datacontenttype=content_types,
    dataschema=st.none() | texts,
    extensions=extensions(),
    data=st.none() | json_data | st.binary(max_size=20),
)
modes = st.sampled_from(["binary", "structured"])


@thorough
@given(envelopes, modes)
def test_decoding_what_was_encoded_gives_the_same_event(event: Envelope, mode: Mode) -> None:
    assert decode(*encode(event, mode)) == event


@thorough
@given(envelopes, modes, modes)
def test_an_event_forwarded_in_another_mode_is_the_same_event(event: Envelope, first: Mode, then: Mode) -> None:
    received = decode(*encode(event, first))
    assert decode(*encode(received, then)) == event


@thorough
@given(envelopes, modes)
def test_encoding_again_gives_the_same_bytes(event: Envelope, mode: Mode) -> None:
    headers, value = encode(decode(*encode(event, mode)), mode)
    assert encode(decode(headers, value), mode) == (headers, value)


wild_names = st.one_of(
    st.sampled_from(["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_subject", "content-type"]),
    st.sampled_from(
        ["ce_replypartition", "ce_expirytime", "ce_flowid", "ce_data", "ce_datacontenttype", "traceparent"]
    ),
    st.text(max_size=6).map(lambda name: f"ce_{name}"),
    st.text(max_size=6),
)
wild_values = st.one_of(
    st.none(),
    st.binary(max_size=12),
    st.sampled_from([b"1.0", b"i", b"application/json", b"application/cloudevents+json", b"2026-01-01T00:00:00Z"]),
    texts.map(str.encode),
)
complete = [("ce_specversion", b"1.0"), ("ce_id", b"i"), ("ce_source", b"/s"), ("ce_type", b"t")]


@thorough
@given(st.booleans(), st.lists(st.tuples(wild_names, wild_values), max_size=8), st.none() | st.binary(max_size=40))
def test_any_headers_and_any_bytes_give_an_event_or_a_decode_error(
    begin: bool, headers: list[tuple[str, bytes | None]], value: bytes | None
) -> None:
    _event_or_decode_error([*(complete if begin else []), *headers], value)


good_or_bad: dict[str, list[bytes | None]] = {
    "ce_specversion": [b"1.0", b"0.3"],
    "ce_id": [b"i", b"", None],
    "ce_source": [b"/s", "/ü".encode()],
    "ce_type": [b"t.v1", b"t\n"],
    "ce_subject": [b"s", b"", b"\xff", b"a\x00b", b" "],
    "ce_time": [b"2026-11-24T15:07:06.8Z", b"2026-11-31T15:07:06Z", b"2026-12-31T23:59:60Z", b"soon", b""],
    "ce_expirytime": [b"2028-02-29T15:07:06Z", b"2026-11-24T15:07:06+01:00", b"never"],
    "ce_replypartition": [b"0", b"7", b"-7", b"007", b"9999999999", b"", b"1.0"],
    "ce_dataschema": [b"urn:x", b""],
    "ce_datacontenttype": [b"text/plain"],
    "content-type": [b"application/json", b"text/plain", b"application/cloudevents+avro", b"", None, b"\xff"],
    "ce_tracestate": [b"a=b", b""],
    "ce_brandnew": [b"x", None],
    "ce_bad_name": [b"x"],
    "ce_data": [b"x"],
    "traceparent": [b"00-x", b"\x00\xff", None],
}


_one_header = st.sampled_from([(name, value) for name, values in good_or_bad.items() for value in values])


@st.composite
def mostly_good_headers(draw: st.DrawFn) -> list[tuple[str, bytes | None]]:
    """What an event needs, but for one header now and then; and a few more, good or bad, new or for the second time."""
    required = [(name, good_or_bad[name][0]) for name in [*list(good_or_bad)[:4], "content-type"]]
    if draw(st.integers(0, 9)) == 0:
        required.remove(draw(st.sampled_from(required)))
    return [*required, *draw(st.lists(_one_header, max_size=3))]


def what_comes_of(read: Callable[[Headers], Envelope], headers: Headers) -> tuple[object, ...]:
    try:
        event = read(headers)
    except DecodeError as error:
        return (str(error),)
    extensions = [(name, value, type(value)) for name, value in event.extensions.items()]
    core = (event.id, event.source, event.type, event.subject, event.time_text, event.dataschema)
    return (*core, event.datacontenttype, event.time, sorted(extensions), event.data)


def each_by_itself(headers: Headers) -> Envelope:
    raw = dict(headers)
    media = raw.get("content-type")
    return _decode_with_care(raw, None if media is None else _content_type(media), b"{}")


@settings(thorough, max_examples=500)
@given(mostly_good_headers())
def test_one_look_at_all_headers_finds_what_a_look_at_each_finds(headers: Headers) -> None:
    assert what_comes_of(lambda given: decode(given, b"{}"), headers) == what_comes_of(each_by_itself, headers)


@thorough
@given(st.from_regex(is_usual_time.__self__, fullmatch=True))  # type: ignore[attr-defined]
def test_a_time_that_gets_no_second_look_is_one(text: str) -> None:
    assert parse_time("time", text).tzinfo is UTC


@st.composite
def nearly_json_objects(draw: st.DrawFn) -> bytes:
    """An object, with something put in somewhere that may or may not break it."""
    text = to_json(draw(st.dictionaries(st.text(max_size=5), json_values, max_size=3)), inf_nan_mode="strings")
    at = draw(st.integers(0, len(text)))
    odd = [
        b"",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"9" * 5000,
        b'"\\ud800"',
        b"\xff",
        b",",
        b"}",
        b'"',
        b"{",
        b"[" * 300,
        b"\x00",
    ]
    return text[:at] + draw(st.sampled_from(odd)) + text[at:]


@settings(thorough, max_examples=300)
@given(nearly_json_objects())
def test_data_that_is_only_checked_is_json_exactly_when_it_can_be_read(data: bytes) -> None:
    def accepts(read: Callable[[bytes], object]) -> bool:
        try:
            read(data)
        except ValueError:
            return False
        return True

    assert accepts(_check) == accepts(lambda text: from_json(text, allow_inf_nan=False))


members = st.dictionaries(
    st.sampled_from(
        ["specversion", "id", "source", "type", "time", "data", "data_base64", "datacontenttype", "x", "X", ""]
    ),
    json_values | st.just("1.0"),
)


@thorough
@given(members, st.booleans(), st.integers(0, 30), st.binary(max_size=3))
def test_any_json_gives_an_event_or_a_decode_error(event: dict[str, Any], begin: bool, cut: int, junk: bytes) -> None:
    if begin:
        event = {"specversion": "1.0", "id": "i", "source": "/s", "type": "t"} | event
    text = to_json(event, inf_nan_mode="constants")
    value = text[:-cut] + junk if cut < 10 and cut else text
    _event_or_decode_error([("content-type", b"application/cloudevents+json")], value)


def _event_or_decode_error(headers: Headers, value: bytes | None) -> None:
    event = refused = None
    try:
        event = decode(headers, value)
    except DecodeError as error:
        refused = error.attribute
    if event is None:
        assert refused is not None
        assert len(refused) <= 64
        return
    assert decode(*encode(event, "structured")) == event
    if "cloudevents" not in (event.datacontenttype or "").lower():  # that would announce the other mode
        assert decode(*encode(event)) == event


@thorough
@given(st.lists(st.tuples(wild_names, wild_values), max_size=8), st.none() | st.binary(max_size=40))
def test_decoding_leaves_headers_and_value_as_they_were(
    headers: list[tuple[str, bytes | None]], value: bytes | None
) -> None:
    before = list(headers)
    _event_or_decode_error(headers, value)
    assert headers == before


class Note(Event, type="test.note.v1"):
    key: Key[str]
    text: str = ""
    blob: bytes = b""
    number: float = 0.0


@thorough
@given(
    st.builds(
        Note,
        key=texts,
        text=st.text(st.characters(exclude_categories=["Cs"])),
        blob=st.binary(),
        number=st.floats(allow_nan=False, allow_infinity=False),
    ),
    modes,
)
def test_message_survives_the_wire(note: Note, mode: Mode) -> None:
    event = compose(note, id="i", source="/s", time=datetime(2026, 1, 1, tzinfo=UTC))

    assert decode(*encode(event, mode)).value(Note) == note
    assert decode_data(Note, encode_data(note)) == note
    assert record_key(note) == note.key.encode()


@thorough
@given(st.binary(max_size=60) | json_data)
def test_any_data_gives_a_message_or_a_decode_error(raw: bytes) -> None:
    with suppress(DecodeError):
        assert type(decode_data(Note, raw)) is Note
