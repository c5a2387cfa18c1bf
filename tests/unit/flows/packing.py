"""A shipment of many parcels: what the tests of ``for_each`` and ``repeat`` share."""

from __future__ import annotations

from typing import Never

from pydantic import BaseModel

from orchestra.events.message import Command, Event, Key
from orchestra.flows.declare_loop import for_each, repeat
from orchestra.flows.failure import Failure
from orchestra.flows.saga import Flow, Saga, on_compensated, on_completed, starts_on, step
from orchestra.retry import Retry


class Line(BaseModel):
    sku: str


class Ordered(Event, type="packing.ordered.v1", topic="packing.orders"):
    id: Key[str]
    skus: list[str]


class Reserved(Event, type="packing.reserved.v1"):
    id: Key[str]
    shelf: int


class Reserve(Command[Reserved, Never], type="packing.reserve.v1", topic="packing.commands"):
    id: Key[str]


class Unreserve(Command[Reserved, Never], type="packing.unreserve.v1", topic="packing.commands"):
    id: Key[str]


class Packed(Event, type="packing.packed.v1"):
    sku: str
    box: int = 0


class Broken(Event, type="packing.broken.v1"):
    sku: str


class PackLine(Command[Packed, Broken], type="packing.pack.v1", topic="packing.commands"):
    id: Key[str]
    sku: str
    shelf: int


class Unpacked(Event, type="packing.unpacked.v1"):
    sku: str


class UnpackLine(Command[Unpacked, Never], type="packing.unpack.v1", topic="packing.commands"):
    id: Key[str]
    sku: str
    box: int | None


class Shipped(Event, type="packing.shipped.v1", topic="packing.orders"):
    id: Key[str]
    boxes: list[int]


class NotShipped(Event, type="packing.not-shipped.v1", topic="packing.orders"):
    id: Key[str]
    reason: str


class Shipment(Saga, name="shipment", version=1):
    order = starts_on(Ordered)

    @step(timeout="30s")
    def reserve(self) -> Reserve:
        return Reserve(id=self.order.id)

    @reserve.undo
    def unreserve(self, reserved: Reserved | None) -> Unreserve:
        return Unreserve(id=self.order.id)

    def lines(self, reserved: Reserved) -> list[Line]:
        return [Line(sku=sku) for sku in self.order.skus]

    @for_each(reserve, over=lines, limit=2, timeout="10s", retry=Retry(attempts=2, first="1s"))
    def pack(self, line: Line, reserved: Reserved) -> PackLine:
        return PackLine(id=self.order.id, sku=line.sku, shelf=reserved.shelf)

    @pack.undo
    def unpack(self, line: Line, packed: Packed | None) -> UnpackLine:
        return UnpackLine(id=self.order.id, sku=line.sku, box=packed and packed.box)

    @on_completed(pack)
    def shipped(self, packed: list[Packed]) -> Shipped:
        return Shipped(id=self.order.id, boxes=[one.box for one in packed])

    @on_compensated
    def not_shipped(self, failure: Failure) -> NotShipped:
        return NotShipped(id=self.order.id, reason=failure.reason)


class Tolerant(Saga, name="tolerant", version=1):
    """One parcel may be missing."""

    order = starts_on(Ordered)

    def skus(self) -> list[str]:
        return self.order.skus

    @for_each(over=skus, limit=2, tolerate=1, timeout="10s")
    def pack(self, sku: str) -> PackLine:
        return PackLine(id=self.order.id, sku=sku, shelf=0)

    @pack.undo
    def unpack(self, sku: str, packed: Packed | None) -> UnpackLine:
        return UnpackLine(id=self.order.id, sku=sku, box=packed and packed.box)

    @on_completed(pack)
    def shipped(self, packed: list[Packed | Failure]) -> Shipped:
        return Shipped(id=self.order.id, boxes=[-1 if isinstance(one, Failure) else one.box for one in packed])


class Inventory(Flow, name="inventory", version=1):
    """No saga: it halts."""

    order = starts_on(Ordered)

    def skus(self) -> list[str]:
        return self.order.skus

    @for_each(over=skus, limit=2)
    def count(self, sku: str) -> PackLine:
        return PackLine(id=self.order.id, sku=sku, shelf=0)

    @on_completed(count)
    def counted(self, packed: list[Packed]) -> Shipped:
        return Shipped(id=self.order.id, boxes=[one.box for one in packed])


class Status(Event, type="packing.status.v1"):
    ready: bool


class GetStatus(Command[Status, Broken], type="packing.get-status.v1", topic="packing.commands"):
    id: Key[str]
    asked_before: bool


class Polling(Flow, name="polling", version=1):
    order = starts_on(Ordered)

    def is_ready(self, status: Status) -> bool:
        return status.ready

    @repeat(until=is_ready, at_most=3, every="30s", kind="read_only", timeout="10s")
    def poll(self, previous: Status | None) -> GetStatus:
        return GetStatus(id=self.order.id, asked_before=previous is not None)

    @on_completed(poll)
    def done(self, status: Status) -> Shipped:
        return Shipped(id=self.order.id, boxes=[int(status.ready)])
