"""stockroom: what is on the shelves, and what was picked for whom?"""

from sqlalchemy import Column, Integer, MetaData, String, Table, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_skip
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from orchestra import Context, Retry, Service
from services.database import keep_data
from services.ecommerce_fulfilment.goods import STOCK
from services.ecommerce_fulfilment.messages import NotInStock, Picked, PickItems, PutBack, PutItemsBack

stockroom = Service("stockroom")

metadata = MetaData()
shelves = Table(
    "shelves",
    metadata,
    Column("sku", String, primary_key=True),
    Column("count", Integer, nullable=False),
)
picks = Table(
    "picks",
    metadata,
    Column("order_id", String, primary_key=True),
    Column("sku", String, nullable=False),
    Column("quantity", Integer, nullable=False),
)


async def fill(connection: AsyncConnection) -> None:
    rows = [{"sku": sku, "count": count} for sku, count in STOCK.items()]
    await connection.execute(insert_or_skip(shelves).on_conflict_do_nothing(), rows)


keep_data(stockroom, metadata, fill)


@stockroom.handles(PickItems, retry=Retry(attempts=5, first="200ms", cap="5s"), timeout="10s")
async def pick_items(command: PickItems, ctx: Context, session: AsyncSession) -> Picked | NotInStock:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        of_sku = shelves.c.sku == command.sku
        count = (await session.execute(select(shelves.c["count"]).where(of_sku))).scalar_one_or_none() or 0
        if count < command.quantity:
            return effect.done(NotInStock(sku=command.sku))
        await session.execute(update(shelves).where(of_sku).values(count=count - command.quantity))
        await session.execute(
            insert(picks).values(order_id=command.order_id, sku=command.sku, quantity=command.quantity)
        )
        return effect.done(Picked(sku=command.sku, quantity=command.quantity))


@stockroom.handles(PutItemsBack)
async def put_items_back(command: PutItemsBack, ctx: Context, session: AsyncSession) -> PutBack:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if not isinstance(picked := effect.action, Picked):
            return effect.done(PutBack(quantity=0))
        more = shelves.c["count"] + picked.quantity
        await session.execute(update(shelves).where(shelves.c.sku == picked.sku).values(count=more))
        await session.execute(delete(picks).where(picks.c.order_id == command.order_id))
        return effect.done(PutBack(quantity=picked.quantity))
