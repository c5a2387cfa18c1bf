"""Filters by attribute: what they match, that data is not looked at, and each mistake as an error at import."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.errors import DefinitionError
from orchestra.events.envelope import Envelope
from orchestra.service.where import read_where

EVENT = Envelope(
    "id-1",
    "/shop/eu/42",
    "shop.order.placed.v1",
    subject="orders/7",
    time_text="2030-01-01T00:00:00Z",
    extensions={"region": "eu", "priority": 5},
    data=b"this is no JSON",
)


@pytest.mark.parametrize(
    ("where", "is_match"),
    [
        ({"source": "/shop/eu/*"}, True),
        ({"source": "/shop/us/*"}, False),
        ({"source": "/shop/eu/*", "region": "eu"}, True),
        ({"source": "/shop/eu/*", "region": "us"}, False),
        ({"subject": "orders/7"}, True),
        ({"time": "2030-01-*"}, True),
        ({"priority": "5"}, True),
        ({"absent": "*"}, False),
        ({"dataschema": "*"}, False),
        ({"id": "id-*", "type": "*.v1"}, True),
        (lambda event: event.subject is not None, True),
        (lambda event: event.get("region") == "us", False),
        (lambda event: "truthy", True),
    ],
)
def test_all_attributes_must_match(where: Any, is_match: bool) -> None:
    assert read_where(where, "eu.watch")(EVENT) is is_match


def test_predicate_that_raises_is_a_mistake_of_the_handler_that_says_where() -> None:
    fits = read_where(lambda event: len(event.subject or 5) > 1, "eu.watch")  # type: ignore[arg-type]

    with pytest.raises(DefinitionError, match=r"handler eu\.watch: its where= raised TypeError") as raised:
        fits(Envelope("1", "/", "t"))
    assert isinstance(raised.value.__cause__, TypeError)


async def not_sync(event: Envelope) -> bool:
    return True


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ({}, "says nothing: leave it out"),
        ({"data": "x*"}, "data is not decoded to decide"),
        ({"Region": "eu"}, "no attribute of a CloudEvent"),
        ({"region": 5}, "a pattern is text"),
        (not_sync, "cannot await: write def, not async"),
        (5, "is no filter"),
    ],
)
def test_what_is_no_filter_is_refused(where: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=rf"handler eu\.watch: .*{says}"):
        read_where(where, "eu.watch")
