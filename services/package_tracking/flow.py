"""Where can a parcel be, and what moves it from there?"""

from dataclasses import dataclass
from datetime import datetime

from orchestra import Data, FlowView, Retry, StateMachine, query, starts_on, state
from services.package_tracking.messages import (
    CallOffSearch,
    DeliveryRefused,
    ParcelDelivered,
    ParcelFound,
    ParcelHandedOver,
    ParcelMissing,
    ParcelRegistered,
    ParcelReturned,
    ParcelScanned,
    ParcelWrittenOff,
    SearchParcel,
)
from services.package_tracking.settings import LOST_AFTER, WRITTEN_OFF_AFTER


class ParcelData(Data):
    depot: str | None = None
    seen: datetime | None = None
    going_back: str | None = None
    """Why, if it is."""


@dataclass
class Whereabouts:
    states: list[str]
    depot: str | None


class Parcel(StateMachine[ParcelData], name="parcel", version=1):
    """Scans move it, silence makes it lost, a refusal sends it back."""

    parcel = starts_on(ParcelRegistered)

    tracked = state(initial=True)
    registered = state(tracked, initial=True)
    moving = state(tracked)
    returning = state(tracked)
    lost = state(tracked)
    delivered = state(final=True)
    returned = state(final=True)
    written_off = state(final=True, failed=True)

    # scans come in any order: one that is older than what we know moves nothing

    def is_newer(self, scan: ParcelScanned) -> bool:
        return self.data.seen is None or scan.at > self.data.seen

    @registered.on(ParcelScanned, to=moving)
    @moving.on(ParcelScanned, to=moving, when=is_newer)  # entered anew, so the days of silence begin anew
    @returning.on(ParcelScanned, to=returning, when=is_newer)
    @lost.on(ParcelScanned, to=moving, when=is_newer)
    def see(self, scan: ParcelScanned) -> ParcelData:
        return self.data.model_copy(update={"depot": scan.depot, "seen": scan.at})

    # somebody has it, wherever we thought that it was

    def is_for_sender(self, handed: ParcelHandedOver) -> bool:
        return handed.to == "sender"

    tracked.on(ParcelHandedOver, to=returned, when=is_for_sender)
    tracked.on(ParcelHandedOver, to=delivered)

    @delivered.entry
    def tell_delivered(self) -> ParcelDelivered:
        return ParcelDelivered(parcel_id=self.parcel.parcel_id)

    @returned.entry
    def tell_returned(self) -> ParcelReturned:
        return ParcelReturned(parcel_id=self.parcel.parcel_id, reason=self.data.going_back)

    # the way back

    @tracked.on(DeliveryRefused, to=returning)
    def refuse(self, refused: DeliveryRefused) -> ParcelData:
        return self.data.model_copy(update={"going_back": refused.reason})

    @tracked.on_cancel(to=returning)
    def recall(self) -> ParcelData:
        return self.data.model_copy(update={"going_back": "recalled by the sender"})

    def is_going_back(self) -> bool:
        return self.data.going_back is not None

    moving.always(to=returning, when=is_going_back)  # it was lost on its way back, and has turned up

    # silence

    registered.after(LOST_AFTER, to=lost)
    moving.after(LOST_AFTER, to=lost)
    returning.after(LOST_AFTER, to=lost)

    @lost.entry
    def warn(self) -> ParcelMissing:
        return ParcelMissing(parcel_id=self.parcel.parcel_id, last_seen=self.data.depot)

    @lost.entry(timeout="2h", retry=Retry(attempts=3))
    def search(self) -> SearchParcel:
        return SearchParcel(parcel_id=self.parcel.parcel_id, last_seen=self.data.depot)

    @search.done(to=moving)
    def find(self, found: ParcelFound) -> ParcelData:
        return self.data.model_copy(update={"depot": found.depot})

    search.rejected(to=written_off)
    lost.after(WRITTEN_OFF_AFTER, to=written_off)

    @lost.exit
    def call_off(self) -> CallOffSearch:
        return CallOffSearch(parcel_id=self.parcel.parcel_id)

    @written_off.entry
    def write_off(self) -> ParcelWrittenOff:
        return ParcelWrittenOff(parcel_id=self.parcel.parcel_id, last_seen=self.data.depot)

    @query
    def whereabouts(self, view: FlowView) -> Whereabouts:
        active = [one.name for one in view.steps if (one.kind, one.status) == ("state", "running")]
        return Whereabouts(states=active, depot=self.data.depot)
