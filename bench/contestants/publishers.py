"""Who publishes? The same orders, each acknowledged by all replicas: ``python -m bench.contestants.publishers WHO``.

``aiokafka-send``   a call of ``send`` for each record; keys, values and headers are bytes already
``aiokafka-batch``  batches filled by hand for each partition; keys, values and headers are bytes already
``orchestra-many``  ``bus.publish(orders)``: typed events in, so JSON and headers are made here
``orchestra-one``   ``await bus.publish(order)`` for each, 64 tasks at a time
``faststream``      ``await broker.publish(order)`` for each, 64 tasks at a time

What is counted is CPU time and time from the first call to the last acknowledgement, after some records to warm up.
Orders, and for aiokafka bytes, are made before. All producers are idempotent, with acks=all and no linger.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from bench.contestants import order
from bench.contestants.counting import OrderPlaced
from bench.filling import put
from bench.plain import Headers, producer

Publish = Callable[[Sequence[Any]], Awaitable[object]]
DECLARED = "bench.orders"
_TASKS = 64
_WINDOW = 10_000
"""So many futures are held before they are waited for."""


def _ready_made(count: int) -> list[tuple[bytes, Headers, bytes]]:
    return [(order.key(number).encode(), *order.binary(number)) for number in range(count)]


def _typed(count: int) -> list[OrderPlaced]:
    return [OrderPlaced.model_validate(order.data(number)) for number in range(count)]


@asynccontextmanager
async def aiokafka_send(servers: str, topic: str) -> AsyncIterator[Publish]:
    async with producer(servers) as out:

        async def publish(records: Sequence[tuple[bytes, Headers, bytes]]) -> None:
            for window in _windows(records):
                futures = [await out.send(topic, value, key=key, headers=headers) for key, headers, value in window]
                await asyncio.gather(*futures)

        yield publish


@asynccontextmanager
async def aiokafka_batch(servers: str, topic: str) -> AsyncIterator[Publish]:
    async with producer(servers) as out:
        yield lambda records: put(out, topic, records)


@asynccontextmanager
async def orchestra_many(servers: str, topic: str) -> AsyncIterator[Publish]:
    import orchestra

    async with orchestra.connect(orchestra.Settings(bootstrap_servers=servers, topics={DECLARED: topic})) as bus:
        yield bus.publish


@asynccontextmanager
async def orchestra_one(servers: str, topic: str) -> AsyncIterator[Publish]:
    import orchestra

    async with orchestra.connect(orchestra.Settings(bootstrap_servers=servers, topics={DECLARED: topic})) as bus:
        yield lambda orders: _many_tasks(orders, bus.publish)


@asynccontextmanager
async def faststream(servers: str, topic: str) -> AsyncIterator[Publish]:
    from faststream.kafka import KafkaBroker

    async with KafkaBroker(servers, acks="all", enable_idempotence=True, logger=None) as broker:
        headers = {"ce_type": order.KIND, "ce_source": "/bench/shop", "ce_specversion": "1.0"}

        async def publish(each: OrderPlaced) -> None:
            await broker.publish(each, topic, key=each.order_id.encode(), headers=headers)

        yield lambda orders: _many_tasks(orders, publish)


CONTESTANTS: dict[str, tuple[Any, Callable[[int], Sequence[Any]]]] = {
    "aiokafka-send": (aiokafka_send, _ready_made),
    "aiokafka-batch": (aiokafka_batch, _ready_made),
    "orchestra-many": (orchestra_many, _typed),
    "orchestra-one": (orchestra_one, _typed),
    "faststream": (faststream, _typed),
}


def _windows(records: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for begin in range(0, len(records), _WINDOW):
        yield records[begin : begin + _WINDOW]


async def _many_tasks(orders: Sequence[OrderPlaced], publish: Callable[[OrderPlaced], Awaitable[None]]) -> None:
    waiting = iter(orders)

    async def work() -> None:
        for each in waiting:
            await publish(each)

    await asyncio.gather(*(work() for _ in range(_TASKS)))


async def main(who: str) -> None:
    connect, make = CONTESTANTS[who]
    count, warm = int(os.environ["BENCH_COUNT"]), int(os.environ["BENCH_WARM"])
    orders = iter(make(warm + count))
    first, rest = list(islice(orders, warm)), list(orders)
    async with connect(os.environ["BENCH_SERVERS"], os.environ["BENCH_TOPIC"]) as publish:
        await publish(first)
        cpu, begun = time.process_time(), time.perf_counter()
        await publish(rest)
        told = {
            "records": count,
            "cpu_seconds": time.process_time() - cpu,
            "seconds": time.perf_counter() - begun,
        }
    Path(os.environ["BENCH_RESULT"]).write_text(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
