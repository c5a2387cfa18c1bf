"""Flows with every kind of node, for tests: a holiday with guards, races, waits and people."""

from __future__ import annotations

from typing import Never

from orchestra import (
    Approval,
    Command,
    Done,
    Event,
    Failure,
    Flow,
    Key,
    Saga,
    any_of,
    approval,
    call,
    delay,
    on_compensated,
    on_completed,
    optional,
    pivot,
    settled,
    starts_on,
    step,
    wait_for,
)


class Asked(Event, type="holiday.asked.v1", topic="holidays"):
    id: Key[str]
    by: str = "mia"
    days: int = 3


class Planned(Event, type="holiday.planned.v1", topic="holidays"):
    id: Key[str]
    note: str = ""


class CalledOff(Event, type="holiday.called-off.v1", topic="holidays"):
    id: Key[str]
    why: str


class Booked(Event, type="holiday.booked.v1"):
    what: str


class Full(Event, type="holiday.full.v1"):
    pass


class Book(Command[Booked, Full], type="holiday.book.v1", topic="holiday.commands"):
    id: Key[str]
    what: str


class Cancel(Command[Done, Never], type="holiday.cancel.v1", topic="holiday.commands"):
    id: Key[str]
    what: str
    known: bool


class Ask(Command[Booked, Full], type="holiday.ask.v1", topic="holiday.commands"):
    id: Key[str]


class Paid(Event, type="holiday.paid.v1", topic="money"):
    holiday: str
    cents: int = 100


class Race(Saga, name="race"):
    """By train or by plane, whichever is booked first; the train needs a seat before."""

    asked = starts_on(Asked)

    @step
    def seat(self) -> Book:
        return Book(id=self.asked.id, what="seat")

    @seat.undo
    def no_seat(self, booked: Booked | None) -> Cancel:
        return Cancel(id=self.asked.id, what="seat", known=booked is not None)

    @step(seat)
    def train(self, seat: Booked) -> Book:
        return Book(id=self.asked.id, what="train")

    @train.undo
    def no_train(self, booked: Booked | None) -> Cancel:
        return Cancel(id=self.asked.id, what="train", known=booked is not None)

    @step
    def plane(self) -> Book:
        return Book(id=self.asked.id, what="plane")

    @plane.undo
    def no_plane(self, booked: Booked | None) -> Cancel:
        return Cancel(id=self.asked.id, what="plane", known=booked is not None)

    way = any_of(train, plane)

    @pivot(way)
    def hotel(self, way: Booked) -> Ask:
        return Ask(id=self.asked.id)

    @on_completed(way)
    def planned(self, way: Booked) -> Planned:
        return Planned(id=self.asked.id, note=way.what)

    @on_compensated
    def off(self, failure: Failure) -> CalledOff:
        return CalledOff(id=self.asked.id, why=f"{failure.step}: {failure.reason}")


class Survey(Saga, name="survey"):
    """Three bookings, of which two are enough."""

    asked = starts_on(Asked)

    @step
    def one(self) -> Book:
        return Book(id=self.asked.id, what="one")

    @one.undo
    def not_one(self, booked: Booked | None) -> Cancel:
        return Cancel(id=self.asked.id, what="one", known=booked is not None)

    @step(one)
    def more(self, one: Booked) -> Book:
        return Book(id=self.asked.id, what="more")

    @more.undo
    def not_more(self, booked: Booked | None) -> Cancel:
        return Cancel(id=self.asked.id, what="more", known=booked is not None)

    @step
    def two(self) -> Book:
        return Book(id=self.asked.id, what="two")

    @two.undo
    def not_two(self, booked: Booked | None) -> Cancel:
        return Cancel(id=self.asked.id, what="two", known=booked is not None)

    @step(kind="read_only")
    def three(self) -> Ask:
        return Ask(id=self.asked.id)

    all_of = settled(more, two, three, at_least=2)

    @on_completed(all_of)
    def planned(self, found: tuple[Booked | Failure, Booked | Failure, Booked | Failure]) -> Planned:
        said = [one.cause if isinstance(one, Failure) else one.what for one in found]
        return Planned(id=self.asked.id, note=" ".join(said))

    @on_compensated
    def off(self, failure: Failure) -> CalledOff:
        return CalledOff(id=self.asked.id, why=f"{failure.step}: {failure.reason}")


class Careful(Saga, name="careful"):
    """A long one must be approved and insured; everybody sleeps over it; the money comes from elsewhere."""

    asked = starts_on(Asked)

    def is_long(self, booked: Booked) -> bool:
        return self.asked.days > 7

    def clerk(self) -> str:
        return self.asked.by

    def is_enough(self, paid: Paid) -> bool:
        return paid.cents >= 100

    @step
    def room(self) -> Book:
        return Book(id=self.asked.id, what="room")

    @room.undo
    def no_room(self, booked: Booked | None) -> Cancel:
        return Cancel(id=self.asked.id, what="room", known=booked is not None)

    @optional(room, when=is_long)
    def insurance(self, booked: Booked) -> Book:
        return Book(id=self.asked.id, what="insurance")

    @insurance.undo
    def no_insurance(self, booked: Booked | None) -> Cancel:
        return Cancel(id=self.asked.id, what="insurance", known=booked is not None)

    agreed = approval(insurance, role="boss", timeout="7d", escalate=("2d", "owner"), requester=clerk)
    night = delay("8h", after=agreed)
    paid = wait_for(Paid, after=night, by="holiday", where=is_enough, timeout="5d")

    @pivot(insurance, agreed, paid)
    def go(self, insured: Booked | None, agreed: Approval, paid: Paid) -> Ask:
        return Ask(id=self.asked.id)

    @on_completed(insurance, agreed)
    def planned(self, insured: Booked | None, agreed: Approval) -> Planned:
        return Planned(id=self.asked.id, note=f"{insured and insured.what} {agreed.by}")

    @on_compensated
    def off(self, failure: Failure) -> CalledOff:
        return CalledOff(id=self.asked.id, why=f"{failure.step}: {failure.cause}")


class Quick(Saga, name="quick", deadline="5m"):
    """Must be over in five minutes."""

    asked = starts_on(Asked)

    @step(timeout=None)
    def room(self) -> Book:
        return Book(id=self.asked.id, what="room")

    @room.undo
    def no_room(self, booked: Booked | None) -> Cancel:
        return Cancel(id=self.asked.id, what="room", known=booked is not None)

    @pivot(room, timeout="1h")
    def go(self, room: Booked) -> Ask:
        return Ask(id=self.asked.id)

    @on_completed
    def planned(self) -> Planned:
        return Planned(id=self.asked.id)

    @on_compensated
    def off(self, failure: Failure) -> CalledOff:
        return CalledOff(id=self.asked.id, why=f"{failure.step}: {failure.cause}")


class Outing(Event, type="holiday.outing.v1", topic="holidays"):
    id: Key[str]


class OutingBooked(Event, type="holiday.outing-booked.v1", topic="holidays"):
    id: Key[str]
    what: str


class BookOuting(Saga, name="outing"):
    """A flow that others call."""

    outing = starts_on(Outing)

    @step
    def boat(self) -> Book:
        return Book(id=self.outing.id, what="boat")

    @boat.undo
    def no_boat(self, booked: Booked | None) -> Cancel:
        return Cancel(id=self.outing.id, what="boat", known=booked is not None)

    @on_completed(boat)
    def booked(self, boat: Booked) -> OutingBooked:
        return OutingBooked(id=self.outing.id, what=boat.what)


class WithOuting(Saga, name="with-outing"):
    """A flow that calls another, and something beside it."""

    asked = starts_on(Asked)

    @call(BookOuting, yields=OutingBooked)
    def outing(self) -> Outing:
        return Outing(id=f"{self.asked.id}-outing")

    @step
    def room(self) -> Book:
        return Book(id=self.asked.id, what="room")

    @room.undo
    def no_room(self, booked: Booked | None) -> Cancel:
        return Cancel(id=self.asked.id, what="room", known=booked is not None)

    @step(outing, room, undo=None, kind="read_only")
    def look(self, outing: OutingBooked, room: Booked) -> Ask:
        return Ask(id=self.asked.id)

    @on_completed(outing)
    def planned(self, outing: OutingBooked) -> Planned:
        return Planned(id=self.asked.id, note=outing.what)

    @on_compensated
    def off(self, failure: Failure) -> CalledOff:
        return CalledOff(id=self.asked.id, why=f"{failure.step}: {failure.cause}")


class Patient(Flow, name="patient"):
    """No saga: it halts when nothing comes, and goes on without what it can do without."""

    asked = starts_on(Asked)
    paid = wait_for(Paid, by="holiday", timeout="1d")
    extra = wait_for(Paid, after=paid, by="holiday", timeout="1d", on_timeout="continue")
    said = approval(extra, role="boss", timeout="1d", on_timeout="continue", on_reject="continue")

    @step(said)
    def look(self, said: Approval) -> Ask:
        return Ask(id=self.asked.id)

    @on_completed(extra, said)
    def planned(self, extra: Paid | None, said: Approval) -> Planned:
        return Planned(id=self.asked.id, note=f"{extra and extra.cents} {said.approved} {said.by}")
