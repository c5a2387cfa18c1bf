"""The flows whose decisions are measured: a saga of three steps, a flow of twenty, and one over many items."""

from __future__ import annotations

from typing import Any, Never

from orchestra import (
    App,
    Command,
    Context,
    Coordinator,
    Event,
    Key,
    Retry,
    Saga,
    Service,
    for_each,
    on_completed,
    starts_on,
    step,
)


class Asked(Event, type="bench.asked.v1", topic="bench.asked"):
    id: Key[str]


class Did(Event, type="bench.did.v1"):
    note: str = ""


class Ended(Event, type="bench.ended.v1", topic="bench.ended"):
    id: Key[str]
    count: int


class Do(Command[Did, Never], type="bench.do.v1", topic="bench.do"):
    id: Key[str]
    note: str = ""


class Undo(Command[Did, Never], type="bench.undo.v1", topic="bench.do"):
    id: Key[str]


class ThreeSteps(Saga, name="bench-three", version=1):
    asked = starts_on(Asked)

    @step(timeout="30s", retry=Retry(attempts=3))
    def one(self) -> Do:
        return Do(id=self.asked.id, note="one")

    @one.undo
    def undo_one(self, did: Did | None) -> Undo:
        return Undo(id=self.asked.id)

    @step(one, timeout="30s", retry=Retry(attempts=3))
    def two(self, did: Did) -> Do:
        return Do(id=self.asked.id, note=did.note)

    @two.undo
    def undo_two(self, did: Did | None) -> Undo:
        return Undo(id=self.asked.id)

    @step(two, kind="retriable", timeout="30s")
    def three(self, did: Did) -> Do:
        return Do(id=self.asked.id, note=did.note)

    @on_completed(three)
    def ended(self, did: Did) -> Ended:
        return Ended(id=self.asked.id, count=3)


def _twenty() -> dict[str, Any]:
    """Five blocks: one step, then three beside each other, which the next block's first step joins."""
    members: dict[str, Any] = {"asked": starts_on(Asked), "__module__": __name__}
    before: tuple[Any, ...] = ()
    for block in range(5):
        first = members[f"first_{block}"] = _step(f"first_{block}", before)
        before = tuple(_step(f"beside_{block}_{place}", (first,)) for place in range(3))
        members.update({one.label: one for one in before})
    return members


def _step(name: str, needs: tuple[Any, ...]) -> Any:
    def make(self: Any, *dids: Did) -> Do:
        return Do(id=self.asked.id, note=name)

    make.__name__ = name
    decorated: Any = step(*needs, kind="read_only", timeout="30s")
    return decorated(make)


Parallel: type[Saga] = type("Parallel", (Saga,), _twenty(), name="bench-twenty", version=1)


class Many(Event, type="bench.many.v1", topic="bench.many"):
    id: Key[str]
    count: int


class EachDone(Event, type="bench.each-done.v1"):
    number: int


class Each(Command[EachDone, Never], type="bench.each.v1", topic="bench.each"):
    id: Key[str]
    item: str


class NotEach(Command[EachDone, Never], type="bench.not-each.v1", topic="bench.each"):
    id: Key[str]
    item: str


class OverMany(Saga, name="bench-over-many", version=1):
    many = starts_on(Many)

    def items(self) -> list[str]:
        return [f"item-{number}" for number in range(self.many.count)]

    @for_each(over=items, limit=20, timeout="1m", retry=Retry(attempts=3))
    def each(self, item: str) -> Each:
        return Each(id=self.many.id, item=item)

    @each.undo
    def not_each(self, item: str, done: EachDone | None) -> NotEach:
        return NotEach(id=self.many.id, item=item)

    @on_completed(each)
    def ended(self, done: list[EachDone]) -> Ended:
        return Ended(id=self.many.id, count=len(done))


doers = Service("bench-doers")


@doers.handles(Do)
async def do(command: Do, ctx: Context) -> Did:
    return Did(note=command.note)


@doers.handles(Undo)
async def undo(command: Undo, ctx: Context) -> Did:
    return Did()


three = Coordinator("bench-three", flows=[ThreeSteps], partitions=1)

workers = Service("bench-workers")


@workers.handles(Each)
async def each(command: Each, ctx: Context) -> EachDone:
    return EachDone(number=int(command.item.removeprefix("item-")))


@workers.handles(NotEach)
async def not_each(command: NotEach, ctx: Context) -> EachDone:
    return EachDone(number=int(command.item.removeprefix("item-")))


coordinator = Coordinator("bench-many", flows=[OverMany])

everything = App(services=[workers], coordinators=[coordinator])
