"""What do the machine, the depots and those who tell the customers say to each other?"""

from datetime import datetime
from typing import Literal, Never

from orchestra import Command, Done, Event, Key


class ParcelRegistered(Event, type="post.parcel.registered.v1", topic="post.parcels"):
    parcel_id: Key[str]
    sender: str
    recipient: str


# what scanners say; the events come as the scanners find a network, in any order


class ParcelScanned(Event, type="post.parcel.scanned.v1", topic="post.scans"):
    parcel_id: Key[str]
    depot: str
    at: datetime


class DeliveryRefused(Event, type="post.delivery.refused.v1", topic="post.scans"):
    parcel_id: Key[str]
    reason: str


class ParcelHandedOver(Event, type="post.parcel.handed-over.v1", topic="post.scans"):
    parcel_id: Key[str]
    to: Literal["recipient", "sender"]


# what the machine tells


class ParcelMissing(Event, type="post.parcel.missing.v1", topic="post.parcels"):
    parcel_id: Key[str]
    last_seen: str | None


class ParcelDelivered(Event, type="post.parcel.delivered.v1", topic="post.parcels"):
    parcel_id: Key[str]


class ParcelReturned(Event, type="post.parcel.returned.v1", topic="post.parcels"):
    parcel_id: Key[str]
    reason: str | None


class ParcelWrittenOff(Event, type="post.parcel.written-off.v1", topic="post.parcels"):
    parcel_id: Key[str]
    last_seen: str | None


# depots


class ParcelFound(Event, type="depots.parcel.found.v1"):
    depot: str


class ParcelNowhere(Event, type="depots.parcel.nowhere.v1"):
    pass


class SearchParcel(Command[ParcelFound, ParcelNowhere], type="depots.parcel.search.v1", topic="depots.commands"):
    parcel_id: Key[str]
    last_seen: str | None


class CallOffSearch(Command[Done, Never], type="depots.search.call-off.v1", topic="depots.commands"):
    parcel_id: Key[str]
