"""Can a program run a flow and wait for its end, cancel, signal and query it? On a log in memory, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from orchestra import (
    Bus,
    Coordinator,
    DefinitionError,
    Done,
    FlowFailedError,
    FlowQueryError,
    FlowRefusedError,
    FlowTimeoutError,
    InstanceUnknownError,
    Saga,
    Settings,
    connect,
    query,
)
from orchestra.clock import LoopClock
from orchestra.coordinator import answering
from orchestra.coordinator.inbox import CALLER
from orchestra.testing.memory import MemoryTransport, published, running_in_memory
from tests.unit.bus.bus_rig import EPOCH
from tests.unit.bus.meal import Collected, Cooked, Kitchen, Meal, Placed, Served, Silent, Sorry

pytestmark = pytest.mark.virtual_time


class Place:
    """A coordinator, a kitchen, and a bus."""

    def __init__(self, log: MemoryTransport, bus: Bus, kitchen: Kitchen) -> None:
        self.log = log
        self.bus = bus
        self.kitchen = kitchen

    async def collect_later(self, key: str = "o1", seconds: float = 5.0) -> None:
        await asyncio.sleep(seconds)
        await self.bus.publish(Collected(order_id=key))


@asynccontextmanager
async def restaurant(*flows: type[Saga]) -> AsyncGenerator[Place]:
    clock, kitchen = LoopClock(EPOCH), Kitchen()
    settings = Settings(env="test")
    food = Coordinator("food", flows=flows or [Meal], partitions=2)
    async with (
        running_in_memory(food, kitchen.service, settings=settings, clock=clock) as log,
        connect(settings, transport=log, clock=clock, coordinators=[food]) as bus,
    ):
        yield Place(log, bus, kitchen)


# ---- run


async def test_a_run_gives_the_end_event() -> None:
    async with restaurant() as here, asyncio.TaskGroup() as group:
        group.create_task(here.collect_later())

        end = await here.bus.run(Meal, Placed(order_id="o1"), timeout="1m")

        assert end == Served(order_id="o1", to="guest")
        assert published(here.log, Served) == [end]
        assert published(here.log, Placed) == [Placed(order_id="o1")]  # all who care about it have seen it


async def test_a_run_that_is_undone_gives_what_the_flow_says_then() -> None:
    async with restaurant() as here:
        here.kitchen.burns = True

        end = await here.bus.run(Meal, Placed(order_id="o1"), timeout="1m")

        assert isinstance(end, Sorry)


async def test_a_run_with_a_wanted_end_raises_for_any_other() -> None:
    async with restaurant() as here:
        here.kitchen.burns = True

        with pytest.raises(
            FlowFailedError, match=r"instance meal/o1 is compensated, and ended with meal\.sorry"
        ) as caught:
            await here.bus.run(Meal, Placed(order_id="o1"), timeout="1m", yields=Served)

        assert isinstance(caught.value.event, Sorry)
        assert (caught.value.status, caught.value.instance) == ("compensated", "meal/o1")
        either = await here.bus.run(Meal, Placed(order_id="o1"), timeout="1m", yields=(Served, Sorry))
        assert isinstance(either, Sorry)


async def test_a_flow_that_says_nothing_ends_with_done_or_an_error() -> None:
    async with restaurant(Silent) as here:
        assert await here.bus.run(Silent, Placed(order_id="o1"), timeout="1m") == Done()

        here.kitchen.burns = True
        with pytest.raises(FlowFailedError, match="silent/o2 was undone: rejected: Burnt"):
            await here.bus.run(Silent, Placed(order_id="o2"), timeout="1m", yields=Done)


async def test_a_run_that_takes_too_long_says_which_instance_goes_on_and_can_be_waited_for_again() -> None:
    async with restaurant() as here, asyncio.TaskGroup() as group:
        with pytest.raises(FlowTimeoutError, match="instance meal/o1 was not over within 10 s; it goes on") as caught:
            await here.bus.run(Meal, Placed(order_id="o1"), timeout="10s")
        assert caught.value.instance == "meal/o1"
        group.create_task(here.collect_later())

        assert await here.bus.run(Meal, Placed(order_id="o1"), timeout="1m", yields=Served)


async def test_several_programs_wait_for_one_instance() -> None:
    async with restaurant() as here, asyncio.TaskGroup() as group:
        runs = [group.create_task(here.bus.run(Meal, Placed(order_id="o1"), timeout="1m")) for _ in range(3)]
        group.create_task(here.collect_later())

        ends = [await run for run in runs]

        assert ends == [Served(order_id="o1", to="guest")] * 3


async def test_a_run_of_an_instance_that_is_over_gives_its_end_at_once() -> None:
    async with restaurant() as here, asyncio.TaskGroup() as group:
        group.create_task(here.collect_later())
        await here.bus.run(Meal, Placed(order_id="o1"), timeout="1m")

        again = await here.bus.run(Meal, Placed(order_id="o1"), timeout="2s")

        assert again == Served(order_id="o1", to="guest")
        assert len(published(here.log, Served)) == 1


async def test_an_end_event_that_is_too_large_to_be_remembered_is_told_to_those_who_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answering, "MAX_END_BYTES", 10)
    async with restaurant() as here, asyncio.TaskGroup() as group:
        group.create_task(here.collect_later())
        assert await here.bus.run(Meal, Placed(order_id="o1"), timeout="1m", yields=Served)

        with pytest.raises(FlowFailedError, match="meal/o1 is completed, and what it said cannot be read"):
            await here.bus.run(Meal, Placed(order_id="o1"), timeout="5s")


async def test_a_start_with_other_content_is_refused_at_once() -> None:
    async with restaurant() as here:
        with pytest.raises(FlowTimeoutError):
            await here.bus.run(Meal, Placed(order_id="o1"), timeout="5s")

        with pytest.raises(FlowRefusedError, match="meal/o1 was started with another content"):
            await here.bus.run(Meal, Placed(order_id="o1", dishes=2), timeout="1m")


async def test_too_many_that_wait_for_one_instance_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "MAX_CALLERS", 1)
    async with restaurant() as here:
        with pytest.raises(FlowTimeoutError):
            await here.bus.run(Meal, Placed(order_id="o1"), timeout="5s")

        with pytest.raises(FlowRefusedError, match="1 wait for the end of instance meal/o1 already"):
            await here.bus.run(Meal, Placed(order_id="o1"), timeout="1m")


async def test_a_run_hears_of_its_own_flow_and_of_no_other_that_its_event_starts() -> None:
    async with restaurant(Silent, Meal) as here, asyncio.TaskGroup() as group:
        group.create_task(here.collect_later(seconds=30))

        assert isinstance(await here.bus.run(Meal, Placed(order_id="o1"), timeout="1m"), Served)


async def test_a_header_that_nobody_can_read_does_not_keep_an_event_from_starting_its_flow() -> None:
    async with restaurant(Silent) as here:
        out = here.bus._stamp.record(Placed(order_id="o1"), id="e1", time=EPOCH, extensions={})
        out.headers = [*out.headers, (CALLER, b"\xff{")]
        await here.bus._publisher.publish([out])

        assert await here.bus.run(Silent, Placed(order_id="o1"), timeout="1m") == Done()


async def test_an_answer_that_can_go_nowhere_holds_nothing_up() -> None:
    async with restaurant(Silent) as here:
        out = here.bus._stamp.record(Placed(order_id="o1"), id="e1", time=EPOCH, extensions={})
        out.headers = [*out.headers, (CALLER, b'["silent","some-id","no.such.topic",77]')]
        await here.bus._publisher.publish([out])

        for number in range(20):
            assert await here.bus.run(Silent, Placed(order_id=f"p{number}"), timeout="1m") == Done()
        await asyncio.sleep(60)

        codes = [record.value or b"" for record in here.log.cluster.records("food.alerts")]
        assert any(b"answer.undeliverable" in code for code in codes)


async def test_a_run_that_cannot_be_is_a_mistake_that_is_named() -> None:
    async with restaurant() as here:
        with pytest.raises(DefinitionError, match=r"Collected does not start it; it starts on meal\.placed\.v1"):
            await here.bus.run(Meal, Collected(order_id="o1"), timeout="1m")
        with pytest.raises(DefinitionError, match="it never ends with Cooked; at its end it says Served, Sorry"):
            await here.bus.run(Meal, Placed(order_id="o1"), timeout="1m", yields=Cooked)


# ---- cancel


async def test_a_cancelled_instance_is_undone() -> None:
    async with restaurant() as here, asyncio.TaskGroup() as group:
        run = group.create_task(here.bus.run(Meal, Placed(order_id="o1"), timeout="1m"))
        await asyncio.sleep(5)

        await here.bus.cancel(Meal, "o1", reason="the guest has left", by="ann")

        end = await run
        assert isinstance(end, Sorry)
        assert end.reason == "cancelled by ann: the guest has left"


async def test_an_instance_that_is_over_cannot_be_cancelled() -> None:
    async with restaurant(Silent) as here:
        await here.bus.run(Silent, Placed(order_id="o1"), timeout="1m")

        with pytest.raises(FlowRefusedError, match="the instance is completed"):
            await here.bus.cancel(Silent, "o1", reason="too late", by="ann")


async def test_what_never_was_cannot_be_cancelled() -> None:
    async with restaurant() as here:
        with pytest.raises(InstanceUnknownError, match="there is no instance meal/o%2F1"):
            await here.bus.cancel(Meal, "o/1", reason="x", by="ann")


async def test_a_cancel_that_nobody_takes_ends_at_its_time() -> None:
    clock, kitchen, settings = LoopClock(EPOCH), Kitchen(), Settings(env="test")
    food = Coordinator("food", flows=[Meal], partitions=2)
    async with running_in_memory(food, kitchen.service, settings=settings, clock=clock) as log:  # noqa: SIM117
        async with connect(settings, transport=log, clock=clock, coordinators=[food]) as bus:
            with pytest.raises(FlowTimeoutError):
                await bus.run(Meal, Placed(order_id="o1"), timeout="5s")
    away = MemoryTransport(log.cluster, settings)
    async with connect(settings, transport=away, clock=clock, coordinators=[food]) as bus:
        with pytest.raises(FlowTimeoutError, match="meal/o1 did not answer 'cancel' within 7 s"):
            await bus.cancel(Meal, "o1", reason="x", by="ann", timeout="7s")
    await away.aclose()


# ---- signal


async def test_a_signal_reaches_one_instance_and_no_topic() -> None:
    async with restaurant() as here, asyncio.TaskGroup() as group:
        runs = [group.create_task(here.bus.run(Meal, Placed(order_id=key), timeout="1m")) for key in ("o1", "o2")]
        await asyncio.sleep(5)

        await here.bus.signal(Meal, "o2", Collected(order_id="o2", by="ann"))

        assert await runs[1] == Served(order_id="o2", to="ann")
        assert published(here.log, Collected) == []
        await here.bus.signal(Meal, "o1", Collected(order_id="o1"))


async def test_a_signal_may_come_before_its_instance() -> None:
    async with restaurant() as here:
        await here.bus.signal(Meal, "o1", Collected(order_id="o1", by="early bird"))

        end = await here.bus.run(Meal, Placed(order_id="o1"), timeout="1m", yields=Served)

        assert end.to == "early bird"


async def test_a_signal_that_the_flow_has_no_wait_for_is_a_mistake() -> None:
    async with restaurant() as here:
        with pytest.raises(DefinitionError, match=r"does not wait for Placed; it listens to meal\.collected\.v1"):
            await here.bus.signal(Meal, "o1", Placed(order_id="o1"))


# ---- query


async def test_a_query_sees_start_event_steps_and_replies() -> None:
    async with restaurant() as here, asyncio.TaskGroup() as group:
        here.kitchen.seconds = 60
        run = group.create_task(here.bus.run(Meal, Placed(order_id="o1", dishes=3), timeout="5m"))
        await asyncio.sleep(5)
        assert await here.bus.query(Meal.progress, "o1") == "3 dishes, in work"
        assert await here.bus.query(Meal.minutes, "o1") is None
        status, waits_for = await here.bus.query(Meal.where, "o1")
        assert status == "running"
        assert waits_for

        await asyncio.sleep(60)
        assert await here.bus.query(Meal.progress, "o1") == "3 dishes, 7 minutes"

        await here.bus.signal(Meal, "o1", Collected(order_id="o1"))
        await run
        assert await here.bus.query(Meal.progress, "o1") == "over: completed"


async def test_queries_follow_the_state_topic_and_find_what_stands_further_back() -> None:
    async with restaurant() as here:
        for number in range(20):
            await here.bus.publish(Placed(order_id=f"o{number}", dishes=number))
        await asyncio.sleep(5)

        for number in (0, 19, 7, 7):
            assert await here.bus.query(Meal.progress, f"o{number}") == f"{number} dishes, 7 minutes"


async def test_a_query_sees_what_stands_beside_the_record() -> None:
    async with restaurant() as here:
        for number in range(3):
            await here.bus.publish(Placed(order_id=f"o{number}", dishes=number, wishes="x" * 200_000))
        await asyncio.sleep(5)

        for number in (2, 0, 1, 1):
            assert await here.bus.query(Meal.progress, f"o{number}") == f"{number} dishes, 7 minutes"


async def test_a_mistake_in_a_query_is_shown_as_it_is() -> None:
    async with restaurant() as here:
        await here.bus.publish(Placed(order_id="o1"))
        await asyncio.sleep(5)

        with pytest.raises(KeyError, match="no such thing"):
            await here.bus.query(Meal.mistaken, "o1")


async def test_what_is_not_kept_beyond_the_end_is_said() -> None:
    async with restaurant() as here, asyncio.TaskGroup() as group:
        group.create_task(here.collect_later())
        await here.bus.run(Meal, Placed(order_id="o1"), timeout="1m")

        with pytest.raises(
            FlowQueryError, match=r"Meal.minutes of meal/o1: the instance is over, and its replies"
        ) as e:
            await here.bus.query(Meal.minutes, "o1")
        assert e.value.instance == "meal/o1"


async def test_a_query_of_what_never_was_or_has_not_started() -> None:
    async with restaurant() as here:
        with pytest.raises(InstanceUnknownError, match="meal/o1"):
            await here.bus.query(Meal.progress, "o1")

        await here.bus.signal(Meal, "o1", Collected(order_id="o1"))
        await asyncio.sleep(5)
        with pytest.raises(InstanceUnknownError, match="has not started yet"):
            await here.bus.query(Meal.progress, "o1")


async def test_a_bus_that_knows_no_coordinator_says_how_it_gets_to_know_one() -> None:
    async with restaurant() as here, connect(Settings(env="test"), transport=here.log) as bus:
        with pytest.raises(DefinitionError, match=r"Meal: this bus knows no coordinator .* connect\(coordinators="):
            await bus.query(Meal.progress, "o1")


def test_a_query_is_declared_without_parentheses() -> None:
    with pytest.raises(DefinitionError, match="without parentheses"):
        query("progress")  # type: ignore[arg-type]
