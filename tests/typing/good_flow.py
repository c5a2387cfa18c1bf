"""What must type-check, without a cast, and be revealed as what it is."""

from typing import Never, assert_type

from orchestra import (
    Approval,
    Command,
    Done,
    Event,
    Failure,
    Flow,
    Key,
    Retry,
    Saga,
    Undo,
    any_of,
    approval,
    call,
    delay,
    for_each,
    on_compensated,
    on_completed,
    optional,
    pivot,
    repeat,
    settled,
    starts_on,
    step,
    wait_for,
)
from orchestra.flows.loop_node import ForEach, ForEachTolerant, Repeat
from orchestra.flows.node import AnyOf, Approve, Call, OptionalStep, StartsOn, Step, WaitFor
from orchestra.flows.node import Settled as SettledNodes


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


class Settled(Event, type="typing.settled.v1", topic="typing"):
    order: str
    cents: int


class Said(Event, type="typing.said.v1", topic="typing"):
    id: Key[str]


class Child(Saga, name="child"):
    asked = starts_on(AskedAgain)

    @step(kind="read_only")
    def hold(self) -> Hold:
        return Hold(id=self.asked.id)

    @on_completed(hold)
    def said(self, held: Held) -> Said:
        return Said(id=self.asked.id)


class Everything(Saga, name="everything", deadline="1h"):
    asked = starts_on(Asked)

    def is_far(self, held: Held) -> bool:
        return held.shelf > 10

    def is_enough(self, settled: Settled) -> bool:
        return settled.cents > 100

    @step
    def hold(self) -> Hold:
        return Hold(id=self.asked.id)

    @hold.undo
    def free(self, held: Held | None) -> Free:
        return Free(id=self.asked.id, shelf=held.shelf if held else None)

    @optional(hold, when=is_far)
    def far(self, held: Held) -> Pay:
        return Pay(id=self.asked.id)

    @far.undo
    def not_far(self, paid: Paid | PaidLater | None) -> Free:
        return Free(id=self.asked.id, shelf=None)

    @step(hold, kind="read_only")
    def left(self, held: Held) -> Hold:
        return Hold(id=self.asked.id)

    @step(hold, kind="read_only")
    def right(self, held: Held) -> Pay:
        return Pay(id=self.asked.id)

    first = any_of(left, right)

    @step(hold, kind="read_only")
    def up(self, held: Held) -> Hold:
        return Hold(id=self.asked.id)

    @step(hold, kind="read_only")
    def down(self, held: Held) -> Pay:
        return Pay(id=self.asked.id)

    both = settled(up, down, at_least=1)
    night = delay("8h", after=both)
    money = wait_for(Settled, after=night, by="order", where=is_enough, timeout="2d")
    perhaps = wait_for(Settled, after=night, by="order", timeout="2d", on_timeout="continue")
    agreed = approval(both, role="boss", timeout="1d", escalate=("2h", "owner"))

    @call(Child, agreed, yields=Said)
    def child(self, agreed: Approval) -> AskedAgain:
        return AskedAgain(id=f"{self.asked.id}-{agreed.by}")

    @step(far, first, both, money, perhaps, kind="read_only")
    def last(
        self,
        far: Paid | PaidLater | None,
        first: Held | Paid | PaidLater,
        both: tuple[Held | Failure, Paid | PaidLater | Failure],
        money: Settled,
        perhaps: Settled | None,
    ) -> Hold:
        return Hold(id=self.asked.id)

    @on_completed(child, last)
    def said(self, child: Said, last: Held) -> Said:
        return child


assert_type(Everything.far, OptionalStep[Paid | PaidLater])
assert_type(Everything.first, AnyOf[Held | Paid | PaidLater])
assert_type(Everything.both, SettledNodes[tuple[Held | Failure, Paid | PaidLater | Failure]])
assert_type(Everything.money, WaitFor[Settled])
assert_type(Everything.perhaps, WaitFor[Settled | None])
assert_type(Everything.agreed, Approve[Approval])
assert_type(Everything.child, Call[Said])


class Many(Saga, name="typing-many", version=1):
    """Steps that are done many times."""

    asked = starts_on(Asked)

    @step(kind="read_only")
    def hold(self) -> Hold:
        return Hold(id=self.asked.id)

    def shelves(self, held: Held) -> list[int]:
        return list(range(held.shelf))

    @for_each(hold, over=shelves, limit=5)
    def pay(self, shelf: int, held: Held) -> Pay:
        return Pay(id=f"{self.asked.id}-{shelf}")

    @pay.undo
    def give_back(self, shelf: int, paid: Paid | PaidLater | None) -> Free:
        return Free(id=self.asked.id, shelf=shelf)

    def names(self) -> tuple[str, ...]:
        return ("a", "b")

    @for_each(over=names, call=Child, yields=Said)
    def children(self, name: str) -> AskedAgain:
        return AskedAgain(id=f"{self.asked.id}-{name}")

    def is_on_top(self, held: Held) -> bool:
        return held.shelf == 0

    @repeat(pay, until=is_on_top, at_most=5, every="1m", kind="read_only")
    def look(self, previous: Held | None, paid: list[Paid | PaidLater]) -> Hold:
        return Hold(id=self.asked.id)

    @step(pay, children, look, kind="read_only")
    def last(self, paid: list[Paid | PaidLater], children: list[Said], held: Held) -> Hold:
        return Hold(id=self.asked.id)


assert_type(Many.pay, ForEach[int, Paid | PaidLater])
assert_type(Many.children, ForEach[str, Said])
assert_type(Many.look, Repeat[Held])


class Some(Saga, name="typing-some", version=1):
    asked = starts_on(Asked)

    def names(self) -> list[str]:
        return ["a"]

    @for_each(over=names, tolerate=1)
    def hold(self, name: str) -> Hold:
        return Hold(id=name)

    @hold.undo
    def free(self, name: str, held: Held | None) -> Free:
        return Free(id=name, shelf=None)

    @step(hold, kind="read_only")
    def last(self, held: list[Held | Failure]) -> Hold:
        return Hold(id=self.asked.id)


assert_type(Some.hold, ForEachTolerant[str, Held])
