"""How does one process use a log in memory? The port without Kafka: for tests, simulation and trying things out.

``MemoryCluster`` is the broker, and ``MemoryTransport`` one process's way to it. Faults: :meth:`MemoryTransport.crash`,
``freeze`` and ``thaw`` break the process, the cluster's ``go_down``, ``rules`` and ``next_writes`` what is between.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection, Mapping, Sequence

from orchestra.errors import ClosedError
from orchestra.settings import Settings
from orchestra.transport.memory_cluster import Fate, MemoryCluster, Write
from orchestra.transport.memory_consumer import MemoryConsumer, MemoryReader, reach
from orchestra.transport.memory_line import Valve
from orchestra.transport.memory_writers import MemoryFencedLog, MemoryPublisher, Pipe
from orchestra.transport.port import (
    BARRIER_EPOCH,
    AssignmentListener,
    Bounds,
    Consumer,
    FencedLog,
    Headers,
    Identity,
    Outgoing,
    Partition,
    Publisher,
    Reader,
    Subscription,
    TopicSpec,
    TopicState,
)

__all__ = ["Fate", "MemoryCluster", "MemoryTransport", "Write"]

_numbers = itertools.count(1)


class MemoryTransport:
    """One process's way to a :class:`MemoryCluster`.

    Args:
        cluster: shared by all transports of a test.
        settings: timeouts. Default: the default settings.
        client: the process's name in faults and groups. Default: one that nobody else has.
        patience: seconds that a consumer's fetch waits at least, for whoever simulates hours and does not want to pay
            for idle loops that look five times a second.
    """

    def __init__(
        self, cluster: MemoryCluster, settings: Settings | None = None, *, client: str = "", patience: float = 0.0
    ) -> None:
        self._patience = patience
        self.cluster = cluster
        self.client = client or f"process-{next(_numbers)}"
        self._settings = settings or Settings()
        self._running = Valve()
        self._is_open = True
        self._members = itertools.count(1)
        self._consumers: list[MemoryConsumer] = []
        self._publishers: list[MemoryPublisher] = []
        self._others: list[MemoryFencedLog | MemoryReader] = []
        self._topics = MemoryTopics(self)

    @property
    def topics(self) -> MemoryTopics:
        return self._topics

    async def start(self) -> None:
        await self.reach()

    async def aclose(self) -> None:
        if self._is_open:
            self._is_open = False
            # consumers first: what a listener does in on_revoked still has somewhere to go
            await asyncio.gather(*(consumer.aclose() for consumer in self._consumers))
            await asyncio.gather(*(part.aclose() for part in (*self._publishers, *self._others)))

    def crash(self) -> None:
        """The process dies now: its members vanish without leaving, what it has sent may still arrive."""
        self._is_open = False
        for part in (*self._consumers, *self._publishers, *self._others):
            part.abandon()

    def freeze(self) -> None:
        """The process is stopped (SIGSTOP): nothing goes out, nothing comes in, its sessions time out."""
        self._running.shut()
        for consumer in self._consumers:
            consumer.freeze()

    def thaw(self) -> None:
        """The process goes on where it was stopped, and what it was about to send goes out."""
        self._running.open()
        for consumer in self._consumers:
            consumer.thaw()

    def consumer(self, subscription: Subscription, listener: AssignmentListener) -> Consumer:
        self._check_open()
        name = f"{self.client}/{next(self._members)}"
        consumer = MemoryConsumer(
            self.cluster, name, self._running, self._settings, subscription, listener, patience=self._patience
        )
        self._consumers.append(consumer)
        return consumer

    def publisher(self, *, linger: float = 0.0) -> Publisher:
        self._check_open()
        publisher = MemoryPublisher(self.cluster, self.client, self._running, self._settings)
        self._publishers.append(publisher)
        return publisher

    async def fenced_log(self, transactional_id: str, partition: Partition) -> FencedLog:
        await self.reach()
        self.cluster.log(partition)
        identity = self.cluster.take_identity(transactional_id)
        timeout = self._settings.delivery_timeout
        log = MemoryFencedLog(self.cluster, self.client, self._running, partition, identity, timeout=timeout)
        self._keep(log)
        return log

    async def shut_out(self, producer_id: int, partition: Partition, key: bytes, headers: Headers = ()) -> int:
        await self.reach()
        end = self.cluster.log(partition).end
        pipe = Pipe(self.cluster, self.client, self._running, partition, self._settings.delivery_timeout)
        pipe.write_as(Identity(producer_id, BARRIER_EPOCH))
        offset = await pipe.send(Outgoing(partition.topic, key, None, headers, partition.number))
        return offset if offset >= end else -1

    async def reader(self, partition: Partition, *, offset: int | None = None) -> Reader:
        await self.reach()
        reader = MemoryReader(self.cluster, self._running, self._settings, partition, offset)
        self._keep(reader)
        return reader

    def _keep(self, part: MemoryFencedLog | MemoryReader) -> None:
        self._others = [each for each in self._others if not each.is_closed]
        self._others.append(part)

    async def reach(self) -> None:
        """Wait for the brokers. Raises UnreachableError, ClosedError."""
        self._check_open()
        await reach(self.cluster, self._running, self._settings.request_timeout)
        self._check_open()

    def _check_open(self) -> None:
        if not self._is_open:
            raise ClosedError(f"the transport of {self.client} is closed")


class MemoryTopics:
    """The port's Topics in memory."""

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport
        self._cluster = transport.cluster

    async def describe(self, names: Collection[str]) -> dict[str, TopicState]:
        await self._transport.reach()
        return self._cluster.describe(names)

    async def create(self, specs: Sequence[TopicSpec]) -> None:
        await self._transport.reach()
        for spec in specs:
            self._cluster.create(spec)

    async def delete(self, names: Collection[str]) -> None:
        await self._transport.reach()
        for name in names:
            self._cluster.delete(name)

    async def bounds(self, partitions: Collection[Partition], *, stable: bool = False) -> dict[Partition, Bounds]:
        await self._transport.reach()
        return {partition: self._cluster.log(partition).bounds for partition in partitions}

    async def delete_records(self, before: Mapping[Partition, int]) -> None:
        await self._transport.reach()
        for partition, offset in before.items():
            self._cluster.log(partition).delete_before(offset)
