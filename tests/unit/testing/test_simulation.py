"""Whole apps, simulated: what holds, what is found when something is broken, and how it is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from bench import simulated as trips
from orchestra import App, Context, Coordinator, DefinitionError, Done, Service, Undo
from orchestra.coordinator.outbox import Outbox
from orchestra.coordinator.shard import Shard
from orchestra.flows.decision import Decision, Definition
from orchestra.flows.saga import definition_of
from orchestra.testing import Fault, MemoryDatabase, Simulation, SimulationFailed, World
from tests.unit.testing.mutant import Mutant

CAREFUL = Simulation(trips.app, trips.one_trip, check=trips.nothing_is_half_booked)


def busy() -> Simulation:
    return Simulation(trips.app, trips.some_trips, check=trips.nothing_is_half_booked)


BUSY = busy()


@pytest.fixture(autouse=True)
def _no_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCHESTRA_SEED", raising=False)


# ---- what holds


def test_five_hundred_seeds() -> None:
    one, several = CAREFUL.explore(400), BUSY.explore(100)

    assert one.runs + several.runs == 500
    assert one.faults + several.faults > 500, "or nothing much was tried"


@pytest.mark.soak
def test_many_more_seeds() -> None:
    CAREFUL.explore(10_000, first=1000)
    BUSY.explore(10_000, first=1000)


def test_every_kind_of_fault_happens() -> None:
    broke = {fault.kind for seed in range(80) for fault, _ in CAREFUL.run(seed).broke}

    assert broke == {
        *("crash", "pause", "move", "clock", "outage", "commit"),
        *("lost", "unanswered", "late", "slow", "repeated"),
    }


def test_the_same_seed_is_the_same_run_whatever_the_hash_seed() -> None:
    program = (
        "from tests.unit.testing.test_simulation import BUSY\n"
        "print([BUSY.run(seed).digest for seed in range(12)])"
    )  # fmt: skip
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "4711")
    }

    assert len(digests) == 1
    assert digests == {f"{[BUSY.run(seed).digest for seed in range(12)]}\n"}


def test_another_seed_is_another_run() -> None:
    assert len({BUSY.run(seed).digest for seed in range(10)}) == 10


def test_a_crash_at_every_single_step() -> None:
    whole = CAREFUL.run(3, faults=[])
    for step in range(1, whole.steps + 1, 3):
        run = CAREFUL.run(3, faults=[Fault("crash", step, 0.5)])
        assert run.failure is None, run.story()


# ---- what a story can do


def test_a_month_costs_nothing() -> None:
    times = []

    async def story(world: World) -> None:
        times.append(world.now())
        await world.sleep("30d")
        times.append(world.now())

    run = Simulation(trips.app, story).run(faults=[])

    assert run.failure is None
    assert (times[1] - times[0]).days == 30
    assert run.steps < 1000


def test_a_story_sees_where_instances_stand() -> None:
    seen = []

    async def story(world: World) -> None:
        await world.publish(trips.TripAsked(trip_id="t-1"))
        await world.settle()
        instance = world.instance(trips.Trip, "t-1")
        assert instance is not None
        seen.append((instance.status, instance.is_over, [step.name for step in instance.steps]))
        world.say(f"there is {instance.id}")
        assert world.instance("trip", "t-2") is None

    run = Simulation(trips.app, story).run(faults=[])

    assert run.failure is None
    assert seen == [("completed", True, ["flight", "hotel", "car"])]
    assert "there is trip/t-1" in run.story()


def test_a_story_asks_a_service() -> None:
    answers = []

    async def story(world: World) -> None:
        answers.append(await world.ask(trips.BookCar(trip_id="t-1", people=2)))
        answers.append(await world.ask(trips.BookCar(trip_id="t-2", people=2)))

    run = Simulation(trips.travel, story).run(5, faults=[Fault("crash", 60, 0.5)])

    assert run.failure is None
    assert answers == [trips.Booked(people=2), trips.SoldOut(what="cars")]


def test_the_clock_of_a_process_is_its_own() -> None:
    run = CAREFUL.run(3, faults=[Fault("clock", 40, 3600.0)])

    assert run.failure is None
    assert [fault.kind for fault, _ in run.broke] == ["clock"]


def test_a_story_is_an_async_function() -> None:
    def story(world: World) -> None: ...

    with pytest.raises(DefinitionError, match="async function"):
        Simulation(trips.app, cast("Any", story))


def test_the_environment_names_one_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRA_SEED", "7")

    assert CAREFUL.explore(500).runs == 1


# ---- what is found, and how it is told

careless = Service("travel")
till = MemoryDatabase("till")


@careless.handles(trips.BookFlight)
async def sell_flight(command: trips.BookFlight, ctx: Context) -> trips.Booked:
    await add("seats", command.people)
    return trips.Booked(people=command.people)


@careless.handles(trips.BookHotel)
async def sell_hotel(command: trips.BookHotel, ctx: Context) -> trips.Booked:
    await add("rooms", command.people)
    return trips.Booked(people=command.people)


@careless.handles(trips.BookCar)
async def sell_car(command: trips.BookCar, ctx: Context) -> trips.Booked:
    await add("cars", command.people)
    return trips.Booked(people=command.people)


@careless.handles(Undo[trips.BookFlight])
async def give_flight_back(command: Undo[trips.BookFlight], ctx: Context) -> Done:
    await add("seats", -command.command.people)
    return Done()


@careless.handles(Undo[trips.BookHotel])
async def give_hotel_back(command: Undo[trips.BookHotel], ctx: Context) -> Done:
    await add("rooms", -command.command.people)
    return Done()


async def add(what: str, people: int) -> None:
    async with till.session() as session, session.begin():
        session[what] = session.get(what, 0) + people


def nothing_is_sold_twice(world: World) -> None:
    people = sum(event.people for event in world.published(trips.TripAsked))
    assert till.rows.get("seats", 0) <= people, f"{till.rows['seats']} seats for {people} people"


CARELESS = App(services=[careless], coordinators=[Coordinator("trips", flows=[trips.Trip])])


def test_a_handler_without_a_ledger_is_found_and_told_in_few_words() -> None:
    with pytest.raises(SimulationFailed) as failed:
        Simulation(CARELESS, trips.some_trips, check=nothing_is_sold_twice).explore(300)

    text, run = str(failed.value), failed.value.run
    assert "seats for" in text
    assert f"ORCHESTRA_SEED={failed.value.seed}" in text
    assert len(run.plan.faults) == 1, "one is enough, so one is told"
    assert run.messages - len(run.plan.without) == 1
    assert text.count("**") >= 1
    assert "flights.seat.book.v1 for trip/" in text
    again = Simulation(CARELESS, trips.some_trips, check=nothing_is_sold_twice).repeat(run.plan)
    assert again.rule == run.rule
    assert again.digest != ""


def test_an_error_of_the_story_is_a_failure_of_its_seed() -> None:
    async def story(world: World) -> None:
        await world.settle()
        raise KeyError("lost my place")

    with pytest.raises(SimulationFailed, match="lost my place"):
        Simulation(trips.app, story).explore(3)


def test_what_takes_another_course_each_time_is_said() -> None:
    async def story(world: World) -> None:
        world.say(os.urandom(8).hex())
        raise KeyError

    with pytest.raises(SimulationFailed, match="does not take the same course twice"):
        Simulation(trips.app, story).explore(3)


def test_a_flow_that_waits_for_ever_is_found() -> None:
    def forget_timers(decision: Decision) -> Decision:
        return Mutant.altered(decision, timers=(), messages=())

    assert found(forget_timers) == "waits for ever"


# ---- seeded bugs of the engine


def broken(alter: Callable[[Decision], Decision]) -> Simulation:
    flow = cast("Definition", Mutant(definition_of(trips.Trip), alter))
    app = App(services=[trips.travel], coordinators=[Coordinator("trips", flows=[flow])])
    return Simulation(app, trips.some_trips, check=trips.nothing_is_half_booked)


def found(alter: Callable[[Decision], Decision]) -> str:
    with pytest.raises(SimulationFailed) as failed:
        broken(alter).explore(200)
    return failed.value.run.rule


def test_a_compensation_that_is_never_sent_is_found() -> None:
    def forget_undo(decision: Decision) -> Decision:
        kept = [message for message in decision.messages if message.event.get("flowphase") != "undo"]
        return Mutant.altered(decision, messages=kept)

    assert found(forget_undo)


def test_a_journal_that_tells_nothing_is_found() -> None:
    assert found(lambda decision: Mutant.altered(decision, journal=())) == "command without a journal line"


@contextmanager
def replaced(owner: type, name: str, other: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, other)
    try:
        yield
    finally:
        setattr(owner, name, before)


def rule_found(simulation: Simulation, seeds: int = 300) -> str:
    with pytest.raises(SimulationFailed) as failed:
        simulation.explore(seeds)
    return failed.value.run.rule


def test_a_command_that_leaves_before_its_record_is_stored_is_found() -> None:
    commit = Shard._commit

    def hasty(shard: Shard, *arguments: Any) -> None:
        commit(shard, *arguments)
        append = shard.pending[-1]
        for message in append.introduces:
            shard._due(message, shard.last)

    with replaced(Shard, "_commit", hasty):
        assert rule_found(busy()) in ("command before its decision", "never at rest", "KeyError")


def test_an_outbox_that_is_not_sent_again_after_a_restore_is_found() -> None:
    restore = Shard._restore

    def forgetful(shard: Shard, restored: Any) -> None:
        restore(shard, restored)
        shard.outputs.clear()
        shard.outbox = Outbox()

    with replaced(Shard, "_restore", forgetful):
        assert rule_found(busy(), 2000)
