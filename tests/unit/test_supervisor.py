"""Do the units of a process start, restart, drain and end as promised?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from orchestra.errors import AccessDeniedError, OrchestraError, StalledError, TopicError, UnreachableError
from orchestra.health.facts import GroupFacts, PartitionFacts, UnitFacts
from orchestra.restart import MAX_RESTARTS, RESTART_WINDOW
from orchestra.settings import Settings
from orchestra.supervisor import Supervisor, Unit
from orchestra.transport.memory import MemoryTransport
from orchestra.transport.memory_cluster import MemoryCluster
from orchestra.transport.port import Outgoing, Partition, TopicSpec

SETTINGS = Settings(env="test", drain_timeout=0.02, request_timeout=0.01)


class SetClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def elapsed(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class ScriptedRuntime:
    """A runtime whose lives end as scripted: with an error, or (None) by working until it is stopped."""

    def __init__(
        self, life: Exception | None = None, *, topics: Sequence[TopicSpec] = (), clings: bool = False
    ) -> None:
        self.life = life
        self.topics = topics
        self.clings = clings
        self.events: list[str] = []
        self.working = asyncio.Event()
        self._stopped = asyncio.Event()

    def needed_topics(self) -> Sequence[TopicSpec]:
        return self.topics

    async def start(self) -> None:
        self.events.append("started")

    async def run(self) -> None:
        self.working.set()
        if self.life is not None:
            raise self.life
        await self._stopped.wait()
        if self.clings:
            await asyncio.Event().wait()
        self.events.append("drained")

    def stop(self) -> None:
        self.events.append("asked to stop")
        self._stopped.set()

    async def drain(self) -> None:
        self.events.append("closed")

    def statistics(self) -> object:
        return {"events": len(self.events)}

    def health(self) -> UnitFacts:
        return UnitFacts("scripted")


class Lives:
    """Builds the runtimes of one unit, one after the other; the last one's life is repeated."""

    def __init__(self, *lives: Exception | None, clock: SetClock | None = None, apart: float = 0.0) -> None:
        self.lives = lives
        self.clock = clock
        self.apart = apart
        self.built: list[ScriptedRuntime] = []

    def __call__(self) -> ScriptedRuntime:
        if self.clock is not None and self.built:
            self.clock.seconds += self.apart
        self.built.append(ScriptedRuntime(self.lives[min(len(self.built), len(self.lives) - 1)]))
        return self.built[-1]


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster(partitions=8)


@pytest.fixture
async def transport(cluster: MemoryCluster) -> MemoryTransport:
    transport = MemoryTransport(cluster, SETTINGS)
    await transport.start()
    return transport


def supervisor(
    transport: MemoryTransport, *units: Unit, settings: Settings = SETTINGS, clock: SetClock | None = None
) -> Supervisor:
    return Supervisor(units, transport, settings, clock=clock or SetClock(), jitter=lambda: 0.0)


async def ended(supervisor: Supervisor) -> None:
    async with asyncio.timeout(5):
        await supervisor.run()


async def test_everything_is_started_and_drained_on_stop(transport: MemoryTransport) -> None:
    runtimes = [ScriptedRuntime(), ScriptedRuntime()]
    running = supervisor(transport, Unit("a", lambda: runtimes[0]), Unit("b", lambda: runtimes[1]))

    async with asyncio.TaskGroup() as group:
        group.create_task(ended(running))
        for runtime in runtimes:
            await runtime.working.wait()
        statistics = running.statistics()
        running.stop()

    assert [runtime.events for runtime in runtimes] == [["started", "asked to stop", "drained"]] * 2
    assert set(statistics) == {"a", "b"}


async def test_a_unit_that_ends_with_an_error_that_may_pass_is_made_anew(transport: MemoryTransport) -> None:
    lives = Lives(UnreachableError("gone"), None)
    running = supervisor(transport, Unit("a", lives))

    async with asyncio.TaskGroup() as group:
        group.create_task(ended(running))
        while len(lives.built) < 2:
            await asyncio.sleep(0)
        await lives.built[1].working.wait()
        running.stop()

    assert lives.built[1].events[-1] == "drained"


async def test_more_than_five_failures_in_ten_minutes_end_the_process(transport: MemoryTransport) -> None:
    lives = Lives(UnreachableError("gone"))

    with pytest.raises(UnreachableError, match="gone"):
        await ended(supervisor(transport, Unit("a", lives)))

    assert len(lives.built) == MAX_RESTARTS + 1


async def test_failures_that_are_far_apart_do_not_add_up(transport: MemoryTransport) -> None:
    clock = SetClock()
    lives = Lives(*[UnreachableError("gone")] * 20, None, clock=clock, apart=RESTART_WINDOW / MAX_RESTARTS)
    running = supervisor(transport, Unit("a", lives), clock=clock)

    async with asyncio.TaskGroup() as group:
        group.create_task(ended(running))
        while len(lives.built) < 21:
            await asyncio.sleep(0)
        running.stop()

    assert len(lives.built) == 21


async def test_an_error_that_will_not_pass_drains_the_others_and_is_raised(transport: MemoryTransport) -> None:
    healthy = ScriptedRuntime()
    broken = Lives(AccessDeniedError("who are you?"))

    with pytest.raises(AccessDeniedError):
        await ended(supervisor(transport, Unit("a", lambda: healthy), Unit("b", broken)))

    assert len(broken.built) == 1
    assert healthy.events[-1] == "drained"


async def test_an_error_that_nobody_expected_ends_the_process_too(transport: MemoryTransport) -> None:
    healthy = ScriptedRuntime()

    with pytest.raises(ZeroDivisionError):
        await ended(supervisor(transport, Unit("a", lambda: healthy), Unit("b", Lives(ZeroDivisionError()))))

    assert healthy.events[-1] == "drained"


async def test_a_runtime_that_ends_by_itself_is_a_failure(transport: MemoryTransport) -> None:
    runtime = ScriptedRuntime()
    runtime.stop()

    with pytest.raises(OrchestraError, match="a ended though nobody stopped it"):
        await ended(supervisor(transport, Unit("a", lambda: runtime)))


async def test_work_that_outlives_the_drain_deadline_is_abandoned_and_named(transport: MemoryTransport) -> None:
    clinging, quick = ScriptedRuntime(clings=True), ScriptedRuntime()
    running = supervisor(transport, Unit("slow", lambda: clinging), Unit("quick", lambda: quick))
    task = asyncio.create_task(ended(running))
    await clinging.working.wait()

    running.stop()

    with pytest.raises(OrchestraError, match=r"work in flight.*: slow$"):
        await task
    assert quick.events[-1] == "drained"


async def test_a_second_stop_ends_at_once(transport: MemoryTransport) -> None:
    clinging = ScriptedRuntime(clings=True)
    patient = Settings(env="test", drain_timeout=3600)
    running = supervisor(transport, Unit("slow", lambda: clinging), settings=patient)
    task = asyncio.create_task(ended(running))
    await clinging.working.wait()

    running.stop()
    running.stop()

    with pytest.raises(OrchestraError, match="slow"):
        await task


async def test_a_stop_during_the_start_is_not_forgotten(transport: MemoryTransport) -> None:
    class SlowToStart(ScriptedRuntime):
        async def start(self) -> None:
            self.working.set()
            await asyncio.sleep(0)
            self._stopped.clear()  # as if it had been made only now

    runtime = SlowToStart()
    running = supervisor(transport, Unit("a", lambda: runtime))

    async with asyncio.TaskGroup() as group:
        group.create_task(ended(running))
        await runtime.working.wait()
        running.stop()

    assert runtime.events[-1] == "drained"


async def test_what_a_failed_start_had_opened_is_closed(transport: MemoryTransport) -> None:
    class HalfOpen(ScriptedRuntime):
        async def start(self) -> None:
            raise AccessDeniedError("who are you?")

    runtime = HalfOpen()

    with pytest.raises(AccessDeniedError):
        await ended(supervisor(transport, Unit("a", lambda: runtime)))

    assert runtime.events[-1] == "closed"


async def test_missing_topics_are_created_before_anything_starts(
    transport: MemoryTransport, cluster: MemoryCluster
) -> None:
    runtime = ScriptedRuntime(topics=[TopicSpec("food.state", 4, {"cleanup.policy": "compact"}), TopicSpec("orders")])
    running = supervisor(transport, Unit("a", lambda: runtime))

    async with asyncio.TaskGroup() as group:
        group.create_task(ended(running))
        await runtime.working.wait()
        running.stop()

    states = cluster.describe(["food.state", "orders"])
    assert (states["food.state"].partitions, states["orders"].partitions) == (4, 8)
    assert states["food.state"].config["cleanup.policy"] == "compact"


async def test_in_production_missing_topics_stop_the_start_and_are_all_named(
    transport: MemoryTransport, cluster: MemoryCluster
) -> None:
    one = ScriptedRuntime(topics=[TopicSpec("food.state", 4)])
    other = ScriptedRuntime(topics=[TopicSpec("orders")])
    production = Settings(env="production")

    with pytest.raises(TopicError) as caught:
        await ended(supervisor(transport, Unit("a", lambda: one), Unit("b", lambda: other), settings=production))

    assert "missing: food.state, orders" in str(caught.value)
    assert one.events == other.events == []
    assert cluster.describe(["food.state", "orders"]) == {}


async def test_nothing_is_created_while_another_topic_is_wrong(
    transport: MemoryTransport, cluster: MemoryCluster
) -> None:
    cluster.create(TopicSpec("food.state", 4))
    runtime = ScriptedRuntime(topics=[TopicSpec("food.state", 8), TopicSpec("orders")])

    with pytest.raises(TopicError, match="has 4 partitions, must have 8"):
        await ended(supervisor(transport, Unit("a", lambda: runtime)))

    assert cluster.describe(["orders"]) == {}


# ---- stalled clients


class SilentRuntime(ScriptedRuntime):
    """A runtime whose client takes nothing in: what it reads goes further, and its position does not move."""

    def __init__(self, *, clings: bool = False) -> None:
        super().__init__()
        self.clings = clings

    def health(self) -> UnitFacts:
        now = asyncio.get_running_loop().time()
        partition = PartitionFacts(Partition("orders", 0), committed=0, position=0)
        return UnitFacts("a", (GroupFacts("a", ("orders",), True, now, 0.0, (partition,)),))


class LoopTime:
    """The loop's time as a clock, so that it goes on with what is awaited."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.elapsed(), UTC)

    def elapsed(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def unread(transport: MemoryTransport, cluster: MemoryCluster) -> None:
    cluster.create(TopicSpec("orders", 1))
    publisher = transport.publisher()
    await publisher.start()
    await publisher.publish([Outgoing("orders", None, b"x")])


@pytest.mark.virtual_time
@pytest.mark.parametrize("clings", [False, True])
async def test_a_client_that_takes_nothing_in_is_torn_down_and_made_anew(
    transport: MemoryTransport, cluster: MemoryCluster, clings: bool, caplog: pytest.LogCaptureFixture
) -> None:
    await unread(transport, cluster)
    silent, healthy = SilentRuntime(clings=clings), ScriptedRuntime()
    built: list[ScriptedRuntime] = []

    def build() -> ScriptedRuntime:
        built.append(healthy if built else silent)
        return built[-1]

    running = Supervisor([Unit("a", build)], transport, SETTINGS, clock=LoopTime(), jitter=lambda: 0.0)
    task = asyncio.create_task(running.run())
    await asyncio.wait_for(healthy.working.wait(), 120)
    running.stop()
    await task

    assert 60 < asyncio.get_running_loop().time() < 80
    assert "a is stalled, and torn down: orders[0]: nothing is fetched for" in caplog.text
    assert "asked to stop" in silent.events


@pytest.mark.virtual_time
async def test_a_client_that_stalls_again_and_again_ends_the_process(
    transport: MemoryTransport, cluster: MemoryCluster
) -> None:
    await unread(transport, cluster)
    built: list[SilentRuntime] = []

    def build() -> SilentRuntime:
        built.append(SilentRuntime())
        return built[-1]

    running = Supervisor([Unit("a", build)], transport, SETTINGS, clock=LoopTime(), jitter=lambda: 0.5)

    with pytest.raises(StalledError, match=r"orders\[0\]: nothing is fetched"):
        await running.run()

    assert len(built) == MAX_RESTARTS + 1


async def test_health_tells_what_runs_and_what_does_not_yet(transport: MemoryTransport) -> None:
    runtime = ScriptedRuntime()
    running = supervisor(transport, Unit("a", lambda: runtime))
    before = await running.health()

    async with asyncio.TaskGroup() as group:
        group.create_task(ended(running))
        await runtime.working.wait()
        after = await running.health()
        running.stop()

    assert "a is starting" in before["ready"]["problems"]
    assert "a is starting" not in after["ready"]["problems"]
    assert before["live"]["ok"]
