import copy
import operator
import pickle
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, Never, TypeVar

import pytest
from pydantic import BaseModel, Field, ValidationError

from orchestra.errors import DecodeError, DefinitionError, EncodeError
from orchestra.events.message import (
    MAX_DATA_BYTES,
    Command,
    Done,
    Event,
    Key,
    StepFailed,
    StepRefused,
    Undo,
    decode_data,
    encode_data,
    record_key,
    spec_of,
)


class Reserved(Event, type="stock.reserved.v1"):
    order_id: Key[str]
    bins: tuple[int, ...] = ()


class AlreadyReserved(Event, type="stock.already-reserved.v1"):
    order_id: Key[str]
    bins: tuple[int, ...] = ()


class SoldOut(Event, type="stock.sold-out.v1"):
    order_id: Key[str]


class Reserve(Command[Reserved | AlreadyReserved, SoldOut], type="stock.reserve.v1", topic="stock.commands"):
    order_id: Key[str]
    blob: bytes = b"\xff\x00"


class Release(Command[Done, Never], type="stock.release.v1", topic="stock.commands"):
    number: Key[int]


def test_spec_names_type_topic_key_and_answers() -> None:
    spec = spec_of(Reserve)

    assert (spec.type, spec.topic, spec.key_field) == ("stock.reserve.v1", "stock.commands", "order_id")
    assert spec.replies == (Reserved, AlreadyReserved)
    assert spec.rejections == (SoldOut,)
    assert spec.is_command
    assert spec.undoes is None


def test_never_means_no_rejection() -> None:
    assert spec_of(Release).rejections == ()


def test_event_may_have_neither_topic_nor_key() -> None:
    spec = spec_of(Done)

    assert (spec.topic, spec.key_field, spec.is_command) == (None, None, False)
    assert record_key(Done()) is None


def test_well_known_answers_have_their_types() -> None:
    assert spec_of(Done).type == "orchestra.done.v1"
    assert spec_of(StepFailed).type == "orchestra.step.failed.v1"
    assert spec_of(StepRefused).type == "orchestra.step.refused.v1"


def test_record_key_is_the_key_as_utf8_text() -> None:
    assert record_key(SoldOut(order_id="Zürich/1")) == "Zürich/1".encode()
    assert record_key(Release(number=-7)) == b"-7"


def test_empty_key_is_refused() -> None:
    with pytest.raises(ValidationError):
        SoldOut(order_id="")
    with pytest.raises(DecodeError) as caught:
        decode_data(SoldOut, b'{"order_id":""}')
    assert caught.value.attribute == "data"


def test_empty_or_unwritable_key_that_escaped_validation_is_an_encode_error() -> None:
    for key in ("", "\ud800"):
        with pytest.raises(EncodeError, match=r"SoldOut\.order_id"):
            record_key(SoldOut.model_construct(order_id=key))


def test_messages_are_immutable_and_hashable_where_their_fields_are() -> None:
    message = SoldOut(order_id="1")

    with pytest.raises(ValidationError):
        message.order_id = "2"  # type: ignore[misc]
    assert hash(message) == hash(SoldOut(order_id="1"))


def test_reader_is_tolerant_of_fields_it_does_not_know() -> None:
    assert decode_data(SoldOut, b'{"order_id":"1","new":{"a":[1]}}') == SoldOut(order_id="1")


def test_data_survives_the_round_trip_with_bytes_decimals_and_times() -> None:
    class Rich(Event, type="test.rich.v1"):
        blob: bytes
        price: Decimal
        at: datetime
        wait: timedelta

    at = datetime.fromisoformat("2026-01-01T00:00:00.123456+05:30")
    price = Decimal("1234567890123456789.01")
    message = Rich(blob=b"\x00\xff", price=price, at=at, wait=timedelta(milliseconds=1))

    assert decode_data(Rich, encode_data(message)) == message


def test_absent_data_is_an_empty_object_and_null_is_a_value() -> None:
    assert decode_data(Done, None) == Done()
    for raw in (None, b"null", b"", b"[]"):
        with pytest.raises(DecodeError) as caught:
            decode_data(SoldOut, raw)
        assert caught.value.attribute == "data"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"{", id="not JSON"),
        pytest.param(b'{"order_id":1}', id="wrong shape"),
        pytest.param(b'{"order_id":"\xff"}', id="invalid UTF-8"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
        pytest.param(b'{"order_id":"\\ud800"}', id="lone surrogate"),
        pytest.param(b'{"order_id":' + b"[" * 2000 + b"]" * 2000 + b"}", id="2,000 nested arrays"),
        pytest.param(b'{"x":' + b'{"a":' * 100_000, id="100,000 nested objects"),
        pytest.param(b'{"order_id":"1","n":NaN}', id="NaN"),
        pytest.param(b'{"order_id":"1","n":' + b"9" * 100_000 + b"}", id="a number of 100,000 digits"),
    ],
)
def test_bad_data_is_a_decode_error_and_nothing_else(raw: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_data(SoldOut, raw)
    assert caught.value.attribute == "data"
    assert len(str(caught.value)) < 500


def test_decode_error_does_not_repeat_the_input() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_data(SoldOut, b'{"order_id":["secret-card-number"]}')
    assert "secret" not in str(caught.value)


def test_recursive_data_deeper_than_the_limit_is_refused_both_ways() -> None:
    class Tree(Event, type="test.tree.v1"):
        child: "Tree | None" = None

    tree = Tree()
    for _ in range(5000):
        tree = Tree.model_construct(child=tree)

    with pytest.raises(EncodeError):
        encode_data(tree)
    with pytest.raises(DecodeError):
        decode_data(Tree, b'{"child":' * 5000 + b"null" + b"}" * 5000)


def test_data_over_the_limit_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(DecodeError, match="at most"):
        decode_data(SoldOut, b" " * (MAX_DATA_BYTES + 1))


def test_five_megabytes_are_read() -> None:
    raw = b'{"order_id":"1","note":"' + b"x" * 5_000_000 + b'"}'
    assert decode_data(SoldOut, raw) == SoldOut(order_id="1")


def test_nan_is_refused_as_json_has_none() -> None:
    class Weighed(Event, type="test.weighed.v1"):
        grams: float

    with pytest.raises(ValidationError):
        Weighed(grams=float("nan"))
    with pytest.raises(ValidationError):
        Weighed(grams=float("inf"))


def test_value_without_json_form_is_an_encode_error() -> None:
    class Odd(Event, type="test.odd.v1"):
        anything: Any

    with pytest.raises(EncodeError, match="Odd"):
        encode_data(Odd(anything=object()))
    with pytest.raises(EncodeError, match="Odd"):
        encode_data(Odd(anything="\ud800"))


def test_fields_may_be_named_like_the_class_keywords_and_attributes() -> None:
    class Named(Event, type="test.named.v1", topic="named"):
        type: str
        topic: str
        abstract: bool
        id: Key[str]
        spec: int = 1

    message = Named(type="t", topic="u", abstract=True, id="1")

    assert spec_of(Named).type == "test.named.v1"
    assert decode_data(Named, encode_data(message)) == message


def test_field_that_would_hide_a_method_travels_under_its_alias() -> None:
    class Stored(Event, type="test.stored.v1"):
        key_: Key[str] = Field(alias="key")
        json_: str = Field(alias="json")
        copy_: int = Field(alias="copy")

    message = Stored(key="k", json="{}", copy=2)

    assert encode_data(message) == b'{"key":"k","json":"{}","copy":2}'
    assert decode_data(Stored, encode_data(message)) == message
    assert record_key(message) == b"k"


def test_instances_can_be_pickled_and_copied() -> None:
    undo = Undo.of(Reserve(order_id="1"), effect_id="e", reply=Reserved(order_id="1"))
    for message in (Reserve(order_id="1"), Release(number=1), undo):
        assert pickle.loads(pickle.dumps(message)) == message
        assert copy.deepcopy(message) == message


def test_abstract_class_shares_fields_and_topic_and_is_never_sent() -> None:
    class OrderEvent(Event, topic="orders", abstract=True):
        order_id: Key[str]

    class Placed(OrderEvent, type="test.placed.v1"):
        total: int

    class Moved(OrderEvent, type="test.moved.v1", topic="moves"):
        pass

    assert (spec_of(Placed).topic, spec_of(Placed).key_field) == ("orders", "order_id")
    assert spec_of(Moved).topic == "moves"
    with pytest.raises(DefinitionError, match=r"OrderEvent.*abstract"):
        spec_of(OrderEvent)


def test_subclass_of_a_command_is_answered_like_it() -> None:
    class ReserveMore(Reserve, type="test.reserve-more.v1"):
        count: int = 1

    assert spec_of(ReserveMore).replies == (Reserved, AlreadyReserved)
    assert spec_of(ReserveMore).topic == "stock.commands"


T = TypeVar("T")


class Page(Event, Generic[T], type="test.page.v1"):
    """Outside a function, so that pydantic finds it again for pickle."""

    items: list[T]


def test_parametrised_generic_event_is_what_the_generic_is() -> None:
    page = Page[int](items=[1])

    assert spec_of(Page[int]).type == "test.page.v1"
    assert decode_data(Page[int], encode_data(page)) == page


def test_field_may_name_a_class_that_is_defined_later() -> None:
    class Early(Event, type="test.early.v1"):
        order_id: Key[str]
        later: "Later"

    with pytest.raises(DefinitionError, match=r"Early.*does not exist"):
        spec_of(Early)

    class Later(BaseModel):
        n: int

    Early.model_rebuild()
    assert spec_of(Early).key_field == "order_id"
    assert decode_data(Early, b'{"order_id":"1","later":{"n":1}}').later.n == 1


def test_undo_has_the_type_topic_and_key_of_its_command() -> None:
    spec = spec_of(Undo[Reserve])
    undo = Undo.of(Reserve(order_id="1"), effect_id="food/1/0/reserve/action/0")

    assert (spec.type, spec.topic, spec.key_field) == ("stock.reserve.v1.undo", "stock.commands", "key")
    assert (spec.replies, spec.rejections, spec.undoes) == ((Done,), (), Reserve)
    assert type(undo) is Undo[Reserve]
    assert isinstance(undo, Undo)
    assert record_key(undo) == record_key(undo.command) == b"1"


def test_undo_keeps_the_record_key_of_a_command_whose_key_is_a_number() -> None:
    assert record_key(Undo.of(Release(number=7), effect_id="e")) == b"7"


def test_undo_carries_command_and_reply_with_its_type() -> None:
    undo = Undo.of(Reserve(order_id="1"), effect_id="e", reply=AlreadyReserved(order_id="1", bins=(3,)))

    raw = encode_data(undo)
    back = decode_data(Undo[Reserve], raw)

    assert raw == (
        b'{"key":"1","effect_id":"e","command":{"order_id":"1","blob":"_wA="},'
        b'"reply":{"type":"stock.already-reserved.v1","data":{"order_id":"1","bins":[3]}}}'
    )
    assert back == undo
    assert type(back.reply) is AlreadyReserved  # Reserved has the same fields: only the type tells


def test_undo_without_reply_says_null() -> None:
    undo = Undo.of(Reserve(order_id="1"), effect_id="e")

    assert b'"reply":null' in encode_data(undo)
    assert decode_data(Undo[Reserve], encode_data(undo)).reply is None
    assert decode_data(Undo[Reserve], b'{"key":"1","effect_id":"e","command":{"order_id":"1"}}').reply is None


def test_undo_refuses_a_reply_that_its_command_cannot_have() -> None:
    with pytest.raises(ValidationError):
        Undo.of(Reserve(order_id="1"), effect_id="e", reply=Done())
    with pytest.raises(DecodeError):
        decode_data(
            Undo[Reserve],
            b'{"key":"1","effect_id":"e","command":{"order_id":"1"},"reply":{"type":"orchestra.done.v1","data":{}}}',
        )


def test_undo_is_one_class_per_command() -> None:
    assert Undo[Reserve] is Undo[Reserve]
    assert len({Undo[Reserve], Undo[Release]}) == 2


def test_undo_of_what_is_no_command_is_a_definition_error() -> None:
    for wrong in (Reserved, int, Undo[Reserve], Undo):
        with pytest.raises(DefinitionError, match="is not a command"):
            operator.getitem(Undo, wrong)  # type: ignore[call-overload]


def test_very_many_mistakes_are_counted_and_not_listed() -> None:
    with pytest.raises(DecodeError, match="100001 values are wrong"):
        decode_data(Reserved, b'{"bins":[' + b",".join([b'"x"'] * 100_000) + b"]}")


class NamedLater(Command[Done, Never], type="test.named-later.v1", topic="test"):
    number: "Key[Number]"


class StillUnknown(Event, type="test.still-unknown.v1"):
    thing: "Nothing"  # type: ignore[name-defined]  # noqa: F821


Number = int


def test_key_of_a_type_that_is_defined_later_is_found_when_it_is_needed() -> None:
    assert spec_of(NamedLater).key_field == "number"
    assert record_key(NamedLater(number=7)) == b"7"


def test_type_that_never_comes_is_a_definition_error_wherever_it_is_met() -> None:
    with pytest.raises(DefinitionError, match=r"StillUnknown.*does not exist"):
        spec_of(StillUnknown)
    with pytest.raises(DefinitionError, match=r"StillUnknown.*does not exist"):
        decode_data(StillUnknown, b"{}")
