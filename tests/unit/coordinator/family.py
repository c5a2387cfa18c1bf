"""Flows that call flows, small enough for the harness: its participant answers every command."""

from __future__ import annotations

from typing import Never

from orchestra import Flow, Saga, call, on_completed, starts_on, step
from orchestra.events.message import Command, Done, Event, Key, Undo


class Paid(Event, type="family.paid.v1"):
    """The payment is booked."""


class Declined(Event, type="family.declined.v1"):
    """There is no money."""


class Pack(Command[Done, Never], type="family.pack.v1", topic="tiny.commands"):
    key: Key[str]


class Charge(Command[Paid, Declined], type="family.charge.v1", topic="tiny.commands"):
    key: Key[str]


class ParcelRequested(Event, type="family.parcel-requested.v1", topic="family.parcels"):
    key: Key[str]
    weight: int = 1


class ParcelShipped(Event, type="family.parcel-shipped.v1", topic="family.parcels"):
    key: Key[str]
    weight: int = 1


class Ordered(Event, type="family.ordered.v1", topic="family.orders"):
    key: Key[str]
    parcel: str = ""


class Parcel(Saga, name="parcel", version=1):
    """Pack it; undo: unpack it."""

    requested = starts_on(ParcelRequested)

    @step(undo=Undo)
    def pack(self) -> Pack:
        return Pack(key=self.requested.key)

    @on_completed(pack)
    def shipped(self, packed: Done) -> ParcelShipped:
        return ParcelShipped(key=self.requested.key, weight=self.requested.weight)


class Order(Saga, name="order", version=1):
    """Ship the parcel by another flow, then charge."""

    ordered = starts_on(Ordered)

    @call(Parcel, yields=ParcelShipped)
    def ship(self) -> ParcelRequested:
        return ParcelRequested(key=self.ordered.parcel or self.ordered.key)

    @step(ship, kind="retriable")
    def note(self, shipped: ParcelShipped) -> Pack:
        return Pack(key=self.ordered.key)


class Strict(Saga, name="strict", version=1):
    """As an order, and the charge may be declined."""

    ordered = starts_on(Ordered)

    @call(Parcel, yields=ParcelShipped)
    def ship(self) -> ParcelRequested:
        return ParcelRequested(key=self.ordered.parcel or self.ordered.key)

    @step(ship, undo=Undo, timeout="1h")
    def charge(self, shipped: ParcelShipped) -> Charge:
        return Charge(key=self.ordered.key)


class Steps(Flow, name="steps", version=1):
    """No saga: it halts when the charge is declined."""

    ordered = starts_on(Ordered)

    @step(timeout="1h")
    def pack(self) -> Pack:
        return Pack(key=self.ordered.key)

    @step(pack, timeout="1h")
    def charge(self, packed: Done) -> Charge:
        return Charge(key=self.ordered.key)
