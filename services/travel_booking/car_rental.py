"""car-rental: which cars are taken, and by whom?"""

from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Retry, Service
from services.database import keep_data
from services.travel_booking.allotment import book, filled_with, give_back, metadata
from services.travel_booking.catalogue import CAR_CENTS_A_DAY, CARS
from services.travel_booking.messages import BookCar, Booked, CancelCar, Cancelled, FullyBooked

car_rental = Service("car-rental")
keep_data(car_rental, metadata, filled_with(CARS))


@car_rental.handles(BookCar, retry=Retry(attempts=5, first="200ms", cap="5s"), timeout="10s")
async def book_car(command: BookCar, ctx: Context, session: AsyncSession) -> Booked | FullyBooked:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        price = CAR_CENTS_A_DAY * command.days
        if not await book(session, command.trip_id, command.city, price):
            return effect.done(FullyBooked(what=f"cars in {command.city}"))
        return effect.done(Booked(reservation=f"car-{command.trip_id}", price_cents=price))


@car_rental.handles(CancelCar)
async def cancel_car(command: CancelCar, ctx: Context, session: AsyncSession) -> Cancelled:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if isinstance(effect.action, Booked):
            await give_back(session, command.trip_id)
        return effect.done(Cancelled(reservation=command.reservation))
