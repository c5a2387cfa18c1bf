"""Orchestra, as a user runs it: ``orchestra run bench.contestants.orchestra_service:many_lanes``, and the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from bench.contestants import told
from bench.contestants.counting import OrderPlaced, counting
from bench.contestants.watch import Watch
from bench.noop import Ticked
from orchestra import Service

SLOW_SECONDS = 0.02


def _telling(service: Service) -> Service:
    @service.resource
    async def watching() -> AsyncIterator[Watch]:
        with told.telling():
            yield told.WATCH

    return service


def _slow(name: str, max_in_flight: int) -> Service:
    service = Service(name, max_in_flight=max_in_flight)

    @service.on(OrderPlaced)
    async def take(event: OrderPlaced) -> None:
        await asyncio.sleep(SLOW_SECONDS)
        told.WATCH.seen(event.order_id)

    return service


one_lane = _telling(counting("one-lane", 1, told.WATCH))
many_lanes = _telling(counting("many-lanes", 64, told.WATCH))
slow_one = _telling(_slow("slow-one", 1))
slow_many = _telling(_slow("slow-many", 64))
ticks = _telling(Service("ticks", max_in_flight=64))


@ticks.on(Ticked)
async def take(event: Ticked) -> None:
    told.WATCH.seen(event.tick)
