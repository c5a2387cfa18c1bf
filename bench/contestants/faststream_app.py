"""The same consumer with FastStream, as its documentation writes it: ``python -m bench.contestants.faststream_app``.

``BENCH_ACK=default`` leaves the acknowledgement policy alone: offsets are committed by a timer, whether the handler is
done or not (its documentation: at most once). ``BENCH_ACK=at-least-once`` takes ``NACK_ON_ERROR``: a record's offset is
committed when its handler has returned, and it is read again when the handler raised. ``max_workers`` is left at 1:
with this policy more of them are more members of the group, in the same process, with the same work for each record.

Logging is off. The orders are decoded to a pydantic model from the value; nothing looks at the CloudEvent's attributes.
"""

from __future__ import annotations

import asyncio
import os

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from pydantic import BaseModel

from bench.contestants import told

SAFELY = os.environ["BENCH_ACK"] == "at-least-once"


class Item(BaseModel):
    sku: str
    quantity: int
    unit_cents: int


class OrderPlaced(BaseModel):
    order_id: str
    customer: str
    items: list[Item]
    total_cents: int
    currency: str
    express: bool
    note: str | None


broker = KafkaBroker(told.SERVERS, logger=None)
app = FastStream(broker, logger=None)


@broker.subscriber(
    told.TOPIC,
    group_id=told.GROUP,
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.NACK_ON_ERROR if SAFELY else AckPolicy.ACK_FIRST,  # the latter is its default
)
async def take(order: OrderPlaced) -> None:
    told.WATCH.seen(order.order_id)


async def main() -> None:
    with told.telling():
        await app.run()


if __name__ == "__main__":
    asyncio.run(main())
