"""Travel booking: the saga as a story, and trips on their way through the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

import orchestra
from orchestra.testing import run
from orchestra.testing.memory import published, running_in_memory
from services.demo_kit.reconcile import Books
from services.travel_booking.app import app
from services.travel_booking.catalogue import CARS, kilometres
from services.travel_booking.demo import reconcile
from services.travel_booking.flow import Trip
from services.travel_booking.make_trips import TRIPS, lines
from services.travel_booking.messages import (
    BookCar,
    Booked,
    BookFlight,
    BookRoom,
    CancelCar,
    CancelFlight,
    Cancelled,
    CancelRoom,
    FullyBooked,
    Paid,
    PaymentDeclined,
    TakePayment,
    TripBooked,
    TripNotBooked,
    TripRequested,
)
from tests.unit.services.conftest import until

REQUEST = TripRequested(trip_id="t-1", origin="SEA", destination="JFK", nights=3, card="card-1")
FLIGHT, ROOM, CAR = (
    Booked(reservation=f"{what}-7", price_cents=cents) for what, cents in (("f", 1), ("r", 20), ("c", 300))
)


def test_the_trip_is_paid_once_all_three_are_booked() -> None:
    t = run(Trip, REQUEST)

    flight, room, car = t.expect(BookFlight), t.expect(BookRoom), t.expect(BookCar)
    car.reply(CAR)
    flight.reply(FLIGHT)
    t.nothing_sent()
    room.reply(ROOM)
    t.expect(TakePayment(trip_id="t-1", card="card-1", total_cents=321)).reply(Paid(total_cents=321))

    assert t.completed(TripBooked).total_cents == 321


def test_without_a_room_there_is_no_flight_and_no_car() -> None:
    t = run(Trip, REQUEST)
    flight, room, car = t.expect(BookFlight), t.expect(BookRoom), t.expect(BookCar)
    flight.reply(FLIGHT)

    room.reject(FullyBooked(what="rooms in JFK"))
    t.nothing_sent()  # the car is under way: whether there is one to cancel is not known yet
    car.reply(CAR)

    t.expect(CancelFlight(trip_id="t-1", reservation="f-7")).reply(Cancelled(reservation="f-7"))
    t.expect(CancelCar(trip_id="t-1", reservation="c-7")).reply(Cancelled(reservation="c-7"))
    assert t.compensated(TripNotBooked).reason == "hotel: rejected: FullyBooked"
    t.nothing_sent()


def test_a_declined_card_cancels_all_three() -> None:
    t = run(Trip, REQUEST)
    t.expect(BookFlight).reply(FLIGHT)
    t.expect(BookRoom).reply(ROOM)
    t.expect(BookCar).reply(CAR)

    t.expect(TakePayment).reject(PaymentDeclined(reason="card-1 was declined"))

    for command in (CancelFlight, CancelRoom, CancelCar):
        t.expect(command).reply(Cancelled(reservation=None))
    t.compensated(TripNotBooked)


def test_a_flight_that_may_be_booked_is_cancelled_without_its_reservation() -> None:
    t = run(Trip, REQUEST)
    t.expect(BookRoom).reply(ROOM)
    t.expect(BookCar).reply(CAR)

    for _ in range(3):
        t.expect(BookFlight).times_out()

    t.expect(CancelFlight(trip_id="t-1", reservation=None))


def test_distances_are_real() -> None:
    assert kilometres("SEA", "JFK") == pytest.approx(3890, rel=0.01)


def test_the_checked_in_trips_are_the_generated_ones() -> None:
    assert TRIPS.read_text().splitlines() == lines(260, seed=11)


async def test_a_trip_is_booked_whole_or_not_at_all(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for city in CARS:
        monkeypatch.setitem(CARS, city, 2)
    trips = [TripRequested.model_validate_json(line) for line in TRIPS.read_text().splitlines()[:40]]

    async with running_in_memory(app) as log, orchestra.connect(transport=log) as bus:
        await bus.publish(*trips)
        await until(lambda: len(published(log, TripBooked)) + len(published(log, TripNotBooked)) == len(trips))
        booked = {trip.trip_id for trip in published(log, TripBooked)}
        why = {trip.reason for trip in published(log, TripNotBooked)}

    assert [finding for finding in reconcile(Books(data), booked) if not finding.holds] == []
    assert {"pay: rejected: PaymentDeclined", "car: rejected: FullyBooked"} <= why
