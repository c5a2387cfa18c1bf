"""airline: which seats are taken, and by whom?"""

from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Retry, Service
from services.database import keep_data
from services.travel_booking.allotment import book, filled_with, give_back, metadata
from services.travel_booking.catalogue import SEATS, fare_cents
from services.travel_booking.messages import Booked, BookFlight, CancelFlight, Cancelled, FullyBooked

airline = Service("airline")
keep_data(airline, metadata, filled_with(SEATS))


@airline.handles(BookFlight, retry=Retry(attempts=5, first="200ms", cap="5s"), timeout="10s")
async def book_flight(command: BookFlight, ctx: Context, session: AsyncSession) -> Booked | FullyBooked:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        route = f"{command.origin}-{command.destination}"
        price = fare_cents(command.origin, command.destination)
        if not await book(session, command.trip_id, route, price):
            return effect.done(FullyBooked(what=route))
        return effect.done(Booked(reservation=f"flight-{command.trip_id}", price_cents=price))


@airline.handles(CancelFlight)
async def cancel_flight(command: CancelFlight, ctx: Context, session: AsyncSession) -> Cancelled:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if isinstance(effect.action, Booked):
            await give_back(session, command.trip_id)
        return effect.done(Cancelled(reservation=command.reservation))
