from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.v1.event import CloudEvent

from orchestra.errors import DecodeError, EncodeError
from orchestra.events.envelope import Envelope
from orchestra.events.sdk import from_sdk, is_sdk_event, to_sdk

EVENT = Envelope(
    "i",
    "/s",
    "t.v1",
    "sub",
    "2026-11-24T15:07:06.123456Z",
    "application/json",
    "urn:x",
    {"flowid": "f", "replypartition": 7},
    b'{"a":[1,null]}',
)


def sdk(data: Any = None, **attributes: Any) -> CloudEvent:
    return CloudEvent({"id": "i", "source": "/s", "type": "t", "specversion": "1.0"} | attributes, data)


def test_event_given_to_the_sdk_and_taken_back_is_the_same() -> None:
    event = to_sdk(EVENT)

    assert is_sdk_event(event)
    assert event.get_time() == datetime(2026, 11, 24, 15, 7, 6, 123456, tzinfo=UTC)
    assert event.get_data() == {"a": [1, None]}
    assert event.get_extension("replypartition") == 7
    assert from_sdk(event) == EVENT


def test_nothing_is_invented_on_the_way() -> None:
    bare = Envelope("i", "/s", "t")

    assert to_sdk(bare).get_time() is None
    assert to_sdk(bare).get_data() is None
    assert from_sdk(to_sdk(bare)) == bare


def test_data_that_is_not_json_stays_bytes() -> None:
    for content_type in (None, "application/avro"):
        event = EVENT.evolve(datacontenttype=content_type, data=b"\x00\xff")
        assert to_sdk(event).get_data() == b"\x00\xff"
        assert from_sdk(to_sdk(event)) == event


def test_the_sdk_has_one_none_for_no_data_and_json_null() -> None:
    assert to_sdk(EVENT.evolve(data=b'"x"')).get_data() == "x"
    assert to_sdk(EVENT.evolve(data=b"null")).get_data() is None
    assert from_sdk(sdk(datacontenttype="application/json")).data is None


def test_sdk_data_in_each_of_its_forms() -> None:
    assert from_sdk(sdk({"a": 1}, datacontenttype="application/json")).data == b'{"a":1}'
    assert from_sdk(sdk({"a": 1})).data == b'{"a":1}'
    assert from_sdk(sdk("text", datacontenttype="text/plain")).data == b"text"
    assert from_sdk(sdk("text", datacontenttype="application/json")).data == b'"text"'
    assert from_sdk(sdk(b"{}", datacontenttype="application/json")).data == b"{}"


def test_sdk_times_and_typed_extensions() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    event = from_sdk(sdk(time=at, expirytime=at, replypartition="7", gone=None))

    assert event.time == at
    assert event.extensions == {"expirytime": "2026-01-01T00:00:00Z", "replypartition": 7}


def test_what_has_no_form_is_an_encode_error() -> None:
    with pytest.raises(EncodeError, match="text/plain"):
        from_sdk(sdk({"a": 1}, datacontenttype="text/plain"))
    with pytest.raises(EncodeError, match="no JSON form"):
        from_sdk(sdk({"a": object()}, datacontenttype="application/json"))
    with pytest.raises(EncodeError, match="replypartition"):
        from_sdk(sdk(replypartition="x"))
    with pytest.raises(EncodeError, match="does not take"):
        to_sdk(Envelope("", "/s", "t"))


def test_broken_json_given_to_the_sdk_is_a_decode_error() -> None:
    with pytest.raises(DecodeError) as caught:
        to_sdk(EVENT.evolve(data=b"{"))
    assert caught.value.attribute == "data"


def test_other_objects_are_not_sdk_events() -> None:
    assert not is_sdk_event(EVENT)
    assert not is_sdk_event(None)
