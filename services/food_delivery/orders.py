"""orders: which orders are there, and how did each end?"""

from collections.abc import Mapping

from sqlalchemy import Column, Integer, MetaData, String, Table
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Service
from services.database import keep_data
from services.food_delivery.messages import OrderConfirmed, OrderPlaced, OrderRejected

orders = Service("orders")

metadata = MetaData()
placed = Table(
    "placed",
    metadata,
    Column("order_id", String, primary_key=True),
    Column("total_cents", Integer, nullable=False),
)
# One row for each time that an order ended: more than one row for an order would be a bug that we want to see.
endings = Table(
    "endings",
    metadata,
    Column("ending", Integer, primary_key=True),
    Column("order_id", String, nullable=False, index=True),
    Column("status", String, nullable=False),  # confirmed or rejected
    Column("total_cents", Integer, nullable=False),
    Column("note", String, nullable=False),
)


keep_data(orders, metadata)


@orders.on(OrderPlaced)
async def record_order(event: OrderPlaced, ctx: Context, session: AsyncSession) -> None:
    """Keep the first submission of an order; later ones under the same id change nothing."""
    row = {"order_id": event.order_id, "total_cents": event.total_cents}
    async with session.begin():
        await session.execute(insert(placed).values(row).on_conflict_do_nothing())


@orders.on(OrderConfirmed)
async def record_confirmation(event: OrderConfirmed, ctx: Context, session: AsyncSession) -> None:
    row = {"status": "confirmed", "total_cents": event.total_cents, "note": event.driver_id}
    await end(event.order_id, row, event, ctx, session)


@orders.on(OrderRejected)
async def record_rejection(event: OrderRejected, ctx: Context, session: AsyncSession) -> None:
    row = {"status": "rejected", "total_cents": 0, "note": event.reason}
    await end(event.order_id, row, event, ctx, session)


async def end(
    order_id: str,
    row: Mapping[str, object],
    event: OrderConfirmed | OrderRejected,
    ctx: Context,
    session: AsyncSession,
) -> None:
    async with ctx.effect(session, event) as effect:
        if effect.is_repeat:
            return
        await session.execute(insert(endings).values(order_id=order_id, **row))
        effect.done()
