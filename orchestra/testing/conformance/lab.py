"""What does a transport bring to be tested, and how does a test watch a member of a group?"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Callable, Collection
from typing import Self

from orchestra.ids import new_id
from orchestra.settings import Settings
from orchestra.transport.port import (
    Committed,
    Consumer,
    FencedLog,
    Identity,
    Outgoing,
    Partition,
    Record,
    Subscription,
    TopicSpec,
    Transport,
)

Hook = Callable[[Consumer, Collection[Partition]], None]

PATIENCE_SECONDS = 20.0
"""How long a test waits for what must happen."""


class Lab(abc.ABC):
    """A cluster, and processes on it. Everything is closed at the end."""

    settings = Settings(
        session_timeout=1.5,
        heartbeat_interval=0.2,
        rebalance_timeout=5.0,
        request_timeout=5.0,
        delivery_timeout=5.0,
    )

    def __init__(self) -> None:
        self._transports: list[Transport] = []
        self._members: list[Member] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(member.end() for member in self._members))
        await asyncio.gather(*(transport.aclose() for transport in self._transports))

    # ---- what each transport has its own way for

    @abc.abstractmethod
    def new_transport(self) -> Transport:
        """A "process" of its own on the same cluster, not started."""

    @abc.abstractmethod
    def unreachable_transport(self) -> Transport:
        """A transport to a place where no broker is."""

    @abc.abstractmethod
    async def crash(self, transport: Transport) -> None:
        """The process dies without a word: no callback, no leaving of groups."""

    @abc.abstractmethod
    async def compact(self, topic: str) -> None:
        """Return when everything superseded is gone. May append records with the key ``b"~"`` first."""

    @abc.abstractmethod
    async def second_object(self, transport: Transport, partition: Partition, identity: Identity) -> FencedLog:
        """What must never be: another object that writes with an identity in use."""

    # ---- what tests use

    async def process(self) -> Transport:
        """A new process, started."""
        transport = self.new_transport()
        self._transports.append(transport)
        await transport.start()
        return transport

    async def topic(self, transport: Transport, partitions: int = 1, **config: str) -> str:
        """A new topic; settings with underscores for dots."""
        name = f"conformance.{new_id()}"
        named = {key.replace("_", "."): value for key, value in config.items()}
        await transport.topics.create([TopicSpec(name, partitions, named)])
        return name

    async def compacted_topic(self, transport: Transport, partitions: int = 1) -> str:
        """A new topic on which :meth:`compact` does its work soon."""
        return await self.topic(
            transport,
            partitions,
            cleanup_policy="compact",
            segment_ms="100",
            min_cleanable_dirty_ratio="0.0",
            min_compaction_lag_ms="0",
            delete_retention_ms="600000",
        )

    async def put(self, transport: Transport, *records: Outgoing) -> None:
        """Publish, and wait until all are stored."""
        publisher = transport.publisher()
        await publisher.start()
        try:
            await publisher.publish(records)
        finally:
            await publisher.aclose()

    async def fill(self, transport: Transport, topic: str, partition: int, count: int, *, start: int = 0) -> None:
        """Put ``count`` records on a partition, with their numbers as values."""
        numbers = range(start, start + count)
        await self.put(transport, *(Outgoing(topic, b"k", b"%d" % n, partition=partition) for n in numbers))

    async def read_all(self, transport: Transport, partition: Partition) -> list[Record]:
        """Everything that is in a partition now, without the helpers of :meth:`compact`."""
        end = (await transport.topics.bounds([partition]))[partition].end
        reader = await transport.reader(partition)
        found: list[Record] = []
        try:
            while not found or found[-1].offset < end - 1:
                records = await reader.fetch(max_records=1000, timeout=1.0)
                if not records:
                    break
                found += records
        finally:
            await reader.aclose()
        return [record for record in found if record.key != b"~"]

    async def member(
        self,
        transport: Transport,
        subscription: Subscription,
        *,
        slow_assigned: float = 0.0,
        slow_revoked: float = 0.0,
        hook: Hook | None = None,
    ) -> Member:
        """A member of a group that fetches all the time; see :class:`Member`."""
        member = Member(transport, subscription, slow_assigned=slow_assigned, slow_revoked=slow_revoked, hook=hook)
        self._members.append(member)
        await member.begin()
        return member


class Member:
    """A member of a group: its loop, and everything it saw, in order.

    Args:
        slow_assigned, slow_revoked: seconds that its callbacks take.
        hook: called with the consumer and the partitions at the end of ``on_assigned``.
    """

    def __init__(
        self,
        transport: Transport,
        subscription: Subscription,
        *,
        slow_assigned: float = 0.0,
        slow_revoked: float = 0.0,
        hook: Hook | None = None,
    ) -> None:
        self.history: list[tuple[str, object]] = []
        """("assigning" | "assigned" | "revoking" | "revoked", partitions) and ("record", Record)."""
        self.failure: Exception | None = None
        self.commit_on_revoke = False
        self._slow_assigned = slow_assigned
        self._slow_revoked = slow_revoked
        self._hook = hook
        self.consumer: Consumer = transport.consumer(subscription, self)
        self._task: asyncio.Task[None] | None = None
        self._seen = asyncio.Event()

    async def begin(self) -> None:
        await self.consumer.start()
        self._task = asyncio.create_task(self._loop())

    async def _loop(self) -> None:
        try:
            while True:
                for record in await self.consumer.fetch(max_records=100, timeout=0.1):
                    self._note("record", record)
        except Exception as error:
            self.failure = error
            self._seen.set()

    async def end(self) -> None:
        """Close the consumer; its loop ends with it. Idempotent."""
        await self.consumer.aclose()
        if self._task is not None:
            _, late = await asyncio.wait({self._task}, timeout=2.0)
            for task in late:
                task.cancel()

    def _note(self, what: str, about: object) -> None:
        self.history.append((what, about))
        self._seen.set()

    async def on_assigned(self, partitions: Collection[Partition]) -> None:
        self._note("assigning", frozenset(partitions))
        await asyncio.sleep(self._slow_assigned)
        self._note("assigned", frozenset(partitions))
        if self._hook is not None:
            self._hook(self.consumer, partitions)

    async def on_revoked(self, partitions: Collection[Partition]) -> None:
        self._note("revoking", frozenset(partitions))
        await asyncio.sleep(self._slow_revoked)
        if self.commit_on_revoke:
            places = {p: place for p in partitions if (place := self.consumer.position(p)) is not None}
            await self.consumer.commit({p: Committed(place) for p, place in places.items()})
        self._note("revoked", frozenset(partitions))

    # ---- what it saw

    @property
    def records(self) -> list[Record]:
        return [about for what, about in self.history if what == "record" and isinstance(about, Record)]

    @property
    def values(self) -> list[bytes | None]:
        return [record.value for record in self.records]

    def summary(self) -> str:
        """What it saw, for people: calls with partitions, and how many records came between them."""
        words: list[str] = []
        count = 0
        for what, about in self.history:
            if isinstance(about, Record):
                count += 1
                continue
            words += [f"{count} records"] if count else []
            count = 0
            words.append(f"{what} {sorted(about) if isinstance(about, frozenset) else about}")
        words.append(f"{count} records, {len(self.consumer.assignment())} assigned now, failure {self.failure!r}")
        return "; ".join(words)

    def calls(self, what: str) -> list[object]:
        """The partitions of each call."""
        return [about for kind, about in self.history if kind == what]

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds; it is looked at after each thing seen. Fails after a while."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_SECONDS
        while not condition():
            assert loop.time() < deadline, f"it did not happen within {PATIENCE_SECONDS} s; seen: {self.summary()}"
            self._seen.clear()
            try:
                async with asyncio.timeout(0.1):
                    await self._seen.wait()
            except TimeoutError:
                continue

    async def wait_for_values(self, *values: bytes) -> None:
        """Return when all these values have been seen."""
        await self.wait_until(lambda: set(values) <= set(self.values))

    async def wait_assigned(self, count: int | None = None) -> None:
        """Return when partitions (so many) are assigned."""
        await self.wait_until(
            lambda: (
                bool(self.calls("assigned"))
                and (count is None or len(self.consumer.assignment()) == count)
                and len(self.calls("assigned")) > len(self.calls("revoking"))
            )
        )

    def check_gate(self) -> None:
        """No record came before ``on_assigned`` had returned, nor after ``on_revoked`` had begun."""
        ours: frozenset[Partition] = frozenset()
        for what, about in self.history:
            if what == "assigned" and isinstance(about, frozenset):
                ours = about
            elif what in ("assigning", "revoking"):
                assert about, f"{what} was called with nothing"
                ours = frozenset()
            elif isinstance(about, Record):
                assert Partition(about.topic, about.partition) in ours, f"{about} came behind a shut gate"
