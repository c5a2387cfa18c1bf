"""inventory: are the items there, and for whom are they kept?"""

from sqlalchemy import Column, Integer, MetaData, String, Table, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_skip
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from orchestra import Context, Retry, Service
from services.database import keep_data
from services.food_delivery.catalogue import STOCK
from services.food_delivery.messages import ItemsReleased, ItemsReserved, OutOfStock, ReleaseItems, ReserveItems

inventory = Service("inventory")

metadata = MetaData()
stock = Table(
    "stock",
    metadata,
    Column("sku", String, primary_key=True),
    Column("initial", Integer, nullable=False),
    Column("available", Integer, nullable=False),
)
reservations = Table(
    "reservations",
    metadata,
    Column("order_id", String, primary_key=True),
    Column("sku", String, primary_key=True),
    Column("quantity", Integer, nullable=False),
)


async def seed(connection: AsyncConnection) -> None:
    rows = [{"sku": sku, "initial": count, "available": count} for sku, count in STOCK.items()]
    await connection.execute(insert_or_skip(stock).on_conflict_do_nothing(), rows)


keep_data(inventory, metadata, seed)


@inventory.handles(ReserveItems, retry=Retry(attempts=5, first="200ms", cap="30s"), timeout="10s")
async def reserve_items(command: ReserveItems, ctx: Context, session: AsyncSession) -> ItemsReserved | OutOfStock:
    """Reserve every item of the order, or none."""
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        wanted: dict[str, int] = {}
        for item in command.items:
            wanted[item.sku] = wanted.get(item.sku, 0) + item.quantity
        rows = await session.execute(select(stock.c.sku, stock.c.available).where(stock.c.sku.in_(wanted)))
        available = {row.sku: row.available for row in rows}
        for sku, quantity in wanted.items():
            if available.get(sku, 0) < quantity:
                return effect.done(OutOfStock(order_id=command.order_id, sku=sku))
        for sku, quantity in wanted.items():
            await session.execute(
                update(stock).where(stock.c.sku == sku).values(available=stock.c.available - quantity)
            )
        await session.execute(
            insert(reservations),
            [{"order_id": command.order_id, "sku": sku, "quantity": quantity} for sku, quantity in wanted.items()],
        )
        return effect.done(ItemsReserved(order_id=command.order_id))


@inventory.handles(ReleaseItems)
async def release_items(command: ReleaseItems, ctx: Context, session: AsyncSession) -> ItemsReleased:
    """Put back what was reserved. Released before it was reserved: from now on it cannot be."""
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if isinstance(effect.action, ItemsReserved):
            of_order = reservations.c.order_id == command.order_id
            for row in (await session.execute(select(reservations).where(of_order))).all():
                await session.execute(
                    update(stock).where(stock.c.sku == row.sku).values(available=stock.c.available + row.quantity)
                )
            await session.execute(delete(reservations).where(of_order))
        return effect.done(ItemsReleased(order_id=command.order_id))
