"""The flows of docs/how-to/flows.md do what the page says."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from orchestra import Done
from orchestra.testing import run
from tests.snippets import imported

PAGE = "how-to/flows.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with imported(PAGE, tmp_path_factory.mktemp("flows")) as modules:
        yield modules


@pytest.fixture
def trip(page: dict[str, Any]) -> Any:
    return page["trip"]


def asked(trip: Any, **more: Any) -> Any:
    return trip.TripAsked(**({"trip_id": "t-1", "clerk": "mia", "cents": 100} | more))


def test_flight_and_hotel_go_side_by_side(trip: Any) -> None:
    t = run(trip.Trip, asked(trip))
    t.expect(trip.Book, step="hotel").reply(trip.Booked(what="hotel", cents=2))
    t.expect(trip.Book, step="flight").reply(trip.Booked(what="flight", cents=1))
    t.expect(trip.Charge(trip_id="t-1", cents=3)).reply(trip.Charged())

    t.completed(trip.TripBooked)


def test_one_that_fails_takes_the_other_with_it(trip: Any) -> None:
    t = run(trip.Trip, asked(trip))
    t.expect(trip.Book, step="flight").reply(trip.Booked(what="flight", cents=1))
    t.expect(trip.Book, step="hotel").reject(trip.SoldOut(what="hotel"))
    t.expect(trip.Cancel, step="flight").reply(Done())

    assert t.compensated(trip.TripOff).why == "hotel: rejected: SoldOut"


@pytest.mark.parametrize(("cents", "asks"), [(200_000, "an insurer"), (100, "the bank")])
def test_a_choice_takes_one_way(page: dict[str, Any], trip: Any, cents: int, asks: str) -> None:
    t = run(page["insured"].Insured, asked(trip, cents=cents))
    t.expect(trip.Book(trip_id="t-1", what=f"offer of {asks}")).reply(trip.Booked(what="", cents=7))
    t.expect(trip.Charge(trip_id="t-1", cents=7)).reply(trip.Charged())

    t.completed()


def test_the_first_wins_and_one_extra_is_enough(page: dict[str, Any], trip: Any) -> None:
    t = run(page["race"].Race, asked(trip))
    train = t.expect(trip.Book, step="train")
    t.expect(trip.Book, step="plane").reply(trip.Booked(what="plane", cents=1))
    t.expect(trip.Book, step="guide").reject(trip.SoldOut(what="guide"))
    t.expect(trip.Book, step="map").reply(trip.Booked(what="map", cents=1))
    train.reply(trip.Booked(what="train", cents=1))
    t.expect(trip.Cancel, step="train").reply(Done())

    t.completed(trip.TripBooked)


def test_time_money_and_a_manager(page: dict[str, Any], trip: Any) -> None:
    patient = page["patient"]
    t = run(patient.Patient, asked(trip))
    t.approve(by="ann", roles=["manager"])
    t.publish(patient.Settled(payment_id="p-1", trip_id="t-1", cents=100))
    t.advance("8h")
    t.expect(trip.Charge(trip_id="t-1", cents=100)).reply(trip.Charged())

    t.completed()


def test_a_flow_in_a_flow(page: dict[str, Any], trip: Any) -> None:
    family = page["family"]
    t = run(family.Party, family.PartyAsked(party_id="p-1"))
    t.expect(trip.Book, step="room").reply(trip.Booked(what="room", cents=1))
    t.expect_call(trip.Trip).completes(trip.TripBooked(trip_id="p-1-trip"))

    t.completed()


def test_a_seat_for_each_traveller_once_the_visas_are_there(page: dict[str, Any], trip: Any) -> None:
    group = page["group"]
    t = run(group.Group, group.GroupAsked(trip_id="g-1", travellers=["ann", "bob"]))
    t.expect(group.AskForVisa(trip_id="g-1", asked_before=False)).reply(group.Visa(is_ready=False))
    t.advance("1h")
    t.expect(group.AskForVisa(trip_id="g-1", asked_before=True)).reply(group.Visa(is_ready=True))
    ann = t.expect(trip.Book(trip_id="g-1", what="a seat for ann"))
    t.expect(trip.Book(trip_id="g-1", what="a seat for bob")).reply(trip.Booked(what="seat", cents=2))
    ann.reply(trip.Booked(what="seat", cents=1))

    assert t.completed(group.GroupBooked).cents == 3


def test_a_seat_that_is_sold_out_gives_the_others_back(page: dict[str, Any], trip: Any) -> None:
    group = page["group"]
    t = run(group.Group, group.GroupAsked(trip_id="g-1", travellers=["ann", "bob"]))
    t.expect(group.AskForVisa).reply(group.Visa(is_ready=True))
    t.expect(trip.Book(trip_id="g-1", what="a seat for ann")).reply(trip.Booked(what="seat", cents=2))
    t.expect(trip.Book(trip_id="g-1", what="a seat for bob")).reject(trip.SoldOut(what="seat"))
    t.expect(trip.Cancel(trip_id="g-1", what="a seat for ann")).reply(Done())

    t.compensated()
