"""The same consumer with orchestra: ``orchestra run bench.contestants.orchestra_service:many_lanes``."""

from __future__ import annotations

from collections.abc import AsyncIterator

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


def counting(name: str, max_in_flight: int) -> Service:
    """A service whose handler does nothing but count."""
    service = Service(name, max_in_flight=max_in_flight)
    watch = Watch()

    @service.resource
    async def watching() -> AsyncIterator[Watch]:
        with watch.running():
            yield watch

    @service.on(OrderPlaced)
    async def take(event: OrderPlaced) -> None:
        watch.seen(event.order_id)

    return service


one_lane = counting("one-lane", 1)
many_lanes = counting("many-lanes", 64)
