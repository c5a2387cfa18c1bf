"""stock: is it there, and for whom is it held?"""

import asyncio

from sqlalchemy import Column, Integer, MetaData, String, Table, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_skip
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from orchestra import Context, Done, Service, Undo
from services.database import keep_data
from services.order_validation.messages import HoldStock, StockHeld, StockShort
from services.order_validation.rules import SHELF_SECONDS, STOCK

stock = Service("stock")

metadata = MetaData()
shelves = Table(
    "shelves",
    metadata,
    Column("sku", String, primary_key=True),
    Column("available", Integer, nullable=False),
)
holds = Table(
    "holds",
    metadata,
    Column("order_id", String, primary_key=True),
    Column("sku", String, nullable=False),
    Column("quantity", Integer, nullable=False),
)


async def fill(connection: AsyncConnection) -> None:
    rows = [{"sku": sku, "available": count} for sku, count in STOCK.items()]
    await connection.execute(insert_or_skip(shelves).on_conflict_do_nothing(), rows)


keep_data(stock, metadata, fill)


@stock.handles(HoldStock, timeout="10s")
async def hold_stock(command: HoldStock, ctx: Context, session: AsyncSession) -> StockHeld | StockShort:
    await asyncio.sleep(SHELF_SECONDS)
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        of_sku = shelves.c.sku == command.sku
        available = (await session.execute(select(shelves.c.available).where(of_sku))).scalar_one_or_none() or 0
        if available < command.quantity:
            return effect.done(StockShort(sku=command.sku))
        await session.execute(update(shelves).where(of_sku).values(available=available - command.quantity))
        await session.execute(
            insert(holds).values(order_id=command.order_id, sku=command.sku, quantity=command.quantity)
        )
        return effect.done(StockHeld(sku=command.sku, quantity=command.quantity))


@stock.handles(Undo[HoldStock])
async def free_stock(command: Undo[HoldStock], ctx: Context, session: AsyncSession) -> Done:
    """Put back what was held. Asked before the hold came: from now on it cannot come."""
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if isinstance(held := effect.action, StockHeld):
            back = shelves.c.available + held.quantity
            await session.execute(update(shelves).where(shelves.c.sku == held.sku).values(available=back))
            await session.execute(delete(holds).where(holds.c.order_id == command.command.order_id))
        return effect.done(Done())
