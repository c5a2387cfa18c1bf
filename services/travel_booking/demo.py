"""``make demo-travel-booking``: more trips than there are seats, rooms and cars for. Each is booked whole, or not.

Environment: see ``services/demo_kit/play.py``.
"""

from __future__ import annotations

import sys

from services.demo_kit.play import play
from services.demo_kit.reconcile import Books, Finding, settle
from services.demo_kit.stage import Stage
from services.travel_booking.catalogue import CARS, ROOMS, SEATS
from services.travel_booking.make_trips import TRIPS
from services.travel_booking.messages import TripRequested

APP = "services.travel_booking.app"
ALLOTMENTS = {"airline": SEATS, "hotels": ROOMS, "car-rental": CARS}


async def demo(stage: Stage) -> list[Finding]:
    trips = [TripRequested.model_validate_json(line) for line in TRIPS.read_text().splitlines()]
    async with stage.crew(APP, ["airline", "hotels", "car_rental", "till"], coordinator="travel") as crew:
        stage.say(f"requesting {len(trips)} trips\n")
        await stage.submit(crew, trips, lambda trip: trip.trip_id, per_second=12)
        booked, failed = stage.progress.those("completed"), stage.progress.those("compensated")
        findings = await settle(lambda: reconcile(Books(stage.data), booked))
        waiting = await stage.instances_waiting(f"{APP}:travel")
    return [
        Finding("trips that have ended", len(trips), len(booked | failed)),
        *findings,
        Finding("instances left waiting", 0, waiting),
    ]


def reconcile(books: Books, booked: set[str]) -> list[Finding]:
    """A booked trip has a seat, a room, a car and a payment; any other has nothing."""
    findings: list[Finding] = []
    for service, allotment in ALLOTMENTS.items():
        holders = books.names(service, "select trip_id from bookings")
        taken = sum(allotment.values()) - books.number(service, "select sum(free) from allotments")
        findings += [
            Finding(f"{service}: bookings of trips that were booked", len(booked), len(holders & booked)),
            Finding(f"{service}: bookings of trips that were not", 0, len(holders - booked)),
            Finding(f"{service}: places taken = bookings", len(holders), taken),
        ]
    prices = sum(books.number(service, "select sum(price_cents) from bookings") for service in ALLOTMENTS)
    return [
        *findings,
        Finding("trips paid", len(booked), books.number("till", "select count(*) from payments")),
        Finding("cents: prices = payments", prices, books.number("till", "select sum(total_cents) from payments")),
    ]


if __name__ == "__main__":
    sys.exit(play("travel booking", demo))
