"""How do records reach the memory cluster? Publisher and fenced log, acknowledgements and their faults."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from orchestra.errors import (
    ClosedError,
    FenceBreachedError,
    OutcomeUnknownError,
    TransportError,
    UnreachableError,
)
from orchestra.settings import Settings
from orchestra.transport.acknowledgement import fail, refused_after, unknown_after
from orchestra.transport.delivery import Tally
from orchestra.transport.memory_cluster import Fate, MemoryCluster, Write
from orchestra.transport.memory_line import Line, Valve
from orchestra.transport.memory_log import Writer
from orchestra.transport.partitioner import partition_for
from orchestra.transport.port import Headers, Identity, Outgoing, Partition, Position


@dataclass(eq=False, slots=True)
class _Sent:
    record: Outgoing
    future: asyncio.Future[int]
    deadline: float
    departed: bool = False
    """It reached the network: from here on its sender cannot take it back."""


class Pipe:
    """The way from one client to one partition: in order, with a deadline for each acknowledgement."""

    def __init__(self, cluster: MemoryCluster, client: str, running: Valve, partition: Partition, timeout: float):
        self._cluster = cluster
        self._client = client
        self._partition = partition
        self._timeout = timeout
        self._out = Line(running, cluster.available)
        self._back = Line(running)
        self._pending: deque[_Sent] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._writer: Writer | None = None
        self._is_stuck = False
        """An idempotent client repeats an unanswered request until it gives up, and sends nothing behind it."""

    def write_as(self, identity: Identity) -> None:
        """Fence every record with this identity; the sequence begins at 0."""
        self._writer = Writer(*identity, 0)

    def send(self, record: Outgoing) -> asyncio.Future[int]:
        """The future has the offset, or a TransportError within the timeout."""
        loop = asyncio.get_running_loop()
        writer = self._writer
        if writer is not None:
            self._writer = writer._replace(sequence=writer.sequence + 1)
        sent = _Sent(record, loop.create_future(), loop.time() + self._timeout)
        identity = Identity(writer.producer_id, writer.epoch) if writer else None
        fate = self._cluster.fate(
            Write(self._client, self._partition, record.key, record.value, record.headers, identity)
        )
        sent.departed = fate.request_delay > 0
        self._out.put(fate.request_delay, lambda: self._arrive(sent, fate, writer))
        self._pending.append(sent)
        if self._watch is None:
            self._watch = loop.call_at(sent.deadline, self._expire)
        return sent.future

    def _arrive(self, sent: _Sent, fate: Fate, writer: Writer | None) -> None:
        if self._is_stuck or (sent.future.done() and not sent.departed):
            return  # the second: its sender gave it up before it left
        sent.departed = True
        try:
            if fate.error is not None:
                raise fate.error
            offset = self._cluster.append(sent.record, self._partition, writer) if fate.stored else -1
        except TransportError as error:
            self._back.put(fate.reply_delay, partial(fail, sent.future, error))
            return
        if fate.acknowledged and fate.stored:
            self._back.put(fate.reply_delay, lambda: _succeed(sent.future, offset))
        else:
            self._is_stuck = writer is not None

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        self._watch = None
        while self._pending and (self._pending[0].future.done() or self._pending[0].deadline <= loop.time()):
            sent = self._pending.popleft()
            fail(sent.future, self._lateness(sent))
        if self._pending:
            self._watch = loop.call_at(self._pending[0].deadline, self._expire)

    def _lateness(self, sent: _Sent) -> TransportError:
        where = f"{self._partition.topic}[{self._partition.number}]"
        if sent.departed or self._writer is not None:
            return OutcomeUnknownError(f"{where}: no acknowledgement within {self._timeout} s")
        return UnreachableError(f"{where}: no broker within {self._timeout} s")

    def give_up(self, error: Callable[[], TransportError]) -> None:
        """Fail everything that is not acknowledged."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        while self._pending:
            fail(self._pending.popleft().future, error())

    async def wait_acknowledged(self) -> None:
        """Return when nothing is pending."""
        if pending := [sent.future for sent in self._pending if not sent.future.done()]:
            await asyncio.wait(pending)


class MemoryPublisher:
    """The port's Publisher in memory. ``max_pending`` bounds what is sent and not acknowledged."""

    def __init__(
        self, cluster: MemoryCluster, client: str, running: Valve, settings: Settings, *, max_pending: int = 10_000
    ) -> None:
        self._cluster = cluster
        self._client = client
        self._running = running
        self._settings = settings
        self._space = asyncio.Semaphore(max_pending)
        self._pipes: dict[Partition, Pipe] = {}
        self._next_any = 0
        self._state = "new"

    async def start(self) -> None:
        if self._state == "new":
            self._state = "open"

    async def send(self, record: Outgoing) -> asyncio.Future[Position]:
        if self._state != "open":
            raise ClosedError(f"this publisher is {self._state}: it is not open")
        await self._space.acquire()
        if self._state != "open":
            raise ClosedError("this publisher was closed meanwhile")
        result: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        try:
            partition = self._partition(record)
            self._cluster.log(partition)
        except TransportError as error:
            self._space.release()
            fail(result, error)
            return result
        stored = self._pipe(partition).send(record)

        def settle(stored: asyncio.Future[int]) -> None:
            self._space.release()
            if stored.cancelled() or result.done():
                return
            if error := stored.exception():
                fail(result, error)
            else:
                result.set_result(Position(partition.topic, partition.number, stored.result()))

        stored.add_done_callback(settle)
        result.add_done_callback(lambda result: stored.cancel() if result.cancelled() else None)
        return result

    def _partition(self, record: Outgoing) -> Partition:
        if record.partition is not None:
            return Partition(record.topic, record.partition)
        count = self._cluster.partitions_of(record.topic)
        if record.key is not None and count:
            return Partition(record.topic, partition_for(record.key, count))
        self._next_any += 1
        return Partition(record.topic, self._next_any % max(count, 1))

    def _pipe(self, partition: Partition) -> Pipe:
        if (pipe := self._pipes.get(partition)) is None:
            timeout = self._settings.delivery_timeout
            pipe = self._pipes[partition] = Pipe(self._cluster, self._client, self._running, partition, timeout)
        return pipe

    async def send_many(self, records: Sequence[Outgoing]) -> Tally:
        tally = Tally(len(records))
        for place, record in enumerate(records):
            stored = await self.send(record)
            stored.add_done_callback(partial(_count, tally, place))
        return tally

    async def publish(self, records: Sequence[Outgoing]) -> list[Position]:
        futures = [await self.send(record) for record in records]
        if futures:
            await asyncio.wait(futures)
        return [future.result() for future in futures]

    async def aclose(self) -> None:
        if self._state == "open":
            self._state = "closed"
            try:
                async with asyncio.timeout(self._settings.request_timeout):
                    for pipe in self._pipes.values():
                        await pipe.wait_acknowledged()
            except TimeoutError:
                pass
        self.abandon()

    def abandon(self) -> None:
        """Close at once, as a crash does."""
        self._state = "closed"
        for pipe in self._pipes.values():
            pipe.give_up(lambda: OutcomeUnknownError("closed before it was acknowledged"))


class MemoryFencedLog:
    """The port's FencedLog in memory. ``max_pending`` bounds what is appended and not acknowledged."""

    def __init__(
        self,
        cluster: MemoryCluster,
        client: str,
        running: Valve,
        partition: Partition,
        identity: Identity,
        *,
        timeout: float,
        max_pending: int = 10_000,
    ) -> None:
        self._identity = identity
        self._partition = partition
        self._failure: Exception | None = None
        self._space = asyncio.Semaphore(max_pending)
        self._last = cluster.log(partition).end - 1
        self._pipe = Pipe(cluster, client, running, partition, timeout)
        self._pipe.write_as(identity)

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def failure(self) -> Exception | None:
        return self._failure

    @property
    def is_closed(self) -> bool:
        return self._failure is not None

    async def append(self, key: bytes, value: bytes | None, headers: Headers = ()) -> asyncio.Future[int]:
        result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        await self._space.acquire()
        if self._failure is not None:
            self._space.release()
            fail(result, refused_after(self._failure))
            return result
        stored = self._pipe.send(Outgoing(self._partition.topic, key, value, headers, self._partition.number))
        stored.add_done_callback(lambda stored: self._settle(stored, result))
        return result

    def _settle(self, stored: asyncio.Future[int], result: asyncio.Future[int]) -> None:
        self._space.release()
        error = stored.exception()
        if error is None and stored.result() <= self._last:
            error = FenceBreachedError(f"offset {stored.result()} was acknowledged after {self._last}")
        if self._failure is not None:
            fail(result, unknown_after(self._failure))
        elif error is not None:
            self._die(error)
            fail(result, error)
        else:
            self._last = stored.result()
            _succeed(result, self._last)

    def _die(self, error: BaseException) -> None:
        self._failure = failure = error if isinstance(error, Exception) else RuntimeError(str(error))
        self._pipe.give_up(lambda: unknown_after(failure))

    async def aclose(self) -> None:
        if self._failure is None:
            self._die(ClosedError("this fenced log was closed"))

    def abandon(self) -> None:
        """Close at once, as a crash does."""
        if self._failure is None:
            self._die(ClosedError("the process crashed"))


def _count(tally: Tally, place: int, stored: asyncio.Future[Position]) -> None:
    error = stored.exception()
    if error is None:
        tally.stored(1)
    elif isinstance(error, TransportError):
        tally.failed([place], error)


def _succeed(future: asyncio.Future[int], offset: int) -> None:
    if not future.done():
        future.set_result(offset)
