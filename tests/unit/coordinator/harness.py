"""A coordinator with its world: a log in memory, processes that can be killed, a participant that answers commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestra.clock import LoopClock
from orchestra.coordinator.coordinator import Coordinator
from orchestra.coordinator.names import Names
from orchestra.coordinator.record import Instance, decode_instance
from orchestra.coordinator.runtime import CoordinatorRuntime
from orchestra.events.cloudevents import decode, encode
from orchestra.events.envelope import Envelope
from orchestra.flows.decision import Definition
from orchestra.settings import Settings
from orchestra.transport.memory import MemoryCluster, MemoryTransport
from orchestra.transport.port import Outgoing, Partition, Record, Subscription
from tests.unit.coordinator.tiny_flow import COMMANDS, DONE, PAYMENTS, TOPIC, TinyFlow, paid_event, start_event

SETTINGS = Settings(session_timeout=6.0, heartbeat_interval=1.0, rebalance_timeout=20.0, drain_timeout=5.0, env="test")
NAMES = Names.of("t", SETTINGS)

Answer = Callable[[Envelope], str | None]
"""The type of the outcome for a command, or None: no answer."""


def always(_: Envelope) -> str:
    return DONE


class Process:
    """One process of the coordinator."""

    def __init__(self, world: World, name: str, flows: Sequence[Definition], **options: Any) -> None:
        self.transport = MemoryTransport(world.cluster, SETTINGS, client=name)
        self.coordinator = Coordinator("t", flows=flows, partitions=world.partitions, **options)
        self.runtime = CoordinatorRuntime(
            self.coordinator, self.transport, SETTINGS, clock=world.clock, jitter=lambda: 0.5
        )
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.transport.start()
        await self.runtime.start()
        self.task = asyncio.create_task(self.runtime.run())

    async def crash(self) -> None:
        """The process is killed."""
        assert self.task is not None
        self.transport.crash()
        self.task.cancel()
        for task in self.runtime._tasks.values():
            task.cancel()
        with contextlib.suppress(BaseException):
            await self.task

    async def stop(self) -> None:
        self.runtime.stop()
        assert self.task is not None
        await self.task
        await self.transport.aclose()

    def shard(self, number: int = 0) -> Any:
        owner = self.runtime.keepers[number].owner
        assert owner is not None
        return owner.shard


class ShiftedClock(LoopClock):
    """The loop's time, and so many days later: a month passes without a month of ticks."""

    __slots__ = ("days",)

    def __init__(self, epoch: datetime) -> None:
        super().__init__(epoch)
        self.days = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(days=self.days)


class World:
    """``partitions``: shards. ``answer``: what the participant says."""

    def __init__(self, partitions: int = 1) -> None:
        self.clock = ShiftedClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.cluster = MemoryCluster(clock=self.clock)
        self.partitions = partitions
        self.answer: Answer = always
        self.processes: list[Process] = []
        self.commands: list[Envelope] = []
        self.transport = MemoryTransport(self.cluster, SETTINGS, client="participant")
        self._tasks: list[asyncio.Task[None]] = []
        for spec in Coordinator("t", flows=[TinyFlow()], partitions=partitions).needed_topics(SETTINGS):
            self.cluster.create(spec)

    async def start(self) -> None:
        await self.transport.start()
        self.publisher = self.transport.publisher()
        await self.publisher.start()
        self._tasks.append(asyncio.create_task(self._participate()))

    async def aclose(self) -> None:
        for process in self.processes:
            if process.task is not None and not process.task.done():
                await process.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.transport.aclose()

    async def process(self, *flows: Definition, name: str = "", **options: Any) -> Process:
        process = Process(self, name or f"p{len(self.processes)}", flows or [TinyFlow()], **options)
        for spec in process.coordinator.needed_topics(SETTINGS):
            self.cluster.create(spec)
        self.processes.append(process)
        await process.start()
        return process

    # ---- the participant

    async def on_assigned(self, partitions: Collection[Partition]) -> None: ...

    async def on_revoked(self, partitions: Collection[Partition]) -> None: ...

    async def _participate(self) -> None:
        consumer = self.transport.consumer(Subscription("participant", [COMMANDS]), self)
        await consumer.start()
        while True:
            for record in await consumer.fetch(max_records=100, timeout=5.0):
                command = decode(record.headers, record.value)
                self.commands.append(command)
                if (kind := self.answer(command)) is not None:
                    await self.send(reply_to(command, kind))

    async def send(self, *records: Outgoing) -> None:
        await self.publisher.publish(records)

    # ---- inputs

    async def place(self, key: str, **data: object) -> None:
        """An order: a start event on the team's topic."""
        headers, value = encode(start_event(key, **data))
        await self.send(Outgoing(TOPIC, key.encode(), value, headers))

    async def pay(self, key: str, number: int = 0, **data: object) -> None:
        """An event that tiny flows may listen to, on a topic of its own."""
        headers, value = encode(paid_event(key, number, **data))
        await self.send(Outgoing(PAYMENTS, key.encode(), value, headers))

    async def put(self, record: Record) -> None:
        """A record straight into the inbox."""
        await self.send(Outgoing(NAMES.inbox, record.key, record.value, record.headers, record.partition))

    # ---- looking

    async def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait, in the world's time."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)

    def instance(self, instance: str) -> Instance | None:
        """As the state topic has it now."""
        found: Instance | None = None
        for record in self.cluster.records(NAMES.state):
            if record.key == instance.encode():
                found = decode_instance(instance, record.value) if record.value is not None else None
        return found

    def statuses(self) -> Counter[str]:
        """Of all instances, by their newest record."""
        newest: dict[bytes, str | None] = {}
        for record in self.cluster.records(NAMES.state):
            if record.key is not None and not record.key.startswith(b"!"):
                status = record.header("orchestra-status")
                newest[record.key] = status.decode() if status and record.value is not None else None
        return Counter(status for status in newest.values() if status is not None)

    def completed(self) -> set[str]:
        """The ids of instances that have completed."""
        newest = {record.key: record for record in self.cluster.records(NAMES.state) if record.key}
        done = (key for key, record in newest.items() if record.header("orchestra-status") == b"completed")
        return {key.decode() for key in done}

    def journal(self, instance: str | None = None) -> list[dict[str, Any]]:
        """Entries by (instance, version): repeats are dropped, as readers do."""
        entries = [json.loads(record.value or b"{}") for record in self.cluster.records(NAMES.journal)]
        by_version = {(entry["instance"], entry["version"]): entry for entry in entries}
        return [entry for (of, _), entry in sorted(by_version.items()) if instance in (None, of)]

    def is_gapless(self, instance: str) -> bool:
        """Whether the journal has every version of an instance."""
        versions = [entry["version"] for entry in self.journal(instance)]
        return versions == list(range(1, len(versions) + 1))

    def said(self, instance: str) -> list[str]:
        """The ``what`` of all journal lines of an instance."""
        return [line["what"] for entry in self.journal(instance) for line in entry["lines"]]

    def alerts(self) -> list[str]:
        return [json.loads(record.value or b"{}")["code"] for record in self.cluster.records(NAMES.alerts)]

    def dead_letters(self) -> list[Record]:
        return self.cluster.records(NAMES.dead_letters)

    def steps(self, key: str) -> list[str]:
        """The commands of an order that the participant saw, in order, repeats included."""
        return [command.get("flowstep") or "" for command in self.commands if command.get("flowid") == f"tiny/{key}"]


@contextlib.asynccontextmanager
async def world(partitions: int = 1) -> AsyncIterator[World]:
    """A world without processes of the coordinator, yet."""
    made = World(partitions)
    await made.start()
    try:
        yield made
    finally:
        await made.aclose()


def reply_to(command: Envelope, kind: str = DONE, data: bytes = b"{}") -> Outgoing:
    """What a participant answers, in any language."""
    event = Envelope(
        f"reply-{command.id}",
        "/participant",
        kind,
        datacontenttype="application/json",
        extensions={name: command.get(name) or "" for name in ("flowid", "effectid", "correlationid")},
        data=data,
    )
    headers, value = encode(event)
    flow = command.get("flowid") or ""
    return Outgoing(
        command.get("replyto") or "", flow.encode(), value, headers, int(command.get("replypartition") or 0)
    )
