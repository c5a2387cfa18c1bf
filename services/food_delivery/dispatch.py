"""dispatch: which driver carries which order?"""

from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_skip
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from orchestra import Context, Retry, Service
from services.database import keep_data
from services.food_delivery.catalogue import DRIVERS
from services.food_delivery.messages import AssignDriver, DriverAssigned, NoDriverFree

dispatch = Service("dispatch")

metadata = MetaData()
drivers = Table(
    "drivers",
    metadata,
    Column("driver_id", String, primary_key=True),
    Column("zone", String, nullable=False),
    Column("capacity", Integer, nullable=False),
    Column("load", Integer, nullable=False),
)
assignments = Table(
    "assignments",
    metadata,
    Column("order_id", String, primary_key=True),
    Column("driver_id", String, nullable=False),
)


async def seed(connection: AsyncConnection) -> None:
    rows = [
        {"driver_id": driver, "zone": zone, "capacity": capacity, "load": 0}
        for zone, roster in DRIVERS.items()
        for driver, capacity in roster.items()
    ]
    await connection.execute(insert_or_skip(drivers).on_conflict_do_nothing(), rows)


keep_data(dispatch, metadata, seed)


@dispatch.handles(AssignDriver, retry=Retry(attempts=5, first="200ms", cap="30s"), timeout="10s")
async def assign_driver(command: AssignDriver, ctx: Context, session: AsyncSession) -> DriverAssigned | NoDriverFree:
    """Give the order to the least loaded driver of its zone."""
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        free = (
            select(drivers.c.driver_id)
            .where(drivers.c.zone == command.zone, drivers.c.load < drivers.c.capacity)
            .order_by(drivers.c.load, drivers.c.driver_id)
            .limit(1)
        )
        driver = (await session.execute(free)).scalar_one_or_none()
        if driver is None:
            return effect.done(NoDriverFree(order_id=command.order_id, zone=command.zone))
        await session.execute(update(drivers).where(drivers.c.driver_id == driver).values(load=drivers.c.load + 1))
        await session.execute(insert(assignments).values(order_id=command.order_id, driver_id=driver))
        return effect.done(DriverAssigned(order_id=command.order_id, driver_id=driver))
