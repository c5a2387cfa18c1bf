"""What was made once for a class is, byte for byte, what would have been made for each message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestra.bus.stamp import Stamp
from orchestra.errors import DefinitionError, EncodeError
from orchestra.events.message import Event, Key, Message
from tests.unit.bus.bus_rig import Forget, Homeless, Noted, Placed, Reserve

NOW = datetime(2030, 1, 1, 12, 30, 15, 123456, UTC)

MESSAGES: list[Message] = [
    Placed(order_id="1"),
    Placed(order_id="K\u00f6ln \u4e2d", note={"deep": [1, None]}),
    Noted(text="no key"),
    Reserve(item="2", count=3),
    Forget(item="3"),
    Placed(order_id="4"),
]


def made(stamp: Stamp, messages: list[Message], *, most: int = 1 << 20, **extensions: Any) -> list[Any]:
    return stamp.records(messages, [f"id-{n}" for n in range(len(messages))], NOW, extensions, most)


@pytest.mark.parametrize("extensions", [{}, {"correlationid": "c-\u00fc"}])
def test_records_made_together_are_those_made_alone(extensions: dict[str, str]) -> None:
    stamp = Stamp("/bus/t\u00e4st", lambda topic: f"eu.{topic}")

    together = made(stamp, MESSAGES, **extensions)

    alone = [stamp.record(message, id=f"id-{n}", time=NOW, extensions=extensions) for n, message in enumerate(MESSAGES)]
    assert together == alone
    assert together[0].topic == "eu.shop.orders"


def test_keys_are_read_as_ever_whatever_they_are() -> None:
    class Numbered(Event, type="shop.numbered.v1", topic="shop.orders"):
        number: Key[int]

    (record,) = made(Stamp("/t", str), [Numbered(number=7)])

    assert record.key == b"7"


@pytest.mark.parametrize(
    "bad",
    [
        Placed.model_construct(order_id=""),
        Placed.model_construct(order_id="\ud800"),
        Placed(order_id="2", note=object()),
        Homeless(),
    ],
    ids=["empty key", "surrogate", "no JSON form", "no topic"],
)
def test_records_end_before_what_cannot_be_one_and_alone_it_says_why(bad: Message) -> None:
    stamp = Stamp("/t", str)

    records = made(stamp, [Placed(order_id="1"), bad, Placed(order_id="3")])

    assert [record.key for record in records] == [b"1"]
    with pytest.raises((EncodeError, DefinitionError)):
        stamp.record(bad, id="x", time=NOW)


def test_no_more_bytes_are_made_than_asked_for_but_one_record_always() -> None:
    messages: list[Message] = [Noted(text="x" * 1000) for _ in range(10)]

    assert len(made(Stamp("/t", str), messages, most=2500)) == 3
    assert len(made(Stamp("/t", str), messages, most=1)) == 1


def test_source_and_extensions_that_cannot_be_written_are_refused() -> None:
    with pytest.raises(EncodeError, match="source"):
        Stamp("/bus/\x00", str)
    with pytest.raises(EncodeError, match="correlationid"):
        made(Stamp("/t", str), MESSAGES, correlationid="a\nb")
