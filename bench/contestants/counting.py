"""The same consumer with orchestra: a typed handler that does nothing but count."""

from __future__ import annotations

from pydantic import BaseModel

from bench.contestants.order import KIND
from bench.contestants.watch import Watch
from orchestra import Event, Key, Service


class Item(BaseModel):
    sku: str
    quantity: int
    unit_cents: int


class OrderPlaced(Event, type=KIND, topic="bench.orders"):
    order_id: Key[str]
    customer: str
    items: list[Item]
    total_cents: int
    currency: str
    express: bool
    note: str | None


def counting(name: str, max_in_flight: int, watch: Watch) -> Service:
    service = Service(name, max_in_flight=max_in_flight)

    @service.on(OrderPlaced)
    async def take(event: OrderPlaced) -> None:
        watch.seen(event.order_id)

    return service
