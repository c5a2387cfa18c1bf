"""depots: who looks for a parcel, and what comes of it?"""

import asyncio

from sqlalchemy import Boolean, Column, Integer, MetaData, String, Table, insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Done, Service
from services.database import keep_data
from services.package_tracking.messages import CallOffSearch, ParcelFound, ParcelNowhere, SearchParcel
from services.package_tracking.world import DEPOTS, GONE, SEARCH_SECONDS

depots = Service("depots")

metadata = MetaData()
searches = Table(
    "searches",
    metadata,
    Column("search", Integer, primary_key=True),
    Column("parcel_id", String, nullable=False, index=True),
    Column("open", Boolean, nullable=False),
)

keep_data(depots, metadata)


@depots.handles(SearchParcel, timeout="10s")
async def search_parcel(command: SearchParcel, ctx: Context, session: AsyncSession) -> ParcelFound | ParcelNowhere:
    """Look behind every shelf. The search stays open until it is called off: people go on looking meanwhile."""
    await asyncio.sleep(SEARCH_SECONDS)
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        await session.execute(insert(searches).values(parcel_id=command.parcel_id, open=True))
        if command.parcel_id in GONE:
            return effect.done(ParcelNowhere())
        return effect.done(ParcelFound(depot=command.last_seen or DEPOTS[0]))


@depots.handles(CallOffSearch)
async def call_off_search(command: CallOffSearch, ctx: Context, session: AsyncSession) -> Done:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        await session.execute(update(searches).where(searches.c.parcel_id == command.parcel_id).values(open=False))
        return effect.done(Done())
