"""How does a member of a group, or a lone reader, get records out of the memory cluster?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from orchestra.errors import ClosedError, CommitFailedError, TopicError, UnreachableError
from orchestra.settings import Settings
from orchestra.transport.memory_cluster import MemoryCluster
from orchestra.transport.memory_group import Member
from orchestra.transport.memory_line import Bell, Valve
from orchestra.transport.port import AssignmentListener, Committed, Partition, Record, Subscription

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Place:
    """Where a consumer stands in one partition."""

    position: int
    is_paused: bool = False


async def reach(cluster: MemoryCluster, running: Valve, timeout: float) -> None:
    """Wait until this client runs and the brokers are there.

    Raises:
        UnreachableError: they were not within ``timeout`` seconds.
    """
    await running.passed()
    if cluster.available.is_open:
        return
    try:
        async with asyncio.timeout(timeout):
            await cluster.available.passed()
    except TimeoutError:
        raise UnreachableError(f"no broker answered within {timeout} s") from None
    await running.passed()


class MemoryConsumer:
    """The port's Consumer in memory."""

    def __init__(
        self,
        cluster: MemoryCluster,
        client: str,
        running: Valve,
        settings: Settings,
        subscription: Subscription,
        listener: AssignmentListener,
        *,
        patience: float = 0.0,
    ) -> None:
        self._patience = patience
        self._cluster = cluster
        self._running = running
        self._settings = settings
        self._subscription = subscription
        self._listener = listener
        self._group = cluster.group(subscription.group)
        self._member = Member(
            client,
            subscription.topics,
            session_timeout=settings.session_timeout,
            rebalance_timeout=settings.rebalance_timeout,
            together=subscription.together,
        )
        self._places: dict[Partition, _Place] = {}
        self._paused_before: frozenset[Partition] = frozenset()
        self._is_open = False
        """The assignment gate: records leave ``fetch`` only while it is open."""
        self._next = 0
        self._arrived = Bell()
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None

    # ---- life

    async def start(self) -> None:
        if self._task is not None or self._is_closing:
            raise ClosedError("a consumer is started once")
        await reach(self._cluster, self._running, self._settings.request_timeout)
        for topic in self._subscription.topics:
            if not self._cluster.partitions_of(topic):
                raise TopicError(f"topic {topic!r} does not exist")
        self._task = asyncio.create_task(self._belong(), name=f"memory-group-{self._member.name}")

    async def aclose(self) -> None:
        self._is_closing = True
        self._member.news.set()
        self._arrived.ring()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=self._settings.rebalance_timeout)
            self._task.cancel()
        self._forget()
        self._group.leave(self._member)

    def abandon(self) -> None:
        """Vanish without leaving the group, as a crash does."""
        self._is_closing = True
        self._arrived.ring()
        if self._task is not None:
            self._task.cancel()
        self._forget()
        self._group.silence(self._member)

    def freeze(self) -> None:
        """No sign of life from now on."""
        self._group.silence(self._member)

    def thaw(self) -> None:
        self._group.heard(self._member)
        self._arrived.ring()

    async def _belong(self) -> None:
        member = self._member
        while not self._is_closing:
            await self._running.passed()
            await self._cluster.available.passed()
            self._group.join(member)
            await self._until(lambda: member.assigned is not None or member.must_rejoin)
            await self._running.passed()
            if member.assigned is None or self._is_closing:
                continue
            self._take(member.assigned)
            await self._assign()
            self._is_open = not member.must_rejoin
            self._arrived.ring()
            await self._until(lambda: member.must_rejoin)
            await self._running.passed()
            self._is_open = False
            self._paused_before = frozenset(p for p, place in self._places.items() if place.is_paused)
            await self._tell(self._listener.on_revoked, timeout=self._settings.rebalance_timeout)
            self._forget()

    async def _assign(self) -> None:
        """Call ``on_assigned``; a revocation that comes meanwhile waits for it, but not for ever."""
        telling = asyncio.create_task(self._tell(self._listener.on_assigned))
        telling.add_done_callback(lambda _: self._member.news.set())
        try:
            await self._until(lambda: telling.done() or self._member.must_rejoin)
            await asyncio.wait({telling}, timeout=self._settings.rebalance_timeout / 2)
        finally:
            telling.cancel()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not (self._is_closing or condition()):
            self._member.news.clear()
            await self._member.news.wait()

    async def _tell(
        self, call: Callable[[Collection[Partition]], Awaitable[None]], *, timeout: float | None = None
    ) -> None:
        if not self._places:
            return
        try:
            async with asyncio.timeout(timeout):
                await call(list(self._places))
        except Exception:
            _log.exception("the assignment listener of group %r failed", self._subscription.group)

    def _take(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            log = self._cluster.log(partition)
            committed = self._group.committed.get(partition)
            start = log.start if self._subscription.start == "earliest" else log.end
            paused = partition in self._paused_before
            self._places[partition] = _Place(committed.offset if committed else start, paused)
            log.watch(self, self._arrived.ring)

    def _forget(self) -> None:
        self._is_open = False
        for partition in self._places:
            if self._cluster.partitions_of(partition.topic):
                self._cluster.log(partition).unwatch(self)
        self._places.clear()

    # ---- records

    async def fetch(self, *, max_records: int, timeout: float) -> list[Record]:
        if self._task is None or self._is_closing:
            raise ClosedError("this consumer is not open")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + max(timeout, self._patience)
        while True:
            await self._running.passed()
            self._arrived.clear()
            if records := self._gather(max_records):
                return records
            if loop.time() >= deadline or self._is_closing:
                return []
            await self._arrived.wait_until(deadline)

    def _gather(self, limit: int) -> list[Record]:
        if not self._is_open or not self._cluster.available.is_open:
            return []
        found: list[Record] = []
        partitions = list(self._places)
        self._next += 1  # begin elsewhere each time, so that no partition starves the others
        for index in range(len(partitions)):
            partition = partitions[(self._next + index) % len(partitions)]
            place = self._places[partition]
            if place.is_paused or len(found) >= limit:
                continue
            records, place.position = self._read(partition, place.position, limit - len(found))
            found.extend(records)
        return found

    def _read(self, partition: Partition, position: int, limit: int) -> tuple[list[Record], int]:
        records, after = self._cluster.log(partition).read(position, limit)
        size = 0
        for index, record in enumerate(records):
            size += len(record.value or b"")
            if index and size > self._subscription.batch_bytes:
                return records[:index], record.offset
        return records, after

    def position(self, partition: Partition) -> int | None:
        place = self._places.get(partition)
        return place.position if place else None

    @property
    def is_member(self) -> bool:
        return self._member.assigned is not None and not self._member.must_rejoin and not self._is_closing

    def assignment(self) -> frozenset[Partition]:
        return frozenset(self._places)

    def pause(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            if place := self._places.get(partition):
                place.is_paused = True

    def resume(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            if place := self._places.get(partition):
                place.is_paused = False
        self._arrived.ring()

    def paused(self) -> frozenset[Partition]:
        return frozenset(partition for partition, place in self._places.items() if place.is_paused)

    def seek(self, partition: Partition, offset: int) -> None:
        if place := self._places.get(partition):
            place.position = offset
            self._arrived.ring()

    # ---- places

    async def commit(self, offsets: Mapping[Partition, Committed]) -> None:
        if self._task is None:
            raise ClosedError("this consumer is not open")
        if strangers := [partition for partition in offsets if partition not in self._places]:
            raise CommitFailedError(f"not ours any more: {strangers}")
        generation = self._member.generation
        await reach(self._cluster, self._running, self._settings.request_timeout)
        if generation != self._member.generation:
            raise CommitFailedError(f"{self._subscription.group}: the assignment has moved meanwhile")
        self._group.commit(self._member, offsets)
        if self._cluster.fail_commits:
            self._cluster.fail_commits -= 1
            await asyncio.sleep(self._settings.request_timeout)
            raise UnreachableError("no answer to a commit: it may or may not be stored")

    async def committed(self, partition: Partition) -> Committed | None:
        await reach(self._cluster, self._running, self._settings.request_timeout)
        return self._group.committed.get(partition)


class MemoryReader:
    """The port's Reader in memory."""

    def __init__(
        self, cluster: MemoryCluster, running: Valve, settings: Settings, partition: Partition, offset: int | None
    ) -> None:
        self._cluster = cluster
        self._running = running
        self._settings = settings
        self._partition = partition
        self._arrived = Bell()
        log = cluster.log(partition)
        self._position = log.start if offset is None else offset
        self._is_open = True
        log.watch(self, self._arrived.ring)

    @property
    def is_closed(self) -> bool:
        return not self._is_open

    async def fetch(self, *, max_records: int, timeout: float) -> list[Record]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            await reach(self._cluster, self._running, self._settings.request_timeout)
            if not self._is_open:
                raise ClosedError("this reader was closed")
            self._arrived.clear()
            records, self._position = self._cluster.log(self._partition).read(self._position, max_records)
            if records or loop.time() >= deadline:
                return records
            await self._arrived.wait_until(deadline)

    async def aclose(self) -> None:
        self.abandon()

    def abandon(self) -> None:
        """Close at once, as a crash does."""
        self._is_open = False
        self._arrived.ring()
        if self._cluster.partitions_of(self._partition.topic):
            self._cluster.log(self._partition).unwatch(self)
