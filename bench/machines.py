"""What does one event cost a state machine, by itself? A parcel that is scanned again and again."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic_core import from_json, to_json

from bench.bench import Bench
from bench.decisions import NOW, cost
from bench.figures import Figure
from orchestra.events.envelope import compose
from orchestra.events.message import Event, Key
from orchestra.flows.decision import Json, Occurred, instance_id
from orchestra.flows.machine.declare import StateMachine, state
from orchestra.flows.machine.state import Data
from orchestra.flows.saga import definition_of, starts_on


class Registered(Event, type="bench.parcel.registered.v1", topic="bench.parcels"):
    parcel_id: Key[str]
    address: str


class Scanned(Event, type="bench.parcel.scanned.v1", topic="bench.parcels"):
    parcel_id: Key[str]
    depot: str
    at: datetime


class ParcelData(Data):
    depot: str | None = None
    seen: datetime | None = None
    scans: int = 0


class Parcel(StateMachine[ParcelData], name="bench-parcel", version=1):
    """Scans move it within two states, each with a timer; late ones are ignored."""

    parcel = starts_on(Registered)
    under_way = state(initial=True)
    registered = state(under_way, initial=True)
    moving = state(under_way)
    lost = state(final=True)

    def is_newer(self, scan: Scanned) -> bool:
        return self.data.seen is None or scan.at > self.data.seen

    @registered.on(Scanned, to=moving)
    @moving.on(Scanned, to=moving, when=is_newer)
    def scanned(self, scan: Scanned) -> ParcelData:
        return ParcelData(depot=scan.depot, seen=scan.at, scans=self.data.scans + 1)

    registered.after("7d", to=lost)
    moving.after("7d", to=lost)


def scan(number: int, hours: int) -> Occurred:
    event = Scanned(parcel_id="p-1", depot="north", at=NOW + timedelta(hours=hours))
    return Occurred(compose(event, id=f"scan-{number}", source="/bench", time=NOW))


async def machines(bench: Bench) -> list[Figure]:
    """A scan that moves a parcel which has been scanned forty times, and one that comes too late."""
    machine = definition_of(Parcel)
    start = compose(Registered(parcel_id="p-1", address="Main Street 1"), id="start", source="/bench", time=NOW)
    decision = machine.start(start, instance_id=instance_id(machine.name, "p-1"), run=12345, now=NOW)
    for number in range(40):
        decision = machine.advance(decision.state, scan(number, number), now=NOW)
    state_: Json = from_json(to_json(decision.state))
    return [
        Figure("decide: an event that moves a machine", cost(machine, state_, scan(99, 99)), "µs", 40),
        Figure("decide: an event that a machine ignores", cost(machine, state_, scan(99, 1)), "µs", 40),
        Figure("a machine's state after forty events", len(to_json(decision.state)), "bytes", 1024),
    ]
