"""CloudEvents 1.0.2 on Kafka: the examples of the specification, and the SDK's opinion where it follows that."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, from_structured, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra.errors import DecodeError
from orchestra.events.cloudevents import decode, encode
from orchestra.events.envelope import Envelope
from orchestra.events.sdk import from_sdk, to_sdk

STRUCTURED = [("content-type", b"application/cloudevents+json; charset=UTF-8")]


def example(letter: str, **more: object) -> dict[str, object]:
    """The common part of the JSON format's examples (section 3.2)."""
    return {
        "specversion": "1.0",
        "type": "com.example.someevent",
        "source": "/mycontext",
        "id": f"{letter}234-1234-1234",
        "time": "2018-04-05T17:31:00Z",
        "comexampleextension1": "value",
        "comexampleothervalue": 5,
    } | more


def in_binary_mode(letter: str, content_type: str) -> dict[str, bytes]:
    """What the specification says that the example is in binary mode."""
    return {
        "ce_specversion": b"1.0",
        "ce_type": b"com.example.someevent",
        "ce_source": b"/mycontext",
        "ce_id": f"{letter}234-1234-1234".encode(),
        "ce_time": b"2018-04-05T17:31:00Z",
        "ce_comexampleextension1": b"value",
        "ce_comexampleothervalue": b"5",
        "content-type": content_type.encode(),
    }


EXAMPLES: list[tuple[str, dict[str, object], str, bytes]] = [
    (
        "A",
        {"datacontenttype": "application/vnd.apache.thrift.binary", "data_base64": "AAH/"},
        "application/vnd.apache.thrift.binary",
        b"\x00\x01\xff",
    ),
    (
        "B",
        {"unsetextension": None, "datacontenttype": "application/xml", "data": '<much wow="xml"/>'},
        "application/xml",
        b'<much wow="xml"/>',
    ),
    (
        "C",
        {
            "subject": None,
            "datacontenttype": "application/json",
            "data": {"appinfoA": "abc", "appinfoB": 123, "appinfoC": True},
        },
        "application/json",
        b'{"appinfoA": "abc", "appinfoB": 123, "appinfoC": true}',
    ),
    ("D", {"subject": None, "data": "I'm just a string"}, "application/json", b'"I\'m just a string"'),
]


@pytest.mark.parametrize(("letter", "more", "content_type", "data"), EXAMPLES, ids=[case[0] for case in EXAMPLES])
def test_examples_of_the_json_format_in_binary_mode(
    letter: str, more: dict[str, object], content_type: str, data: bytes
) -> None:
    event = decode(STRUCTURED, json.dumps(example(letter, **more), indent=4).encode())

    headers, value = encode(event)

    assert dict(headers) == in_binary_mode(letter, content_type)
    assert value is not None
    assert value == data or json.loads(value) == json.loads(data)


def test_example_of_the_kafka_binding_in_binary_mode() -> None:
    event = decode(
        [
            ("ce_specversion", b"1.0"),
            ("ce_type", b"com.example.someevent"),
            ("ce_source", b"/mycontext/subcontext"),
            ("ce_id", b"1234-1234-1234"),
            ("ce_time", b"2018-04-05T03:56:24Z"),
            ("content-type", b"application/avro"),
        ],
        b"\x02\x04",
    )

    assert event == Envelope(
        id="1234-1234-1234",
        source="/mycontext/subcontext",
        type="com.example.someevent",
        time_text="2018-04-05T03:56:24Z",
        datacontenttype="application/avro",
        data=b"\x02\x04",
    )


def test_example_of_a_batch_is_refused() -> None:
    batch = [example("B", data_base64="AAH/"), example("C", data={})]
    with pytest.raises(DecodeError, match="no batches on Kafka"):
        decode([("content-type", b"application/cloudevents-batch+json")], json.dumps(batch).encode())


# ---- the SDK as second opinion: JSON objects as data, text extensions, a time to the microsecond, no record key

texts = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=10)
objects = st.dictionaries(texts, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts, max_size=4)
times = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@st.composite
def sdk_events(draw: st.DrawFn) -> CloudEvent:
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": draw(texts),
        "source": draw(texts),
        "type": draw(texts),
        "time": draw(times),
        "datacontenttype": "application/json",
    }
    if draw(st.booleans()):
        attributes |= {"subject": draw(texts), "flowid": draw(texts), "dataschema": "urn:x"}
    return CloudEvent(attributes, draw(objects))


def same(one: CloudEvent, other: Any) -> bool:
    return bool(one.get_attributes() == other.get_attributes() and one.get_data() == other.get_data())


@settings(max_examples=100, deadline=None)
@given(sdk_events())
def test_the_sdk_reads_what_we_write(event: CloudEvent) -> None:
    envelope = from_sdk(event)

    headers, value = encode(envelope)
    assert same(event, from_binary(KafkaMessage(dict(headers), None, value or b""), JSONFormat()))

    headers, value = encode(envelope, "structured")
    assert same(event, from_structured(KafkaMessage(dict(headers), None, value or b""), JSONFormat()))


@settings(max_examples=100, deadline=None)
@given(sdk_events())
def test_we_read_what_the_sdk_writes(event: CloudEvent) -> None:
    for write in (to_binary, to_structured):
        message = write(event, JSONFormat())
        assert same(event, to_sdk(decode(list(message.headers.items()), message.value)))
