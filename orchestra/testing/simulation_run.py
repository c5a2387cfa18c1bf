"""How does one run go, from its first process to the moment at which nothing more can happen?

The director starts processes, breaks them as the plan says, lets time pass, and asks the checks. It belongs to no
process itself. Time passes in two ways: in the loop, where everything that runs sees each of its moments; and by
skipping, when everything rests and only a timer of an instance, or the story, waits for an hour to come.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from orchestra.app import App
from orchestra.coordinator.names import Names
from orchestra.coordinator.owner import Owner
from orchestra.coordinator.runtime import CoordinatorRuntime
from orchestra.errors import TransportError
from orchestra.health.facts import PartitionFacts
from orchestra.settings import Settings
from orchestra.testing.simulation_loop import Scope, SimulationLoop
from orchestra.testing.simulation_plan import Fault, Plan
from orchestra.testing.simulation_process import Part, Process, WorldClock
from orchestra.testing.simulation_watch import Violation, Watch, WatchedCluster
from orchestra.transport.memory import MemoryTransport
from orchestra.transport.memory_cluster import Fate, MemoryCluster, Write
from orchestra.transport.port import Outgoing, Partition, TopicSpec
from orchestra.units import topics_of

SETTINGS: Final = Settings(
    env="test",
    session_timeout=4.0,
    heartbeat_interval=1.0,
    rebalance_timeout=8.0,
    request_timeout=2.0,
    delivery_timeout=4.0,
    drain_timeout=2.0,
)
"""Short, so that a run shows what follows a timeout; each in proportion to the others, as in the defaults."""

_LOOKS: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between two looks at whether everything rests: few at first, for most runs end soon."""
_LONGEST: Final = 900.0
"""Seconds that a run may go on in the loop without coming to rest, after the last fault is over."""
_MOST_SKIPS: Final = 1000


class Deployment:
    """What is the same for all runs of an app with so many shards."""

    def __init__(self, app: App, shards: int, settings: Settings = SETTINGS) -> None:
        self.settings = settings.model_copy(update={"partitions": shards})
        self.services = app.services
        self.coordinators = [each.with_partitions(shards) for each in app.coordinators]
        self.parts: tuple[Part, ...] = (*app.services, *self.coordinators)
        self.names = {each.name: Names.of(each.name, self.settings) for each in self.coordinators}
        scaffold = MemoryTransport(MemoryCluster(), self.settings, client="scaffold")
        self.topics: list[TopicSpec] = topics_of(App.of(self.parts), scaffold, self.settings)


@dataclass(slots=True)
class _Alarm:
    """The story sleeps until then."""

    due: datetime
    rings: asyncio.Future[None]


class Director:
    """One run of one plan.

    Args:
        deployment: what runs, with as many shards as the plan says.
        plan: what goes wrong.
    """

    def __init__(self, deployment: Deployment, plan: Plan, loop: SimulationLoop) -> None:
        self.deployment = deployment
        self.plan = plan
        self.loop = loop
        self.settings = deployment.settings
        self.clock = WorldClock(loop)
        self.cluster = WatchedCluster(self.clock, plan.shards)
        self.watch = Watch(self.clock, deployment.names)
        self.cluster.on_stored = self.watch.stored
        self.cluster.rules.append(self._fate)
        self.processes: list[Process] = []
        self.broke: list[tuple[Fault, str]] = []
        """The faults that have happened, and to whom."""
        self.records = 0
        """Records that were sent, by anyone."""
        self.outside = MemoryTransport(self.cluster, self.settings, client="world")
        self._random = Random(f"run {plan.seed}")
        self._by_record = {fault.at: fault for fault in plan.faults if fault.hits_record}
        self._by_step = deque(sorted((f for f in plan.faults if not f.hits_record), key=lambda f: f.at))
        self._calm_at = 0.0
        self._longest = _LONGEST
        self._started = 0
        self._alarms: list[_Alarm] = []
        self._settling: list[asyncio.Future[None]] = []
        self._telling: asyncio.Task[Any] | None = None
        self._waits = 0
        """Awaits of the story that only the director ends."""

    # ---- the run

    async def run(self, tell: Callable[[], Awaitable[Any]]) -> None:
        """Tell the story, break what the plan says, and return when nothing more can happen.

        Raises:
            Violation: something was wrong, or never comes to an end.
            Exception: what the story raised.
        """
        for spec in self.deployment.topics:
            self.cluster.create(spec)
        for parts in self._layout():
            self._start(parts)
        self._arm()
        self._telling = asyncio.create_task(self._tell(tell))
        skips = 0
        while True:
            await self._rest()
            if self._settling:
                self._settled()
            elif (seconds := self._next_moment()) is not None:
                skips += 1
                if skips > _MOST_SKIPS:
                    raise Violation("goes on for ever", f"{_MOST_SKIPS} timers have fired, and there are more")
                self._skip(seconds)
            elif self._telling.done():
                self._telling.result()
                return

    async def _tell(self, tell: Callable[[], Awaitable[Any]]) -> None:
        await tell()

    def _layout(self) -> list[tuple[Part, ...]]:
        parts = self.deployment.parts
        return [(part,) for part in parts] if self.plan.apart else [parts]

    def _start(self, parts: Sequence[Part]) -> Process:
        self._started += 1
        name = f"{'+'.join(part.name for part in parts) if len(parts) < 3 else 'app'}#{self._started}"
        process = Process(
            name,
            parts,
            self.loop,
            self.cluster,
            self.clock,
            self.settings,
            self._random.random,
            self._on_failure,
        )
        self.processes.append(process)
        process.start()
        return process

    def _on_failure(self, process: Process, error: BaseException) -> None:
        if self.loop.is_closed():  # the run is over, and what was left of it is being put away
            return
        self.watch.broken("process ended for good", f"{process.name}: {type(error).__name__}: {error}")

    # ---- waiting

    async def publish(self, send: Callable[[], Awaitable[None]]) -> None:
        """Send until it is stored, as a good client does it."""
        while True:
            try:
                await send()
            except TransportError as error:
                if not error.retriable:
                    raise
                await asyncio.sleep(0.5)
            else:
                return

    def sleep(self, seconds: float) -> asyncio.Future[None]:
        """Done when so much time has passed in the world."""
        alarm = _Alarm(self.clock.now() + timedelta(seconds=seconds), self.loop.create_future())
        self._alarms.append(alarm)
        self.loop.call_later(seconds, self._ring, context=Context())
        return alarm.rings

    def settle(self) -> asyncio.Future[None]:
        """Done when nothing happens any more unless time passes."""
        settled: asyncio.Future[None] = self.loop.create_future()
        self._settling.append(settled)
        return settled

    def _ring(self) -> None:
        now = self.clock.now()
        for alarm in [alarm for alarm in self._alarms if alarm.due <= now]:
            self._alarms.remove(alarm)
            if not alarm.rings.done():
                alarm.rings.set_result(None)

    def _settled(self) -> None:
        settling, self._settling = self._settling, []
        for each in settling:
            if not each.done():
                each.set_result(None)

    async def _rest(self) -> None:
        """Return when everything rests, and everything that broke works again."""
        seen, look = -1, 0
        begun = self.loop.time()
        while True:
            await asyncio.sleep(_LOOKS[min(look, len(_LOOKS) - 1)])
            if self.watch.violation is not None:
                raise self.watch.violation
            look += 1
            if self.watch.changes != seen:
                seen, look = self.watch.changes, min(look, 2)
            elif self._is_at_rest():
                return
            if self.loop.time() > max(begun, self._calm_at) + self._longest:
                raise Violation("never at rest", "; ".join(self.busy()) or "the story waits for what never comes")

    def _is_at_rest(self) -> bool:
        assert self._telling is not None
        if self.loop.time() < self._calm_at:
            return False
        if not (self._telling.done() or self._alarms or self._settling):
            return False  # it waits for something else: time must not be taken from it
        return not self.busy()

    def busy(self) -> list[str]:
        """Who still has something to do, in words."""
        found: list[str] = []
        read: dict[str, set[Partition]] = {}
        topics: dict[str, tuple[str, ...]] = {}
        for process in self.processes:
            if process.is_gone:
                continue
            if not process.is_working:
                found.append(f"{process.name} is not at work")
            for runtime in process.runtimes.values():
                health = runtime.health()
                found += (f"{process.name}: {text}" for text in health.unready)
                for group in health.groups:
                    topics[group.group] = group.topics
                    read.setdefault(group.group, set()).update(facts.partition for facts in group.partitions)
                    found += (f"{process.name} {text}" for facts in group.partitions if (text := self._behind(facts)))
                if isinstance(runtime, CoordinatorRuntime):
                    found += (f"{process.name}: {text}" for text in _unsettled(runtime))
        running = {name for process in self.processes if process.is_working for name in process.runtimes}
        found += (f"{part.name} does not run" for part in self.deployment.parts if part.name not in running)
        for name, subscribed in topics.items():
            count = sum(map(self.cluster.partitions_of, subscribed))
            if len(read[name]) < count:
                found.append(f"nobody reads {count - len(read[name])} partitions of group {name}")
        return found

    def _behind(self, facts: PartitionFacts) -> str | None:
        if facts.stopped is not None:
            raise Violation("stopped for good", facts.stopped)
        end = self.cluster.log(facts.partition).end
        behind = end - (facts.position or 0) + facts.window
        return f"has {behind} records of {facts.partition.topic} to handle" if behind else None

    def _skip(self, seconds: float) -> None:
        """Set the world's clock, and have everybody look at theirs."""
        self.clock.skipped += seconds
        for _, owner in self._owners():
            owner.look()
        self._ring()

    def _owners(self) -> Iterator[tuple[Process, Owner]]:
        """Who has a shard, and in which process."""
        for process in self.processes:
            for runtime in process.runtimes.values() if not process.is_gone else ():
                if isinstance(runtime, CoordinatorRuntime):
                    yield from (
                        (process, keeper.owner)
                        for keeper in runtime.keepers.values()
                        if keeper.is_open and keeper.owner is not None
                    )

    def _next_moment(self) -> float | None:
        """Seconds until somebody wants to go on: an instance's timer, by the clock of whoever has it, or the story."""
        now = self.clock.now()
        moments = [(alarm.due - now).total_seconds() for alarm in self._alarms]
        if self._telling is not None and not self._telling.done() and not moments:
            return None
        for process, owner in self._owners():
            if (due := owner.shard.roster.next_due()) is not None:
                moments.append((due - process.clock.now()).total_seconds())
        return max(min(moments), 0.0) + 0.001 if moments else None

    # ---- what breaks

    def _arm(self) -> None:
        if self._by_step:
            self.loop.alarm = self._by_step[0].at
            self.loop.before_step = self._break
        else:
            self.loop.alarm = 1 << 62

    def _break(self, scope: Scope) -> None:
        fault = self._by_step.popleft()
        self._arm()
        process = next(each for each in self.processes if each.scope is scope)
        if process.is_working:
            self._note(fault, process.name)
            getattr(self, f"_{fault.kind}")(process, fault)

    def _note(self, fault: Fault, who: str) -> None:
        self.broke.append((fault, who))
        self._calm_at = max(self._calm_at, self.loop.time() + abs(fault.seconds) * (fault.kind != "clock"))
        self.watch.say("**", fault.says(who))

    def _later(self, seconds: float, call: Callable[..., object], *arguments: Any) -> None:
        self._calm_at = max(self._calm_at, self.loop.time() + seconds)
        self.loop.call_later(seconds, call, *arguments, context=Context())

    def _crash(self, process: Process, fault: Fault) -> None:
        process.die()
        self._later(fault.seconds, self._start, process.parts)

    def _pause(self, process: Process, fault: Fault) -> None:
        process.stand_still()
        self._later(fault.seconds, self._wake, process)
        if fault.replaced:
            self._start(process.parts)

    def _wake(self, process: Process) -> None:
        self.watch.say("**", f"{process.name} goes on")
        process.go_on()

    def _move(self, process: Process, fault: Fault) -> None:
        self._start(process.parts)
        self._later(fault.seconds, process.leave)

    def _clock(self, process: Process, fault: Fault) -> None:
        process.clock.wrong += timedelta(seconds=fault.seconds)
        self._longest += 5 * max(-fault.seconds, 0.0)  # what is due by its clock is due so much later, at each step

    def _outage(self, process: Process, fault: Fault) -> None:
        self.cluster.go_down()
        self._later(fault.seconds, self.cluster.come_back)

    def _commit(self, process: Process, fault: Fault) -> None:
        self.cluster.fail_commits += 1

    def _fate(self, write: Write) -> Fate | None:
        self.records += 1
        fault = self._by_record.get(self.records)
        if fault is None:
            return None
        who = f"{write.client} to {write.partition.topic}[{write.partition.number}]"
        if fault.kind == "repeated":
            if write.identity is not None:  # the fence is not repeated past: its records are numbered
                return None
            self._later(fault.seconds, self._repeat, write)
        self.broke.append((fault, who))
        self.watch.say("**", f"{who}: {fault.says()}")
        self._calm_at = max(self._calm_at, self.loop.time() + self.settings.delivery_timeout)
        return _FATES[fault.kind](fault.seconds)

    def _repeat(self, write: Write) -> None:
        self.cluster.append(
            Outgoing(write.partition.topic, write.key, write.value, write.headers, write.partition.number),
            write.partition,
        )


_FATES: Final[dict[str, Callable[[float], Fate]]] = {
    "lost": lambda seconds: Fate(stored=False),
    "unanswered": lambda seconds: Fate(acknowledged=False),
    "late": lambda seconds: Fate(request_delay=seconds),
    "slow": lambda seconds: Fate(reply_delay=seconds),
    "repeated": lambda seconds: Fate(),
}


def _unsettled(runtime: CoordinatorRuntime) -> list[str]:
    """Shards that have something decided that has not left."""
    return [
        f"shard {number} has decisions that have not left"
        for number, keeper in runtime.keepers.items()
        if keeper.is_open and keeper.owner is not None and not keeper.owner.is_idle
    ]
