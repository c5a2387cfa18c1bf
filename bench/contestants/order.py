"""Which orders do the contestants consume? About 300 bytes of JSON each, as CloudEvents; a number gives one order."""

from __future__ import annotations

import json
from collections.abc import Callable

from bench.plain import Headers

KIND = "bench.order.placed.v1"
Maker = Callable[[int], tuple[Headers, bytes]]
_PLACED = "2026-03-01T09:30:00.125Z"
_SKUS = ("espresso-beans-1kg", "paper-filter-100", "milk-jug-steel", "burr-grinder-m2")


def key(number: int) -> str:
    return f"order-{number:07d}"


def data(number: int) -> dict[str, object]:
    items = [
        {"sku": _SKUS[(number + n) % len(_SKUS)], "quantity": 1 + (number + n) % 3, "unit_cents": 450 + 5 * n}
        for n in range(3)
    ]
    total = sum(int(str(item["quantity"])) * int(str(item["unit_cents"])) for item in items)
    return {
        "order_id": key(number),
        "customer": f"customer-{number % 9973:05d}",
        "items": items,
        "total_cents": total,
        "currency": "EUR",
        "express": number % 7 == 0,
        "note": "ring twice" if number % 3 else None,
    }


def _attributes(number: int) -> dict[str, str]:
    return {
        "specversion": "1.0",
        "id": f"{number:08x}-5c1f-4f6e-9d0a-8f1c2b7a6e55",
        "source": "/bench/shop",
        "type": KIND,
        "subject": key(number),
        "time": _PLACED,
    }


def binary(number: int) -> tuple[Headers, bytes]:
    """The order as a CloudEvent in binary mode: attributes in headers, data as the value."""
    headers = [(f"ce_{name}", text.encode()) for name, text in _attributes(number).items()]
    return [*headers, ("content-type", b"application/json")], _json(data(number))


def structured(number: int) -> tuple[Headers, bytes]:
    """The order as a CloudEvent in structured mode: everything in the value."""
    event = {**_attributes(number), "datacontenttype": "application/json", "data": data(number)}
    return [("content-type", b"application/cloudevents+json; charset=utf-8")], _json(event)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
