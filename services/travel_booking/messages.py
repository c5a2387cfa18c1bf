"""What do the flow and its four services say to each other?"""

from typing import Never

from pydantic import Field

from orchestra import Command, Event, Key


class TripRequested(Event, type="travel.trip.requested.v1", topic="travel.trips"):
    trip_id: Key[str]
    origin: str
    destination: str
    nights: int = Field(ge=1)
    card: str


class TripBooked(Event, type="travel.trip.booked.v1", topic="travel.trips"):
    trip_id: Key[str]
    total_cents: int


class TripNotBooked(Event, type="travel.trip.not-booked.v1", topic="travel.trips"):
    trip_id: Key[str]
    reason: str


class Booked(Event, type="travel.reservation.booked.v1"):
    """The airline, the hotels and the car rental answer alike."""

    reservation: str
    price_cents: int


class FullyBooked(Event, type="travel.reservation.fully-booked.v1"):
    what: str


class Cancelled(Event, type="travel.reservation.cancelled.v1"):
    reservation: str | None


# airline


class BookFlight(Command[Booked, FullyBooked], type="airline.flight.book.v1", topic="airline.commands"):
    trip_id: Key[str]
    origin: str
    destination: str


class CancelFlight(Command[Cancelled, Never], type="airline.flight.cancel.v1", topic="airline.commands"):
    trip_id: Key[str]
    reservation: str | None


# hotels


class BookRoom(Command[Booked, FullyBooked], type="hotels.room.book.v1", topic="hotels.commands"):
    trip_id: Key[str]
    city: str
    nights: int


class CancelRoom(Command[Cancelled, Never], type="hotels.room.cancel.v1", topic="hotels.commands"):
    trip_id: Key[str]
    reservation: str | None


# car rental


class BookCar(Command[Booked, FullyBooked], type="car-rental.car.book.v1", topic="car-rental.commands"):
    trip_id: Key[str]
    city: str
    days: int


class CancelCar(Command[Cancelled, Never], type="car-rental.car.cancel.v1", topic="car-rental.commands"):
    trip_id: Key[str]
    reservation: str | None


# till


class Paid(Event, type="till.payment.paid.v1"):
    total_cents: int


class PaymentDeclined(Event, type="till.payment.declined.v1"):
    reason: str


class TakePayment(Command[Paid, PaymentDeclined], type="till.payment.take.v1", topic="till.commands"):
    trip_id: Key[str]
    card: str
    total_cents: int
