"""notices: what have sender and recipient been told?"""

from sqlalchemy import Column, Integer, MetaData, String, Table, insert
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Service
from services.database import keep_data
from services.package_tracking.messages import ParcelDelivered, ParcelMissing, ParcelReturned, ParcelWrittenOff

notices = Service("notices")

metadata = MetaData()
letters = Table(
    "letters",
    metadata,
    Column("letter", Integer, primary_key=True),
    Column("parcel_id", String, nullable=False),
    Column("says", String, nullable=False),
)

keep_data(notices, metadata)

SAYS = {
    ParcelMissing: "we are looking for it",
    ParcelDelivered: "it is delivered",
    ParcelReturned: "it has come back",
    ParcelWrittenOff: "we have lost it",
}


@notices.on(ParcelMissing, ParcelDelivered, ParcelReturned, ParcelWrittenOff, timeout="10s")
async def write(
    event: ParcelMissing | ParcelDelivered | ParcelReturned | ParcelWrittenOff, ctx: Context, session: AsyncSession
) -> None:
    """A letter for each event, however often it comes. No flow knows of this: it reacts, as anybody may."""
    async with ctx.effect(session, event) as effect:
        if effect.is_repeat:
            return
        await session.execute(insert(letters).values(parcel_id=event.parcel_id, says=SAYS[type(event)]))
        effect.done()
