"""A for_each among crashes, moves, repeats and lost answers: a seat for each traveller, or for none."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from orchestra import (
    App,
    Command,
    Context,
    Coordinator,
    Done,
    Event,
    Failure,
    Key,
    Retry,
    Saga,
    Service,
    Undo,
    for_each,
    on_compensated,
    on_completed,
    repeat,
    starts_on,
)
from orchestra.testing import MemoryDatabase, MemorySession, Simulation, World

SEATS = 6


class GroupAsked(Event, type="items.group.asked.v1", topic="items.groups"):
    group_id: Key[str]
    travellers: list[str]


class GroupBooked(Event, type="items.group.booked.v1", topic="items.groups"):
    group_id: Key[str]
    seats: list[str]


class GroupOff(Event, type="items.group.off.v1", topic="items.groups"):
    group_id: Key[str]
    why: str


class Booked(Event, type="items.booked.v1"):
    traveller: str


class SoldOut(Event, type="items.sold-out.v1"):
    pass


class Book(Command[Booked, SoldOut], type="items.book.v1", topic="items.commands"):
    group_id: Key[str]
    traveller: str


class Looked(Event, type="items.looked.v1"):
    turn: int


class Look(Command[Looked, SoldOut], type="items.look.v1", topic="items.commands"):
    group_id: Key[str]
    turn: int


class Group(Saga, name="group", version=1):
    group = starts_on(GroupAsked)

    def is_third(self, looked: Looked) -> bool:
        return looked.turn == 3

    @repeat(until=is_third, at_most=3, every="10s", kind="read_only", timeout="30s", retry=Retry(attempts=20))
    def look(self, previous: Looked | None) -> Look:
        return Look(group_id=self.group.group_id, turn=1 if previous is None else previous.turn + 1)

    def travellers(self, looked: Looked) -> list[str]:
        return self.group.travellers

    @for_each(look, over=travellers, limit=2, undo=Undo, timeout="30s", retry=Retry(attempts=2, first="1s"))
    def seats(self, traveller: str, looked: Looked) -> Book:
        return Book(group_id=self.group.group_id, traveller=traveller)

    @on_completed(seats)
    def booked(self, seats: list[Booked]) -> GroupBooked:
        return GroupBooked(group_id=self.group.group_id, seats=[seat.traveller for seat in seats])

    @on_compensated
    def off(self, failure: Failure) -> GroupOff:
        return GroupOff(group_id=self.group.group_id, why=failure.reason)


stock = MemoryDatabase("seats", {"seats": SEATS})
airline = Service("airline")


@airline.resource(scope="call")
async def session() -> AsyncIterator[MemorySession]:
    async with stock.session() as opened:
        yield opened


@airline.handles(Look)
async def look(command: Look, ctx: Context) -> Looked:
    return Looked(turn=command.turn)


@airline.handles(Book)
async def book(command: Book, ctx: Context, session: MemorySession) -> Booked | SoldOut:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if session["seats"] < 1:
            return effect.done(SoldOut())
        session["seats"] -= 1
        return effect.done(Booked(traveller=command.traveller))


@airline.handles(Undo[Book])
async def give_back(command: Undo[Book], ctx: Context, session: MemorySession) -> Done:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if isinstance(effect.action, Booked):
            session["seats"] += 1
        return effect.done(Done())


app = App(services=[airline], coordinators=[Coordinator("groups", flows=[Group])])


async def groups(world: World) -> None:
    for number in range(world.random.randint(1, 2)):
        travellers = [f"{number}-{seat}" for seat in range(world.random.randint(0, 5))]
        await world.publish(GroupAsked(group_id=f"g-{number}", travellers=travellers))


def every_group_sits_together(world: World) -> None:
    asked = {event.group_id: event.travellers for event in world.published(GroupAsked)}
    booked = {event.group_id: event.seats for event in world.published(GroupBooked)}
    off = {event.group_id for event in world.published(GroupOff)}
    assert booked.keys() | off == asked.keys(), f"no end: {asked.keys() - booked.keys() - off}"
    assert not booked.keys() & off, "two ends"
    assert all(asked[group] == seats for group, seats in booked.items()), "in order, each once"
    assert stock.rows == {"seats": SEATS - sum(map(len, booked.values()))}, stock.rows


SIMULATION = Simulation(app, groups, check=every_group_sits_together)


def test_a_seat_for_each_or_for_none() -> None:
    explored = SIMULATION.explore(40)

    assert explored.runs == 40
    assert explored.faults > 40, "or nothing much was tried"


@pytest.mark.soak
def test_a_seat_for_each_or_for_none_with_many_more_seeds() -> None:
    SIMULATION.explore(3000, first=1000)
