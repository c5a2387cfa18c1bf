"""till: what was paid?"""

from sqlalchemy import Column, Integer, MetaData, String, Table, insert
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Retry, Service
from services.database import keep_data
from services.travel_booking.catalogue import DECLINED_CARDS
from services.travel_booking.messages import Paid, PaymentDeclined, TakePayment

till = Service("till")

metadata = MetaData()
payments = Table(
    "payments",
    metadata,
    Column("trip_id", String, primary_key=True),
    Column("total_cents", Integer, nullable=False),
)

keep_data(till, metadata)


@till.handles(TakePayment, retry=Retry(attempts=5, first="200ms", cap="5s"), timeout="10s")
async def take_payment(command: TakePayment, ctx: Context, session: AsyncSession) -> Paid | PaymentDeclined:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if command.card in DECLINED_CARDS:
            return effect.done(PaymentDeclined(reason=f"{command.card} was declined"))
        await session.execute(insert(payments).values(trip_id=command.trip_id, total_cents=command.total_cents))
        return effect.done(Paid(total_cents=command.total_cents))
