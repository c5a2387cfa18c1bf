"""hotels: which rooms are taken, and by whom?"""

from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Retry, Service
from services.database import keep_data
from services.travel_booking.allotment import book, filled_with, give_back, metadata
from services.travel_booking.catalogue import ROOM_CENTS_A_NIGHT, ROOMS
from services.travel_booking.messages import Booked, BookRoom, Cancelled, CancelRoom, FullyBooked

hotels = Service("hotels")
keep_data(hotels, metadata, filled_with(ROOMS))


@hotels.handles(BookRoom, retry=Retry(attempts=5, first="200ms", cap="5s"), timeout="10s")
async def book_room(command: BookRoom, ctx: Context, session: AsyncSession) -> Booked | FullyBooked:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        price = ROOM_CENTS_A_NIGHT * command.nights
        if not await book(session, command.trip_id, command.city, price):
            return effect.done(FullyBooked(what=f"rooms in {command.city}"))
        return effect.done(Booked(reservation=f"room-{command.trip_id}", price_cents=price))


@hotels.handles(CancelRoom)
async def cancel_room(command: CancelRoom, ctx: Context, session: AsyncSession) -> Cancelled:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if isinstance(effect.action, Booked):
            await give_back(session, command.trip_id)
        return effect.done(Cancelled(reservation=command.reservation))
