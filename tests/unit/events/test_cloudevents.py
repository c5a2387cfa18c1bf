import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from orchestra.errors import DecodeError, EncodeError
from orchestra.events.cloudevents import Headers, decode, encode
from orchestra.events.envelope import Envelope

REQUIRED: list[tuple[str, bytes | None]] = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"i"),
    ("ce_source", b"/s"),
    ("ce_type", b"t.v1"),
]
JSON = ("content-type", b"application/json")
STRUCTURED = ("content-type", b"application/cloudevents+json")


def with_header(name: str, value: bytes | None) -> Headers:
    return [*REQUIRED, JSON, (name, value)]


def without(name: str) -> Headers:
    return [*[header for header in REQUIRED if header[0] != name], JSON]


def structured(**members: object) -> bytes:
    event = {"specversion": "1.0", "id": "i", "source": "/s", "type": "t.v1"} | members
    return json.dumps(event).encode()


def refused(headers: Headers, value: bytes | None = b"{}") -> str:
    with pytest.raises(DecodeError) as caught:
        decode(headers, value)
    assert len(str(caught.value)) < 500
    return caught.value.attribute


# ---- binary mode


def test_binary_record_becomes_an_envelope_with_untouched_data() -> None:
    event = decode(
        [
            *REQUIRED,
            ("ce_time", b"2026-11-24T15:07:06.123456789+05:30"),
            ("ce_subject", "Zürich".encode()),
            ("ce_dataschema", b"urn:x"),
            ("ce_replypartition", b"7"),
            ("ce_flowid", b"food%20order/o%2F1"),
            JSON,
        ],
        b' {"n": 1.10} ',
    )

    assert (event.id, event.source, event.type) == ("i", "/s", "t.v1")
    assert event.time_text == "2026-11-24T15:07:06.123456789+05:30"
    assert event.time == datetime(2026, 11, 24, 9, 37, 6, 123456, tzinfo=UTC)
    assert (event.subject, event.dataschema, event.datacontenttype) == ("Zürich", "urn:x", "application/json")
    assert event.extensions == {"replypartition": 7, "flowid": "food%20order/o%2F1"}
    assert event.data == b' {"n": 1.10} '


def test_nothing_is_invented() -> None:
    event = decode(REQUIRED, b"x")
    assert (event.time, event.time_text, event.subject, event.datacontenttype) == (None, None, None, None)
    assert event.extensions == {}


@pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
def test_missing_required_attribute_is_named(name: str) -> None:
    assert refused(without(f"ce_{name}")) == name


@pytest.mark.parametrize("name", ["id", "source", "type", "subject", "dataschema", "time"])
def test_empty_core_attribute_is_named(name: str) -> None:
    assert refused(with_header(f"ce_{name}", b"")) == name


def test_empty_content_type_is_named() -> None:
    assert refused([*REQUIRED, ("content-type", b"")]) == "datacontenttype"


def test_empty_extension_is_a_value() -> None:
    assert decode(with_header("ce_tracestate", b""), None).extensions == {"tracestate": ""}


@pytest.mark.parametrize("version", [b"0.3", b"1.0.2", b"2.0", b"", b"1"])
def test_other_specversion_is_refused(version: bytes) -> None:
    assert refused(with_header("ce_specversion", version)) == "specversion"


def test_record_that_is_no_cloudevent_says_so() -> None:
    assert refused([]) == "specversion"
    assert refused([JSON, ("traceparent", b"00-x")], b'{"specversion":"1.0","id":"i"}') == "specversion"


def test_null_header_is_an_attribute_that_is_not_there() -> None:
    assert decode(with_header("ce_subject", None), None).subject is None
    assert decode([*REQUIRED, ("content-type", None)], None).datacontenttype is None
    assert refused(with_header("ce_id", None)) == "id"


def test_null_value_is_no_data_and_empty_value_is_data() -> None:
    assert decode(REQUIRED, None).data is None
    assert decode(REQUIRED, b"").data == b""


def test_header_that_appears_twice_counts_as_its_last_appearance() -> None:
    assert decode([("ce_id", b"first"), *REQUIRED, ("ce_x", b"1"), ("ce_x", b"2")], None).extensions == {"x": "2"}
    assert decode([*REQUIRED, ("ce_id", b"last")], None).id == "last"
    assert decode([*REQUIRED, ("ce_id", "ä".encode()), ("ce_id", b"last")], None).id == "last"
    assert decode([*REQUIRED, ("ce_id", b"\xff"), ("ce_id", b"last")], None).id == "last"


def test_foreign_headers_are_never_looked_at() -> None:
    headers = [
        *REQUIRED,
        ("traceparent", b"\xff\x00"),
        ("orchestra-input", None),
        ("CE_ID", b"\xff"),
        ("ce-id", b"x"),
        ("Content-Type", b"application/cloudevents+json"),
        ("", b""),
    ]
    assert decode(headers, b"") == Envelope("i", "/s", "t.v1", data=b"")


def test_header_names_are_case_sensitive() -> None:
    assert refused([*without("ce_id"), ("Ce_Id", b"x")]) == "id"
    assert refused(with_header("ce_Flowid", b"x")) == "Flowid"


@pytest.mark.parametrize("name", ["saga_id", "a-b", "", "content-type", "data", "ä", "A" * 1000])
def test_bad_attribute_name_is_refused_and_named(name: str) -> None:
    assert refused(with_header(f"ce_{name}", b"application/json")) == name[:64]


@pytest.mark.parametrize("name", ["id", "flowid", "brandnew", "time"])
@pytest.mark.parametrize("value", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\x80"])
def test_attribute_that_is_not_utf8_is_named(name: str, value: bytes) -> None:
    assert refused(with_header(f"ce_{name}", value)) == name


def test_content_type_that_is_not_utf8_is_named() -> None:
    assert refused([*REQUIRED, ("content-type", b"\xff")]) == "content-type"


@pytest.mark.parametrize("name", ["id", "subject", "flowid", "brandnew"])
@pytest.mark.parametrize("value", [b"a\x00b", b"\x00", b"a\n", b"\x1f", b"\x7f", b"\xc2\x80", b"\xef\xbf\xbf"])
def test_nul_and_control_characters_are_refused(name: str, value: bytes) -> None:
    assert refused(with_header(f"ce_{name}", value)) == name


def test_nul_cannot_shift_one_attribute_into_another() -> None:
    """The short way joins values with NUL: one inside a value must not be taken for a border."""
    assert refused([*without("ce_source"), ("ce_source", b"/s\x00t.v2")]) == "source"


def test_values_are_not_percent_decoded() -> None:
    assert decode(with_header("ce_subject", b"a%20b%C3%A9"), None).subject == "a%20b%C3%A9"


def test_unknown_extension_stays_text_whatever_it_looks_like() -> None:
    assert decode(with_header("ce_retries", b"007"), None).extensions == {"retries": "007"}
    assert decode(with_header("ce_flag", b"true"), None).extensions == {"flag": "true"}


@pytest.mark.parametrize("value", [b"x", b"1.0", b"2147483648", b"-2147483649", b""])
def test_bad_integer_extension_is_named(value: bytes) -> None:
    assert refused(with_header("ce_replypartition", value)) == "replypartition"


@pytest.mark.parametrize("name", ["time", "expirytime"])
def test_bad_time_is_named(name: str) -> None:
    assert refused(with_header(f"ce_{name}", b"2026-11-24 15:07:06")) == name


def test_partitionkey_is_an_extension_like_any_other() -> None:
    assert decode(with_header("ce_partitionkey", b"k"), None).extensions == {"partitionkey": "k"}


def test_ce_datacontenttype_counts_only_without_content_type() -> None:
    assert decode([*REQUIRED, ("ce_datacontenttype", b"text/plain"), JSON], b"").datacontenttype == "application/json"
    assert decode([*REQUIRED, ("ce_datacontenttype", b"text/plain")], b"").datacontenttype == "text/plain"
    assert refused([*REQUIRED, ("ce_datacontenttype", b"application/cloudevents+json")]) == "datacontenttype"


# ---- mode


@pytest.mark.parametrize(
    "media",
    [
        b"application/cloudevents+json",
        b"application/cloudevents+json; charset=UTF-8",
        b"Application/CloudEvents+JSON;charset=utf-8",
        b" application/cloudevents+json ",
    ],
)
def test_content_type_alone_announces_structured_mode(media: bytes) -> None:
    assert decode([("content-type", media)], structured()) == Envelope("i", "/s", "t.v1")


def test_ce_headers_beside_a_structured_value_are_ignored_even_when_broken() -> None:
    headers: Headers = [
        *[("ce_id", b"other"), ("ce_my-ext", b"x"), ("ce_type", b"\xff"), ("ce_time", b"soon"), ("ce_a", None)],
        STRUCTURED,
    ]
    assert decode(headers, structured()) == Envelope("i", "/s", "t.v1")


def test_structured_value_without_content_type_is_not_guessed() -> None:
    assert refused([], structured()) == "specversion"
    assert refused([JSON], structured()) == "specversion"


@pytest.mark.parametrize(
    "media",
    [
        b"application/cloudevents-batch+json",
        b"application/cloudevents-batch+json; charset=utf-8",
        b"application/cloudevents+avro",
        b"application/cloudevents",
        b"application/cloudeventsfoo",
    ],
)
def test_batches_and_other_formats_are_refused(media: bytes) -> None:
    assert refused([*REQUIRED, ("content-type", media)], b"[]") == "content-type"


def test_batch_is_refused_with_a_reason() -> None:
    with pytest.raises(DecodeError, match="no batches on Kafka"):
        decode([("content-type", b"application/cloudevents-batch+json")], b"[]")


def test_structured_record_with_null_value_is_refused() -> None:
    assert refused([STRUCTURED], None) == "value"


# ---- structured mode


def test_structured_attributes_are_checked_like_headers() -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"id": ""}, "id"),
        ({"id": None}, "id"),
        ({"id": 5}, "id"),
        ({"type": ["t"]}, "type"),
        ({"specversion": 1.0}, "specversion"),
        ({"specversion": "0.3"}, "specversion"),
        ({"time": "soon"}, "time"),
        ({"time": 0}, "time"),
        ({"subject": ""}, "subject"),
        ({"subject": "a\x00"}, "subject"),
        ({"datacontenttype": 1}, "datacontenttype"),
        ({"datacontenttype": ""}, "datacontenttype"),
        ({"expirytime": True}, "expirytime"),
        ({"replypartition": 2**31}, "replypartition"),
        ({"replypartition": 1.5}, "replypartition"),
        ({"replypartition": True}, "replypartition"),
        ({"n": 2**31}, "n"),
        ({"n": 1.5}, "n"),
        ({"n": {}}, "n"),
        ({"n": [1]}, "n"),
        ({"saga_id": "x"}, "saga_id"),
        ({"Saga": "x"}, "Saga"),
        ({"": "x"}, ""),
        ({"data_base64": "?"}, "data_base64"),
        ({"data_base64": "YQ"}, "data_base64"),
        ({"data_base64": 1}, "data_base64"),
        ({"data_base64": "YQ==", "data": 1}, "data_base64"),
        ({"data_base64": "YQ==", "data": None}, "data_base64"),
        ({"datacontenttype": "text/plain", "data": 1}, "data"),
        ({"datacontenttype": "text/plain", "data": {"a": 1}}, "data"),
    ]
    for members, attribute in cases:
        assert refused([STRUCTURED], structured(**members)) == attribute, members


def test_structured_extensions_keep_their_json_type() -> None:
    event = decode([STRUCTURED], structured(n=5, flag=True, text="5", replypartition="7", nothing=None))
    assert event.extensions == {"n": 5, "flag": True, "text": "5", "replypartition": 7}


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (b'{"a" : 1.10 , "b":[1e400]}', b'{"a" : 1.10 , "b":[1e400]}'),
        (b"12345678901234567890.123456789", b"12345678901234567890.123456789"),
        (b'"\\u0041"', b'"\\u0041"'),
        ('"Zürich"'.encode(), '"Zürich"'.encode()),
        (b"null", b"null"),
        (b"false", b"false"),
        (b'"{\\"not\\":\\"parsed twice\\"}"', b'"{\\"not\\":\\"parsed twice\\"}"'),
        (b'{"data":{"data":1}}', b'{"data":{"data":1}}'),
    ],
)
@pytest.mark.parametrize(
    "layout",
    [
        lambda head, data: b"{" + head + b',"data":' + data + b"}",
        lambda head, data: b' {"data" : ' + data + b" ,\r\n" + head + b"\t}\n",
        lambda head, data: b'{"data":"overruled",' + head + b',"data":' + data + b'\n} "'[:-2],
        lambda head, data: b'{"\\u0064ata":' + data + b"," + head + b"}",
    ],
    ids=["last", "first", "twice", "escaped name"],
)
def test_structured_json_data_keeps_its_digits_and_spaces(
    layout: Callable[[bytes, bytes], bytes], value: bytes, data: bytes
) -> None:
    head = b'"specversion":"1.0","id":"i","source":"/s","type":"t.v1","x":"\\"data\\":"'

    event = decode([STRUCTURED], layout(head, value))

    assert event.data == data
    assert event.datacontenttype == "application/json"
    assert event.extensions == {"x": '"data":'}


def test_structured_data_forms() -> None:
    assert decode([STRUCTURED], structured()).data is None
    assert decode([STRUCTURED], structured(data_base64=None)).data is None
    assert decode([STRUCTURED], structured(data=None)).data == b"null"
    assert decode([STRUCTURED], structured(data_base64="/wA=")).data == b"\xff\x00"
    assert decode([STRUCTURED], structured(data_base64="")).data == b""
    assert decode([STRUCTURED], structured(data="<é/>", datacontenttype="text/xml")).data == "<é/>".encode()
    assert decode([STRUCTURED], structured(data=1, datacontenttype="a/b+json")).datacontenttype == "a/b+json"
    assert decode([STRUCTURED], structured(data_base64="YQ==")).datacontenttype is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"5",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b'{"data":}',
        b'"data":1}',
        b'[{"data":1}',
        b'{"a":{"data":1}',
        b'{"id":"\\ud800"}',
        b'{"id":"a\nb"}',
        b'{"id":NaN}',
        b'{"data":NaN}',
        b'{"data":1e5x}',
        b'{"id":' + b"9" * 5000 + b"}",
        b'{"data":1}{"data":2}',
        b"{'id':1}",
    ],
)
def test_structured_value_that_is_no_json_object_is_refused(value: bytes) -> None:
    assert refused([STRUCTURED], value) == "value"


@pytest.mark.parametrize("depth", [2_000, 100_000])
def test_deep_json_is_a_decode_error(depth: int) -> None:
    arrays = b"[" * depth + b"]" * depth
    for value in (
        arrays,
        b"[" * depth,
        b'{"a":' * depth,
        structured()[:-1] + b',"data":' + arrays + b"}",
        structured()[:-1] + b',"data" :' + arrays + b"}",
        structured()[:-1] + b',"x":' + arrays + b"}",
    ):
        assert refused([STRUCTURED], value) == "value"


# ---- writing


EVENT = Envelope(
    "i", "/s", "t.v1", "Zürich", "2026-11-24T15:07:06.123456789+05:30", "application/json", "urn:x",
    {"flowid": "f", "replypartition": 7, "flag": True, "blob": b"\xff", "empty": "", "custom1": "c"}, b'{"a":1}',
)  # fmt: skip


def test_binary_headers_in_canonical_form() -> None:
    headers, value = encode(EVENT)

    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"i",
        "ce_source": b"/s",
        "ce_type": b"t.v1",
        "ce_subject": "Zürich".encode(),
        "ce_time": b"2026-11-24T15:07:06.123456789+05:30",
        "ce_dataschema": b"urn:x",
        "content-type": b"application/json",
        "ce_flowid": b"f",
        "ce_replypartition": b"7",
        "ce_flag": b"true",
        "ce_blob": b"/w==",
        "ce_empty": b"",
        "ce_custom1": b"c",
    }
    assert value == b'{"a":1}'


def test_structured_value_in_json_types() -> None:
    headers, value = encode(EVENT, "structured")

    assert value is not None
    assert headers == [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    assert json.loads(value) == {
        "specversion": "1.0", "id": "i", "source": "/s", "type": "t.v1", "subject": "Zürich",
        "time": "2026-11-24T15:07:06.123456789+05:30", "dataschema": "urn:x", "datacontenttype": "application/json",
        "flowid": "f", "replypartition": 7, "flag": True, "blob": "/w==", "empty": "", "custom1": "c", "data": {"a": 1},
    }  # fmt: skip


def test_event_without_data_is_a_null_value_in_binary_mode_only() -> None:
    event = EVENT.evolve(data=None)

    assert encode(event)[1] is None
    _, value = encode(event, "structured")
    assert value is not None
    assert json.loads(value).keys().isdisjoint({"data", "data_base64"})


@pytest.mark.parametrize(
    ("content_type", "data", "member"),
    [
        ("application/json", b'{"a":1.10}', '"data":{"a":1.10}'),
        ("application/json", b"null", '"data":null'),
        ("a/b+json", b'"x"', '"data":"x"'),
        ("application/json", b"{broken", '"data_base64":"e2Jyb2tlbg=="'),
        ("application/json", b"", '"data_base64":""'),
        ("application/json", b" 1 ", '"data_base64":"IDEg"'),
        ("application/json", b"NaN", '"data_base64":"TmFO"'),
        ("application/json", b"1,2", '"data_base64":"MSwy"'),
        ("application/json", b'1,"x":2', '"data_base64":"MSwieCI6Mg=="'),
        ("application/json", b"\xff", '"data_base64":"/w=="'),
        (None, b"1", '"data_base64":"MQ=="'),
        ("text/plain", b"1", '"data_base64":"MQ=="'),
    ],
)
def test_structured_data_is_embedded_only_where_a_reader_finds_the_same_bytes(
    content_type: str | None, data: bytes, member: str
) -> None:
    event = EVENT.evolve(datacontenttype=content_type, data=data)

    headers, value = encode(event, "structured")

    assert value is not None
    assert member in value.decode()
    assert decode(headers, value) == event


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (Envelope("", "/s", "t"), "id"),
        (Envelope("i", "", "t"), "source"),
        (Envelope("i", "/s", ""), "type"),
        (Envelope("i", "/s", "t", subject=""), "subject"),
        (Envelope("i", "/s", "t", datacontenttype=""), "datacontenttype"),
        (Envelope("i\x00", "/s", "t"), "id"),
        (Envelope("i", "/s\n", "t"), "source"),
        (Envelope("i", "/s", "t", subject="\x80"), "subject"),
        (Envelope("i", "/s", "t", subject="\ud800"), "subject"),
        (Envelope("i", "/s", "t", time_text="soon"), "time"),
        (Envelope("i", "/s", "t", extensions={"flowid": "\x7f"}), "flowid"),
        (Envelope("i", "/s", "t", extensions={"saga_id": "x"}), "saga_id"),
        (Envelope("i", "/s", "t", extensions={"id": "x"}), "id"),
        (Envelope("i", "/s", "t", extensions={"data": "x"}), "data"),
        (Envelope("i", "/s", "t", extensions={"n": 2**31}), "n"),
    ],
)
@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_what_no_reader_would_accept_is_not_sent(event: Envelope, name: str, mode: str) -> None:
    with pytest.raises(EncodeError, match=name):
        encode(event, mode)  # type: ignore[arg-type]


def test_binary_record_cannot_announce_itself_as_structured() -> None:
    event = Envelope("i", "/s", "t", datacontenttype="Application/CloudEvents+json", data=b"{}")
    with pytest.raises(EncodeError, match="datacontenttype"):
        encode(event)
    assert decode(*encode(event, "structured")) == event


def test_time_comes_out_digit_for_digit_as_it_came_in() -> None:
    for text in (b"2026-11-24T15:07:06.123456789+05:30", b"2026-11-24t15:07:06z", b"2016-12-31T23:59:60Z"):
        for name in ("ce_time", "ce_expirytime"):
            assert (name, text) in encode(decode(with_header(name, text), None))[0]


# ---- size


def _cost(headers: Headers, value: bytes | None) -> float:
    best = float("inf")
    for _ in range(5):
        start = time.thread_time()  # not the time that others take on a busy machine
        with suppress(DecodeError):
            decode(headers, value)
        best = min(best, time.thread_time() - start)
    return best


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda n: ([*REQUIRED, *[(f"ce_x{i}", b"v") for i in range(n // 10)]], None), id="many headers"),
        pytest.param(lambda n: ([*REQUIRED, ("ce_x", b"v" * n)], None), id="a long ASCII header"),
        pytest.param(lambda n: ([*REQUIRED, ("ce_x", "ä".encode() * n)], None), id="a long header"),
        pytest.param(lambda n: ([*REQUIRED, ("ce_time", b"2026-01-01T00:00:00." + b"1" * n)], None), id="a long time"),
        pytest.param(lambda n: ([STRUCTURED], structured(data=[1] * n)), id="data last"),
        pytest.param(lambda n: ([STRUCTURED], b'{"data":' + b"[1]," * n), id="broken after data"),
        pytest.param(lambda n: ([STRUCTURED], b'{"data":1,' * n), id="data again and again"),
        pytest.param(lambda n: ([STRUCTURED], b'{"data" : [%b1]}' % (b"1," * n)), id="data walked"),
        pytest.param(lambda n: ([STRUCTURED], b'{"data":1, "x":"%b"}' % (b'\\"' * n)), id="escapes"),
        pytest.param(lambda n: ([STRUCTURED], b"{%b}" % (b" " * n)), id="spaces"),
        pytest.param(lambda n: ([STRUCTURED], b'{"data":%b}' % (b"9" * n)), id="a long number"),
        pytest.param(lambda n: ([STRUCTURED], b'{"data":0.%b,"x":1}' % (b"9" * n)), id="a long fraction"),
        pytest.param(lambda n: ([STRUCTURED], structured(data_base64="A" * 4 * n)), id="base64"),
    ],
)
def test_time_grows_no_faster_than_the_input(make: Callable[[int], tuple[Headers, bytes | None]]) -> None:
    small, large = _cost(*make(20_000)), _cost(*make(200_000))
    assert large < 0.002 + 40 * small  # ten times the input; quadratic would be a hundred times


def test_five_megabytes_decode_in_either_mode() -> None:
    data = b'{"note":"' + b"x" * 5_000_000 + b'"}'
    assert decode([*REQUIRED, JSON], data).data == data
    assert decode([STRUCTURED], structured()[:-1] + b',"data":' + data + b"}").data == data
