"""Does a story play one step for each of many items, and one that is repeated?"""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestra.testing.story import NOON, Story, run
from tests.unit.flows.packing import (
    Broken,
    GetStatus,
    NotShipped,
    Ordered,
    Packed,
    PackLine,
    Polling,
    Reserve,
    Reserved,
    Shipment,
    Shipped,
    Status,
    Unpacked,
    UnpackLine,
    Unreserve,
)


def packing(*skus: str) -> Story:
    t = run(Shipment, Ordered(id="A", skus=list(skus)))
    t.expect(Reserve).reply(Reserved(id="A", shelf=7))
    return t


def test_items_are_answered_in_any_order_and_come_out_in_theirs() -> None:
    t = packing("a", "b", "c")

    first, second = t.expect(PackLine), t.expect(PackLine)
    with pytest.raises(AssertionError, match="PackLine was expected, and sent was nothing more"):
        t.expect(PackLine)
    second.reply(Packed(sku="b", box=2))
    t.expect(PackLine, where=lambda command: command.sku == "c").reply(Packed(sku="c", box=3))
    first.reply(Packed(sku="a", box=1)).reply_again()

    assert t.completed(Shipped).boxes == [1, 2, 3]
    t.nothing_sent()


def test_what_was_packed_is_unpacked() -> None:
    t = packing("a", "b")
    first, second = t.expect(PackLine), t.expect(PackLine)

    first.reply(Packed(sku="a", box=1))
    second.reject(Broken(sku="b"))
    t.expect(UnpackLine).reply(Unpacked(sku="a"))
    t.expect(Unreserve).reply(Reserved(id="A", shelf=7))

    t.compensated(NotShipped)


def test_an_item_that_is_not_answered_is_tried_again() -> None:
    t = packing("a")

    t.expect(PackLine).times_out()
    t.expect(PackLine).reply(Packed(sku="a", box=1))

    assert t.completed(Shipped).boxes == [1]
    assert "PackLine(id='A', sku='a', shelf=7), try 2" in t.story()


def test_a_step_is_repeated_after_its_pause() -> None:
    t = run(Polling, Ordered(id="A", skus=[]))

    t.expect(GetStatus).reply(Status(ready=False))
    t.advance("30s")
    t.expect(GetStatus(id="A", asked_before=True)).reply(Status(ready=True))

    assert t.completed(Shipped).boxes == [1]
    assert t.now == NOON + timedelta(seconds=30)


def test_hundreds_of_items_are_played_quickly() -> None:
    t = packing(*(str(number) for number in range(200)))

    for number in range(200):
        t.expect(PackLine).reply(Packed(sku=str(number), box=number))

    assert t.completed(Shipped).boxes == list(range(200))
