"""What is simulated when simulation is measured? A trip of three steps, each with its undo, and services with a ledger.

Flight, hotel and car are booked one after the other, all or nothing. Who books keeps seats, rooms and cars, which are
counted at the end of each run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from orchestra import (
    App,
    Command,
    Context,
    Coordinator,
    Done,
    Event,
    Failure,
    Key,
    Retry,
    Saga,
    Service,
    Undo,
    on_compensated,
    on_completed,
    starts_on,
    step,
)
from orchestra.testing import MemoryDatabase, MemorySession, World


class TripAsked(Event, type="travel.trip.asked.v1", topic="travel.trips"):
    trip_id: Key[str]
    people: int = 1


class TripBooked(Event, type="travel.trip.booked.v1", topic="travel.trips"):
    trip_id: Key[str]


class TripFailed(Event, type="travel.trip.failed.v1", topic="travel.trips"):
    trip_id: Key[str]
    reason: str


class Booked(Event, type="travel.booked.v1"):
    people: int


class SoldOut(Event, type="travel.sold-out.v1"):
    what: str


class BookFlight(Command[Booked, SoldOut], type="flights.seat.book.v1", topic="flights.commands"):
    trip_id: Key[str]
    people: int


class BookHotel(Command[Booked, SoldOut], type="hotels.room.book.v1", topic="hotels.commands"):
    trip_id: Key[str]
    people: int


class BookCar(Command[Booked, SoldOut], type="cars.car.book.v1", topic="cars.commands"):
    trip_id: Key[str]
    people: int


Book = BookFlight | BookHotel | BookCar


class Trip(Saga, name="trip", version=1):
    """Book a flight, a hotel and a car, or nothing."""

    trip = starts_on(TripAsked)

    @step(timeout="30s", retry=Retry(attempts=2, first="1s"), undo=Undo)
    def flight(self) -> BookFlight:
        return BookFlight(trip_id=self.trip.trip_id, people=self.trip.people)

    @step(flight, timeout="30s", retry=Retry(attempts=2, first="1s"), undo=Undo)
    def hotel(self, flight: Booked) -> BookHotel:
        return BookHotel(trip_id=self.trip.trip_id, people=flight.people)

    @step(hotel, timeout="30s", undo=Undo)
    def car(self, hotel: Booked) -> BookCar:
        return BookCar(trip_id=self.trip.trip_id, people=hotel.people)

    @on_completed(car)
    def booked(self, car: Booked) -> TripBooked:
        return TripBooked(trip_id=self.trip.trip_id)

    @on_compensated
    def failed(self, failure: Failure) -> TripFailed:
        return TripFailed(trip_id=self.trip.trip_id, reason=failure.reason)


stock = MemoryDatabase("stock", {"seats": 10, "rooms": 10, "cars": 3})

travel = Service("travel")


@travel.resource(scope="call")
async def session() -> AsyncIterator[MemorySession]:
    async with stock.session() as opened:
        yield opened


async def book(command: Book, what: str, ctx: Context, session: MemorySession) -> Booked | SoldOut:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if session[what] < command.people:
            return effect.done(SoldOut(what=what))
        session[what] -= command.people
        return effect.done(Booked(people=command.people))


async def cancel(command: Undo[Book], what: str, ctx: Context, session: MemorySession) -> Done:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if isinstance(effect.action, Booked):
            session[what] += effect.action.people
        return effect.done(Done())


@travel.handles(BookFlight)
async def book_flight(command: BookFlight, ctx: Context, session: MemorySession) -> Booked | SoldOut:
    return await book(command, "seats", ctx, session)


@travel.handles(BookHotel)
async def book_hotel(command: BookHotel, ctx: Context, session: MemorySession) -> Booked | SoldOut:
    return await book(command, "rooms", ctx, session)


@travel.handles(BookCar)
async def book_car(command: BookCar, ctx: Context, session: MemorySession) -> Booked | SoldOut:
    return await book(command, "cars", ctx, session)


@travel.handles(Undo[BookFlight])
async def cancel_flight(command: Undo[BookFlight], ctx: Context, session: MemorySession) -> Done:
    return await cancel(command, "seats", ctx, session)


@travel.handles(Undo[BookHotel])
async def cancel_hotel(command: Undo[BookHotel], ctx: Context, session: MemorySession) -> Done:
    return await cancel(command, "rooms", ctx, session)


@travel.handles(Undo[BookCar])
async def cancel_car(command: Undo[BookCar], ctx: Context, session: MemorySession) -> Done:
    return await cancel(command, "cars", ctx, session)


app = App(services=[travel], coordinators=[Coordinator("trips", flows=[Trip])])


async def one_trip(world: World) -> None:
    """One saga: what is measured."""
    await world.publish(TripAsked(trip_id="t-1", people=world.random.choice((2, 2, 4))))


async def some_trips(world: World) -> None:
    """Several at once, of which not all can have a car."""
    for number in range(world.random.randint(1, 4)):
        await world.publish(TripAsked(trip_id=f"t-{number}", people=world.random.randint(1, 2)))


def nothing_is_half_booked(world: World) -> None:
    """What is gone is gone three times, once for each trip that is booked."""
    people = {event.trip_id: event.people for event in world.published(TripAsked)}
    booked = {event.trip_id for event in world.published(TripBooked)}
    failed = {event.trip_id for event in world.published(TripFailed)}
    assert booked | failed == set(people), f"no end: {set(people) - booked - failed}"
    assert not booked & failed, f"two ends: {booked & failed}"
    gone = sum(people[trip] for trip in booked)
    assert stock.rows == {"seats": 10 - gone, "rooms": 10 - gone, "cars": 3 - gone}, stock.rows
