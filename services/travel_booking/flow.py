"""How is a whole trip booked, or nothing of it?"""

from orchestra import Failure, Retry, Saga, on_compensated, on_completed, pivot, starts_on, step
from services.travel_booking.messages import (
    BookCar,
    Booked,
    BookFlight,
    BookRoom,
    CancelCar,
    CancelFlight,
    CancelRoom,
    Paid,
    TakePayment,
    TripBooked,
    TripNotBooked,
    TripRequested,
)

TRIES = Retry(attempts=3)


class Trip(Saga, name="trip", version=1):
    """Flight, hotel and car at the same time; paid for once all three are booked."""

    request = starts_on(TripRequested)

    @step(timeout="20s", retry=TRIES)
    def flight(self) -> BookFlight:
        return BookFlight(
            trip_id=self.request.trip_id, origin=self.request.origin, destination=self.request.destination
        )

    @flight.undo
    def cancel_flight(self, booked: Booked | None) -> CancelFlight:
        return CancelFlight(trip_id=self.request.trip_id, reservation=booked and booked.reservation)

    @step(timeout="20s", retry=TRIES)
    def hotel(self) -> BookRoom:
        return BookRoom(trip_id=self.request.trip_id, city=self.request.destination, nights=self.request.nights)

    @hotel.undo
    def cancel_hotel(self, booked: Booked | None) -> CancelRoom:
        return CancelRoom(trip_id=self.request.trip_id, reservation=booked and booked.reservation)

    @step(timeout="20s", retry=TRIES)
    def car(self) -> BookCar:
        return BookCar(trip_id=self.request.trip_id, city=self.request.destination, days=self.request.nights)

    @car.undo
    def cancel_car(self, booked: Booked | None) -> CancelCar:
        return CancelCar(trip_id=self.request.trip_id, reservation=booked and booked.reservation)

    @pivot(flight, hotel, car, timeout="20s")
    def pay(self, flight: Booked, hotel: Booked, car: Booked) -> TakePayment:
        total = flight.price_cents + hotel.price_cents + car.price_cents
        return TakePayment(trip_id=self.request.trip_id, card=self.request.card, total_cents=total)

    @on_completed(pay)
    def tell(self, paid: Paid) -> TripBooked:
        return TripBooked(trip_id=self.request.trip_id, total_cents=paid.total_cents)

    @on_compensated
    def apologise(self, failure: Failure) -> TripNotBooked:
        return TripNotBooked(trip_id=self.request.trip_id, reason=f"{failure.step}: {failure.reason}")
