import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest

from orchestra.errors import DecodeError, DefinitionError, EncodeError
from orchestra.events.attributes import Value
from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Event, Key

NOW = datetime(2026, 11, 24, 15, 7, 6, 897741, tzinfo=UTC)


class Placed(Event, type="test.placed.v1"):
    order_id: Key[str]


def test_compose_names_the_type_and_encodes_the_data() -> None:
    event = compose(Placed(order_id="1"), id="i", source="/shop", time=NOW, subject="s")

    assert (event.type, event.id, event.source, event.subject) == ("test.placed.v1", "i", "/shop", "s")
    assert event.time_text == "2026-11-24T15:07:06.897741Z"
    assert event.time == NOW
    assert event.datacontenttype == "application/json"
    assert event.data == b'{"order_id":"1"}'
    assert event.extensions == {}


def test_composed_event_gives_its_message_back_without_decoding() -> None:
    message = Placed(order_id="1")
    assert compose(message, id="i", source="/shop", time=NOW).value(Placed) is message


def test_compose_keeps_extensions_as_they_will_be_sent() -> None:
    at = NOW.astimezone(timezone(timedelta(hours=2)))

    extensions: dict[str, Value] = {"expirytime": at, "replypartition": 7, "x": True}
    event = compose(Placed(order_id="1"), id="i", source="/s", time=NOW, extensions=extensions)

    assert event.extensions == {"expirytime": "2026-11-24T15:07:06.897741Z", "replypartition": 7, "x": True}
    assert event.moment("expirytime") == at
    assert (event.get("replypartition"), event.get("x"), event.get("none")) == ("7", "true", None)
    assert event.moment("none") is None


def test_compose_refuses_a_time_without_offset() -> None:
    with pytest.raises(EncodeError):
        compose(Placed(order_id="1"), id="i", source="/s", time=datetime.fromisoformat("2026-01-01"))


def test_compose_refuses_an_abstract_message() -> None:
    class Base(Event, abstract=True):
        pass

    with pytest.raises(DefinitionError):
        compose(Base(), id="i", source="/s", time=NOW)


def test_value_is_decoded_once_for_each_class() -> None:
    class Other(Event, type="test.other.v1"):
        pass

    event = Envelope("i", "/s", "test.placed.v1", data=b'{"order_id":"1"}')

    assert event.value(Placed) is event.value(Placed)
    assert event.value(Other) == Other()
    assert event.value(Placed) == Placed(order_id="1")


def test_value_of_data_that_is_not_json_is_a_decode_error() -> None:
    event = Envelope("i", "/s", "t", datacontenttype="application/avro", data=b"{}")
    with pytest.raises(DecodeError) as caught:
        event.value(Placed)
    assert caught.value.attribute == "datacontenttype"


def test_wrong_data_is_found_only_when_somebody_asks() -> None:
    event = Envelope("i", "/s", "t", data=b"\xff")
    with pytest.raises(DecodeError) as caught:
        event.value(Placed)
    assert caught.value.attribute == "data"


def test_evolve_changes_a_copy() -> None:
    event = compose(Placed(order_id="1"), id="i", source="/s", time=NOW, extensions={"a": "1", "b": "2"})

    changed = event.evolve(subject="new", extensions={"b": None, "c": "3"})

    assert (event.subject, event.extensions) == (None, {"a": "1", "b": "2"})
    assert (changed.subject, changed.extensions) == ("new", {"a": "1", "c": "3"})
    assert changed.value(Placed) is event.value(Placed)
    assert changed.time is event.time


def test_evolve_forgets_what_was_decoded_from_other_data_and_time() -> None:
    event = compose(Placed(order_id="1"), id="i", source="/s", time=NOW)

    changed = event.evolve(data=b'{"order_id":"2"}', time_text="2026-01-01T00:00:00Z")

    assert changed.value(Placed) == Placed(order_id="2")
    assert changed.time == datetime(2026, 1, 1, tzinfo=UTC)


def test_equal_by_attributes_and_data() -> None:
    event = Envelope("i", "/s", "t", extensions={"n": 7}, data=b"x")

    assert event == Envelope("i", "/s", "t", extensions={"n": "7"}, data=b"x")
    assert hash(event) == hash(Envelope("i", "/s", "t", extensions={"n": "7"}, data=b"x"))
    assert event != event.evolve(data=b"y")
    assert event != event.evolve(data=None)
    assert event.evolve(data=None) != event.evolve(data=b"")
    assert event != event.evolve(extensions={"m": "1"})
    assert event != event.evolve(time_text="2026-01-01T00:00:00Z")
    assert event != object()


def test_wrong_time_text_is_a_decode_error() -> None:
    with pytest.raises(DecodeError) as caught:
        _ = Envelope("i", "/s", "t", time_text="soon").time
    assert caught.value.attribute == "time"


def test_can_be_pickled() -> None:
    event = compose(Placed(order_id="1"), id="i", source="/s", time=NOW)
    assert pickle.loads(pickle.dumps(event)) == event
