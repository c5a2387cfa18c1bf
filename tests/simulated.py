"""Which apps are simulated, with which story, and what must be true at the end?

The services of ``services/``, on their own input and with their real databases; and the trip of ``bench.simulated``,
whose database is in memory, which is why most seeds are its.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from bench import simulated as trips
from orchestra import App, Event
from orchestra.testing import Simulation, World
from services.account_transfer import messages as transfers
from services.account_transfer.app import app as transfer_app
from services.food_delivery import messages as food
from services.food_delivery.app import app as food_app
from services.order_validation import messages as validation
from services.order_validation.app import app as validation_app
from services.package_tracking import messages as post
from services.package_tracking.app import app as post_app
from services.package_tracking.demo import ends_of
from services.package_tracking.make_scans import events as scans
from services.travel_booking import messages as travel
from services.travel_booking.app import app as travel_app
from tests.unit.testing import all_flows, machines

SERVICES = Path(__file__).parent.parent / "services"
_SHARED_MEMORY = Path("/dev/shm")


@contextmanager
def fresh_data() -> Generator[None]:
    """A folder of databases for one run."""
    before = os.environ.get("SERVICES_DATA")
    where = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="orchestra-simulated-", dir=where) as folder:
        os.environ["SERVICES_DATA"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["SERVICES_DATA"]
            else:
                os.environ["SERVICES_DATA"] = before


def asked(service: str, query: str) -> list[tuple[Any, ...]]:
    """What stands in a service's database."""
    with closing(sqlite3.connect(Path(os.environ["SERVICES_DATA"]) / f"{service}.db")) as database:
        return database.execute(query).fetchall()


def events(name: str, event: type[Event]) -> list[Event]:
    """The input of a scenario, without what is damaged on purpose."""
    found: list[Event] = []
    for line in (SERVICES / name).read_text().splitlines():
        with suppress(ValueError):
            raw = json.loads(line)
            found.append(event(**raw.get("data", raw)))
    return found


def each_ends_once(world: World, begun: type[Event], key: str, *ends: type[Event]) -> None:
    """Every business key that was begun has ended, in one way."""
    wanted = {getattr(event, key) for event in world.published(begun)}
    ended = [{getattr(event, key) for event in world.published(end)} for end in ends]
    assert set[str]().union(*ended) == wanted, f"no end: {wanted.symmetric_difference(set[str]().union(*ended))}"
    assert sum(map(len, ended)) == len(wanted), "two ends"


def scenario(app: App, name: str, event: type[Event], check: Callable[[World], None], most: int = 3) -> Simulation:
    """An app with some lines of its own input, now and then one twice."""
    input_ = events(name, event)

    async def story(world: World) -> None:
        chosen = world.random.sample(input_, world.random.randint(1, most))
        for line in [*chosen, *chosen[: world.random.randint(0, 1)]]:
            await world.publish(line)

    return Simulation(app, story, check=check, around=fresh_data)


def food_adds_up(world: World) -> None:
    """Money is kept for confirmed orders only, and what is reserved is theirs."""
    each_ends_once(world, food.OrderPlaced, "order_id", food.OrderConfirmed, food.OrderRejected)
    confirmed = {event.order_id: event.total_cents for event in world.published(food.OrderConfirmed)}
    kept = asked(
        "payments",
        "select order_id, sum(case kind when 'capture' then 1 else -1 end * amount_cents) from entries group by 1",
    )
    assert {order: cents for order, cents in kept if cents} == confirmed
    reserved = {order for (order,) in asked("inventory", "select distinct order_id from reservations")}
    assert reserved == set(confirmed)
    ended = asked("orders", "select order_id, count(*) from endings group by 1")
    assert all(times == 1 for _, times in ended), ended


def no_money_is_made(world: World) -> None:
    """What left one bank has come to the other, or is back."""
    each_ends_once(
        world, transfers.TransferRequested, "transfer_id", transfers.TransferCompleted, transfers.TransferFailed
    )
    moved = sum(event.amount_cents for event in world.published(transfers.TransferCompleted))
    [(gone,)] = asked("debtor-bank", "select coalesce(sum(amount_cents), 0) from postings where account like 'DE-%'")
    [(come,)] = asked("creditor-bank", "select coalesce(sum(amount_cents), 0) from postings where account like 'FR-%'")
    assert (-gone, come) == (moved, moved), f"{-gone} left, {come} came, {moved} was transferred"


def trips_end(world: World) -> None:
    each_ends_once(world, travel.TripRequested, "trip_id", travel.TripBooked, travel.TripNotBooked)


def orders_end(world: World) -> None:
    each_ends_once(world, validation.OrderSubmitted, "order_id", validation.OrderAccepted, validation.OrderTurnedDown)


def parcels_end(world: World) -> None:
    """Every parcel ends as it does in truth, and nobody looks for it any more."""
    each_ends_once(
        world, post.ParcelRegistered, "parcel_id", post.ParcelDelivered, post.ParcelReturned, post.ParcelWrittenOff
    )
    truth = ends_of([*world.published(post.ParcelRegistered), *world.published(post.ParcelHandedOver)])
    said = "select parcel_id, says from letters where says != 'we are looking for it'"
    assert sorted(asked("notices", said)) == sorted(truth.items())
    assert asked("depots", "select * from searches where open") == []


SCANS = scans()


async def some_parcels(world: World) -> None:
    """What the scanners say of some parcels, in the order in which it reached us."""
    chosen = world.random.sample(sorted({event.parcel_id for event in SCANS}), world.random.randint(1, 3))
    for event in SCANS:
        if event.parcel_id in chosen:
            await world.publish(event)


FOOD = scenario(food_app, "food_delivery/orders.jsonl", food.OrderPlaced, food_adds_up)
TRANSFERS = scenario(transfer_app, "account_transfer/transfers.jsonl", transfers.TransferRequested, no_money_is_made)
TRAVEL = scenario(travel_app, "travel_booking/trips.jsonl", travel.TripRequested, trips_end)
PARCELS = Simulation(post_app, some_parcels, check=parcels_end, around=fresh_data)
VALIDATION = scenario(validation_app, "order_validation/orders.jsonl", validation.OrderSubmitted, orders_end)

ONE_TRIP = Simulation(trips.app, trips.one_trip, check=trips.nothing_is_half_booked)
SOME_TRIPS = Simulation(trips.app, trips.some_trips, check=trips.nothing_is_half_booked)

ALL_FLOWS = Simulation(
    all_flows.app, all_flows.journeys, check=all_flows.what_is_booked_is_kept_by_whom_it_was_booked_for
)
MACHINES = Simulation(machines.app, machines.a_day_at_the_desk, check=machines.everything_has_one_end)

SIMULATIONS: dict[str, tuple[Simulation, int]] = {
    "one trip": (ONE_TRIP, 9_500),
    "some trips": (SOME_TRIPS, 5_000),
    "all flows": (ALL_FLOWS, 2_500),
    "machines": (MACHINES, 500),
    "food delivery": (FOOD, 500),
    "account transfer": (TRANSFERS, 500),
    "travel booking": (TRAVEL, 500),
    "package tracking": (PARCELS, 500),
    "order validation": (VALIDATION, 500),
}
"""Name -> the simulation, and how many of twenty thousand seeds are its."""
