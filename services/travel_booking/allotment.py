"""How is something of which there is only so much booked, and given back? Seats, rooms and cars alike."""

from collections.abc import Mapping

from sqlalchemy import Column, Integer, MetaData, String, Table, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_skip
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from services.database import Seed

metadata = MetaData()
allotments = Table(
    "allotments",
    metadata,
    Column("what", String, primary_key=True),
    Column("free", Integer, nullable=False),
)
bookings = Table(
    "bookings",
    metadata,
    Column("trip_id", String, primary_key=True),
    Column("what", String, nullable=False),
    Column("price_cents", Integer, nullable=False),
)


def filled_with(allotment: Mapping[str, int]) -> Seed:
    async def fill(connection: AsyncConnection) -> None:
        rows = [{"what": what, "free": free} for what, free in allotment.items()]
        await connection.execute(insert_or_skip(allotments).on_conflict_do_nothing(), rows)

    return fill


async def book(session: AsyncSession, trip_id: str, what: str, price_cents: int) -> bool:
    """Take one, if there is one."""
    of_it = allotments.c.what == what
    free = (await session.execute(select(allotments.c.free).where(of_it))).scalar_one_or_none() or 0
    if not free:
        return False
    await session.execute(update(allotments).where(of_it).values(free=free - 1))
    await session.execute(insert(bookings).values(trip_id=trip_id, what=what, price_cents=price_cents))
    return True


async def give_back(session: AsyncSession, trip_id: str) -> None:
    of_trip = bookings.c.trip_id == trip_id
    what = (await session.execute(select(bookings.c.what).where(of_trip))).scalar_one()
    await session.execute(update(allotments).where(allotments.c.what == what).values(free=allotments.c.free + 1))
    await session.execute(delete(bookings).where(of_trip))
