"""Flows with every kind of node, in the smallest form in which they meet each other."""

from __future__ import annotations

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


class Began(Event, type="kinds.began.v1", topic="kinds"):
    id: Key[str]


class Ended(Event, type="kinds.ended.v1", topic="kinds"):
    id: Key[str]


class Paid(Event, type="kinds.paid.v1", topic="kinds.payments"):
    id: Key[str]
    cents: int


class No(Event, type="kinds.no.v1"):
    pass


class Do(Command[Done, No], type="kinds.do.v1", topic="kinds.commands"):
    id: Key[str]


class Undone(Command[Done, No], type="kinds.undo.v1", topic="kinds.commands"):
    id: Key[str]


class AnyOf(Saga, name="kinds-any-of"):
    """The first of two branches; one has two steps."""

    began = starts_on(Began)

    @step(undo=Undo)
    def first(self) -> Do:
        return Do(id=self.began.id)

    @step(first, undo=Undo)
    def a(self, first: Done) -> Do:
        return Do(id=self.began.id)

    @step(first, undo=Undo)
    def b(self, first: Done) -> Do:
        return Do(id=self.began.id)

    @step(b, undo=Undo)
    def b2(self, b: Done) -> Do:
        return Do(id=self.began.id)

    one = any_of(a, b2)

    @pivot(one)
    def pay(self, one: Done) -> Do:
        return Do(id=self.began.id)


class Settled(Saga, name="kinds-settled"):
    """Two branches of which one may fail, then a step that looks at both."""

    began = starts_on(Began)

    @step(undo=Undo)
    def a(self) -> Do:
        return Do(id=self.began.id)

    @step(undo=Undo)
    def b(self) -> Do:
        return Do(id=self.began.id)

    both = settled(a, b, at_least=1)

    @step(both, undo=Undo)
    def last(self, both: tuple[Done | Failure, Done | Failure]) -> Do:
        return Do(id=self.began.id)

    @on_completed(both)
    def over(self, both: tuple[Done | Failure, Done | Failure]) -> Ended:
        return Ended(id=self.began.id)

    @on_compensated
    def undone(self, failure: Failure) -> Ended:
        return Ended(id=self.began.id)


class Waits(Saga, name="kinds-waits", deadline="1d"):
    """A guard, an event, a pause and a person."""

    began = starts_on(Began)

    @step(undo=Undo)
    def reserve(self) -> Do:
        return Do(id=self.began.id)

    def is_large(self, reserved: Done) -> bool:
        return True

    @optional(reserve, when=is_large, kind="read_only")
    def look(self, reserved: Done) -> Do:
        return Do(id=self.began.id)

    def enough(self, paid: Paid) -> bool:
        return paid.cents > 0  # a refund is for the second wait

    paid = wait_for(Paid, after=reserve, where=enough, timeout="2h")
    more = wait_for(Paid, after=paid, timeout="2h", on_timeout="continue")
    pause = delay("1h", after=paid)
    agreed = approval(more, role="officer", timeout="2h", escalate=("1h", "head"), on_timeout="fail")

    @pivot(look, agreed, after=pause)
    def pay(self, look: Done | None, agreed: Approval) -> Do:
        return Do(id=self.began.id)

    @step(after=pay, kind="retriable")
    def tell(self) -> Do:
        return Do(id=self.began.id)


class Halts(Flow, name="kinds-halts", deadline="1d"):
    """No saga: it halts where nothing comes, or somebody says no."""

    began = starts_on(Began)
    paid = wait_for(Paid, timeout="2h")
    agreed = approval(role="officer", timeout="2h")

    @step(after=(paid, agreed), retry=Retry(attempts=2))
    def load(self) -> Do:
        return Do(id=self.began.id)


class Child(Saga, name="kinds-child"):
    """Two steps that can be undone."""

    began = starts_on(Began)

    @step(undo=Undo)
    def a(self) -> Do:
        return Do(id=self.began.id)

    @step(after=a, undo=Undo)
    def b(self) -> Do:
        return Do(id=self.began.id)

    @on_completed
    def over(self) -> Ended:
        return Ended(id=self.began.id)


class Parent(Saga, name="kinds-parent"):
    """Calls another flow beside a step of its own."""

    began = starts_on(Began)

    @call(Child, yields=Ended)
    def child(self) -> Began:
        return Began(id=self.began.id)

    @step(undo=Undo)
    def own(self) -> Do:
        return Do(id=self.began.id)

    @pivot(child, own)
    def pay(self, child: Ended, own: Done) -> Do:
        return Do(id=self.began.id)


class Loops(Saga, name="kinds-loops"):
    """Each of several items, undone one by one; then a question that is asked until the answer will do."""

    began = starts_on(Began)

    def items(self) -> list[int]:
        return [1, 2, 3]

    @for_each(over=items, limit=10)
    def pack(self, item: int) -> Do:
        return Do(id=self.began.id)

    @pack.undo
    def unpack(self, item: int, packed: Done | None) -> Undone:
        return Undone(id=self.began.id)

    def is_enough(self, done: Done) -> bool:
        return True

    @repeat(until=is_enough, at_most=20, every="30s", after=pack, kind="read_only")
    def poll(self, previous: Done | None) -> Do:
        return Do(id=self.began.id)

    @pivot(pack, poll)
    def pay(self, packed: list[Done], polled: Done) -> Do:
        return Do(id=self.began.id)


class HaltingLoops(Flow, name="kinds-halting-loops"):
    """The same, where an operator goes on."""

    began = starts_on(Began)

    def items(self) -> list[int]:
        return [1, 2, 3]

    @for_each(over=items, limit=1)
    def pack(self, item: int) -> Do:
        return Do(id=self.began.id)

    def is_enough(self, done: Done) -> bool:
        return True

    @repeat(pack, until=is_enough, at_most=20, every="30s")
    def poll(self, previous: Done | None, packed: list[Done]) -> Do:
        return Do(id=self.began.id)


class HaltingBranches(Flow, name="kinds-halting-branches"):
    """No saga: it halts when both branches have failed, and what was given up is not retried."""

    began = starts_on(Began)

    @step(undo=Undo)
    def a(self) -> Do:
        return Do(id=self.began.id)

    @step(undo=Undo)
    def b(self) -> Do:
        return Do(id=self.began.id)

    either = any_of(a, b)


class Six(Saga, name="kinds-six"):
    """Six steps, three of them side by side."""

    began = starts_on(Began)

    @step(undo=Undo, retry=Retry(attempts=3))
    def first(self) -> Do:
        return Do(id=self.began.id)

    @step(after=first, undo=Undo, retry=Retry(attempts=3))
    def a(self) -> Do:
        return Do(id=self.began.id)

    @step(after=first, retry=Retry(attempts=3))
    def b(self) -> Do:
        return Do(id=self.began.id)

    @b.undo
    def undo_b(self, done: Done | None) -> Undone:
        return Undone(id=self.began.id)

    @step(after=first, kind="read_only")
    def c(self) -> Do:
        return Do(id=self.began.id)

    @pivot(after=(a, b, c), retry=Retry(attempts=3))
    def pay(self) -> Do:
        return Do(id=self.began.id)

    @step(after=pay, kind="retriable")
    def tell(self) -> Do:
        return Do(id=self.began.id)


ALL: tuple[type[Flow], ...] = (AnyOf, Settled, Waits, Halts, Child, Parent, Loops, HaltingLoops, HaltingBranches, Six)
