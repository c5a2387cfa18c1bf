"""What must type-check, without a cast, and be revealed as what it is."""

from typing import Never, assert_type

from orchestra import (
    Command,
    Done,
    Event,
    Failure,
    Flow,
    Key,
    Retry,
    Saga,
    Undo,
    on_compensated,
    on_completed,
    pivot,
    starts_on,
    step,
)
from orchestra.flows.node import StartsOn, Step


class Asked(Event, type="typing.asked.v1", topic="typing"):
    id: Key[str]


class AskedAgain(Event, type="typing.asked-again.v1", topic="typing"):
    id: Key[str]


class Held(Event, type="typing.held.v1"):
    shelf: int


class Paid(Event, type="typing.paid.v1"):
    cents: int


class PaidLater(Event, type="typing.paid-later.v1"):
    days: int


class SoldOut(Event, type="typing.sold-out.v1"):
    pass


class Hold(Command[Held, SoldOut], type="typing.hold.v1", topic="typing.commands"):
    id: Key[str]


class Free(Command[Done, Never], type="typing.free.v1", topic="typing.commands"):
    id: Key[str]
    shelf: int | None


class Pay(Command[Paid | PaidLater, SoldOut], type="typing.pay.v1", topic="typing.commands"):
    id: Key[str]


class Good(Saga, name="good"):
    asked = starts_on(Asked, AskedAgain)

    @step
    def hold(self) -> Hold:
        assert_type(self.asked, Asked | AskedAgain)
        return Hold(id=self.asked.id)

    @hold.undo
    def free(self, held: Held | None) -> Free:
        return Free(id=self.asked.id, shelf=None if held is None else held.shelf)

    @step(undo=Undo, timeout="1m", retry=Retry(attempts=2))
    def hold_more(self) -> Hold:
        return Hold(id=self.asked.id)

    @step(hold, hold_more, undo=Undo)
    def pay(self, held: Held, more: Held) -> Pay:
        return Pay(id=self.asked.id)

    @step(hold, after=pay, kind="read_only")
    def look(self, held: Event) -> Hold:
        return Hold(id=self.asked.id)

    @pivot(pay, after=look)
    def last(self, paid: Paid | PaidLater) -> Free:
        return Free(id=self.asked.id, shelf=1)

    @on_completed(last, pay)
    def over(self, done: Done, paid: Paid | PaidLater) -> Asked | None:
        return None

    @on_compensated
    def undone(self, failure: Failure) -> list[Asked]:
        return [Asked(id=failure.reason)]


assert_type(Good.hold, Step[Held])
assert_type(Good.pay, Step[Paid | PaidLater])
assert_type(Good.last, Step[Done])
assert_type(Good.asked, StartsOn[Asked | AskedAgain])


class Plain(Flow, name="plain"):
    asked = starts_on(Asked)

    @step
    def hold(self) -> Hold:
        assert_type(self.asked, Asked)
        return Hold(id=self.asked.id)

    @on_completed
    def over(self) -> Asked:
        return self.asked
