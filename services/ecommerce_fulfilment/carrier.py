"""carrier: which parcels are on their way?"""

import asyncio

from sqlalchemy import Column, MetaData, String, Table, insert
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Retry, Service
from services.database import keep_data
from services.ecommerce_fulfilment.goods import BEYOND_REACH, SHIPPING_SECONDS
from services.ecommerce_fulfilment.messages import ShipParcel, Shipped, Undeliverable

carrier = Service("carrier")

metadata = MetaData()
parcels = Table(
    "parcels",
    metadata,
    Column("order_id", String, primary_key=True),
    Column("city", String, nullable=False),
)

keep_data(carrier, metadata)


@carrier.handles(ShipParcel, retry=Retry(attempts=5, first="200ms", cap="5s"), timeout="15s")
async def ship_parcel(command: ShipParcel, ctx: Context, session: AsyncSession) -> Shipped | Undeliverable:
    await asyncio.sleep(SHIPPING_SECONDS)
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if command.city == BEYOND_REACH:
            return effect.done(Undeliverable(city=command.city))
        await session.execute(insert(parcels).values(order_id=command.order_id, city=command.city))
        return effect.done(Shipped(parcel=f"parcel-{command.order_id}"))
