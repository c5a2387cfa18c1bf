from __future__ import annotations

import pytest

from bench.contestants import order
from bench.contestants.counting import OrderPlaced
from orchestra.events.cloudevents import decode


@pytest.mark.parametrize("make", [order.binary, order.structured])
def test_orchestra_reads_the_order_in_both_modes(make: order.Maker) -> None:
    headers, value = make(12)

    event = decode(headers, value)

    assert (event.type, event.subject) == (order.KIND, order.key(12))
    assert event.value(OrderPlaced).model_dump() == order.data(12)


def test_an_order_has_about_300_bytes_of_json() -> None:
    sizes = [len(order.binary(number)[1]) for number in range(0, 200_000, 997)]

    assert min(sizes) >= 290
    assert max(sizes) <= 320
