"""A parcel: scans move it, silence makes it lost, a refusal sends it back. Scans may come in any order."""

from __future__ import annotations

from datetime import datetime

from orchestra.events.message import Command, Event, Key
from orchestra.flows.failure import Failure
from orchestra.flows.machine.declare import StateMachine, state
from orchestra.flows.machine.state import Data
from orchestra.flows.saga import starts_on
from orchestra.retry import Retry


class ParcelRegistered(Event, type="parcels.parcel.registered.v1", topic="parcels"):
    parcel_id: Key[str]
    address: str


class Scanned(Event, type="parcels.parcel.scanned.v1", topic="scans"):
    parcel_id: Key[str]
    depot: str
    at: datetime


class Delivered(Event, type="parcels.parcel.delivered.v1", topic="scans"):
    parcel_id: Key[str]


class Refused(Event, type="parcels.parcel.refused.v1", topic="scans"):
    parcel_id: Key[str]
    reason: str


class ParcelLost(Event, type="parcels.parcel.lost.v1", topic="parcels"):
    parcel_id: Key[str]
    last_seen: str | None


class ParcelArrived(Event, type="parcels.parcel.arrived.v1", topic="parcels"):
    parcel_id: Key[str]
    scans: int


class ParcelReturned(Event, type="parcels.parcel.returned.v1", topic="parcels"):
    parcel_id: Key[str]
    reason: str | None


class ParcelFound(Event, type="depots.parcel.found.v1"):
    depot: str


class ParcelNowhere(Event, type="depots.parcel.nowhere.v1"):
    searched: int


class SearchParcel(Command[ParcelFound, ParcelNowhere], type="depots.parcel.search.v1", topic="depots.commands"):
    parcel_id: Key[str]
    last_seen: str | None


class SearchEnded(Event, type="depots.search.ended.v1"):
    pass


class EndSearch(Command[SearchEnded, ParcelNowhere], type="depots.search.end.v1", topic="depots.commands"):
    parcel_id: Key[str]


class ParcelData(Data):
    depot: str | None = None
    seen: datetime | None = None
    scans: int = 0
    reason: str | None = None


class Parcel(StateMachine[ParcelData], name="parcel", version=1):
    """Where a parcel is, from its registration to its end."""

    parcel = starts_on(ParcelRegistered)

    under_way = state(initial=True)
    registered = state(under_way, initial=True)
    moving = state(under_way)
    returning = state(under_way)
    lost = state()
    delivered = state(final=True)
    returned = state(final=True)

    def is_newer(self, scan: Scanned) -> bool:
        return self.data.seen is None or scan.at > self.data.seen

    @registered.on(Scanned, to=moving)
    @moving.on(Scanned, to=moving, when=is_newer)
    @returning.on(Scanned, when=is_newer)
    def scanned(self, scan: Scanned) -> ParcelData:
        return ParcelData(depot=scan.depot, seen=scan.at, scans=self.data.scans + 1, reason=self.data.reason)

    @moving.on(Refused, to=returning)
    def refused(self, refusal: Refused) -> ParcelData:
        return self.data.model_copy(update={"reason": refusal.reason})

    moving.on(Delivered, to=delivered)
    returning.on(Delivered, to=returned)
    lost.on(Delivered, to=delivered)

    registered.after("7d", to=lost)
    moving.after("7d", to=lost)
    under_way.on_cancel(to=returning)
    lost.on_cancel()

    @lost.entry
    def report(self) -> ParcelLost:
        return ParcelLost(parcel_id=self.parcel.parcel_id, last_seen=self.data.depot)

    @lost.entry(retry=Retry(attempts=2, first="1s"), timeout="2h")
    def search(self) -> SearchParcel:
        return SearchParcel(parcel_id=self.parcel.parcel_id, last_seen=self.data.depot)

    @search.done(to=moving)
    def found(self, found: ParcelFound) -> ParcelData:
        return self.data.model_copy(update={"depot": found.depot, "seen": self.now})

    search.rejected(to=returned)

    @search.failed()
    def search_failed(self, failure: Failure) -> ParcelData:
        return self.data.model_copy(update={"reason": failure.reason})

    @lost.exit(retry=Retry(attempts=2, first="1s"), timeout="1m")
    def end_search(self) -> EndSearch:
        return EndSearch(parcel_id=self.parcel.parcel_id)

    @delivered.entry
    def arrive(self) -> ParcelArrived:
        return ParcelArrived(parcel_id=self.parcel.parcel_id, scans=self.data.scans)

    @returned.entry
    def send_back(self) -> ParcelReturned:
        return ParcelReturned(parcel_id=self.parcel.parcel_id, reason=self.data.reason)
