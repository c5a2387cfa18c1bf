"""A saga with parallel branches, a join, a pivot, a read-only and a retriable step; and a flow that is no saga."""

from __future__ import annotations

from orchestra.events.message import Command, Done, Event, Key, Undo
from orchestra.flows.failure import Failure
from orchestra.flows.saga import Flow, Saga, on_compensated, on_completed, pivot, starts_on, step
from orchestra.retry import Retry


class TripAsked(Event, type="trip.asked.v1", topic="trips"):
    trip_id: Key[str]


class TripBooked(Event, type="trip.booked.v1", topic="trips"):
    trip_id: Key[str]
    total: int


class TripDropped(Event, type="trip.dropped.v1", topic="trips"):
    trip_id: Key[str]
    step: str
    reason: str
    cause: str


class Booked(Event, type="booking.booked.v1"):
    price: int


class SoldOut(Event, type="booking.sold-out.v1"):
    what: str


class Book(Command[Booked, SoldOut], type="booking.book.v1", topic="booking.commands"):
    trip_id: Key[str]
    what: str


class Unbook(Command[Done, SoldOut], type="booking.unbook.v1", topic="booking.commands"):
    trip_id: Key[str]
    what: str
    price: int | None


class Rating(Event, type="booking.rating.v1"):
    stars: int


class Rate(Command[Rating, SoldOut], type="booking.rate.v1", topic="booking.commands"):
    trip_id: Key[str]


class Told(Event, type="mail.told.v1"):
    pass


class Tell(Command[Told, SoldOut], type="mail.tell.v1", topic="mail.commands"):
    trip_id: Key[str]
    total: int


class Pay(Command[Done, SoldOut], type="money.pay.v1", topic="money.commands"):
    trip_id: Key[str]
    total: int


class Trip(Saga, name="trip", version=2):
    """Flight and hotel side by side, rated beside them; a visa after the flight; then paid, and told."""

    ask = starts_on(TripAsked)

    @step
    def flight(self) -> Book:
        return Book(trip_id=self.ask.trip_id, what="flight")

    @flight.undo
    def cancel_flight(self, booked: Booked | None) -> Unbook:
        return Unbook(trip_id=self.ask.trip_id, what="flight", price=booked and booked.price)

    @step(undo=Undo, retry=Retry(attempts=2))
    def hotel(self) -> Book:
        return Book(trip_id=self.ask.trip_id, what="hotel")

    @step(kind="read_only")
    def rating(self) -> Rate:
        return Rate(trip_id=self.ask.trip_id)

    @step(flight)
    def visa(self, flight: Booked) -> Book:
        return Book(trip_id=self.ask.trip_id, what="visa")

    @visa.undo
    def cancel_visa(self, booked: Booked | None) -> Unbook:
        return Unbook(trip_id=self.ask.trip_id, what="visa", price=booked and booked.price)

    @pivot(flight, hotel, after=(visa, rating))
    def pay(self, flight: Booked, hotel: Booked) -> Pay:
        return Pay(trip_id=self.ask.trip_id, total=flight.price + hotel.price)

    @step(flight, after=pay, kind="retriable", retry=Retry(attempts=2))
    def tell(self, flight: Booked) -> Tell:
        return Tell(trip_id=self.ask.trip_id, total=flight.price)

    @on_completed(flight, hotel)
    def booked(self, flight: Booked, hotel: Booked) -> TripBooked:
        return TripBooked(trip_id=self.ask.trip_id, total=flight.price + hotel.price)

    @on_compensated
    def dropped(self, failure: Failure) -> TripDropped:
        return TripDropped(
            trip_id=self.ask.trip_id, step=str(failure.step), reason=failure.reason, cause=failure.cause.value
        )


class Ingest(Flow, name="ingest"):
    """No saga: it halts where it fails."""

    ask = starts_on(TripAsked)

    @step(retry=Retry(attempts=2))
    def fetch(self) -> Book:
        return Book(trip_id=self.ask.trip_id, what="fetch")

    @fetch.undo
    def forget(self, fetched: Booked | None) -> Unbook:
        return Unbook(trip_id=self.ask.trip_id, what="fetch", price=fetched and fetched.price)

    @step
    def scan(self) -> Rate:
        return Rate(trip_id=self.ask.trip_id)

    @step(fetch, scan)
    def load(self, fetched: Booked, scanned: Rating) -> Tell:
        return Tell(trip_id=self.ask.trip_id, total=fetched.price * scanned.stars)

    @on_completed
    def over(self) -> list[TripBooked]:
        return [TripBooked(trip_id=self.ask.trip_id, total=total) for total in (1, 2)]


ASKED = TripAsked(trip_id="t/1 ä")
