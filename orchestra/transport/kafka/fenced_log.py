"""How does one owner write a partition that nobody older can write? The fence (design section 9) on real Kafka.

The identity of a transactional id is written into ordinary, idempotent batches, outside any transaction. The leader of
the partition refuses an older epoch as soon as it has stored one record of a newer one; it also keeps the sequence, so
that a batch that is sent again, byte for byte, is known again and not stored twice. One request is in flight at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque

import aiokafka.errors as kafka_errors

from orchestra.errors import (
    ClosedError,
    FenceBreachedError,
    OutcomeUnknownError,
    UnreachableError,
)
from orchestra.transport.acknowledgement import fail, refused_after, unknown_after
from orchestra.transport.kafka.batch import Batch, next_sequence, produce_request, take_batch, verdicts
from orchestra.transport.kafka.failures import (
    DUPLICATE_SEQUENCE,
    NO_ERROR,
    OUT_OF_ORDER_SEQUENCE,
    UNKNOWN_TOPIC,
    failure,
    is_transient,
)
from orchestra.transport.kafka.network import Network
from orchestra.transport.kafka.places import LATEST, list_offsets
from orchestra.transport.kafka.waiting import Waiting
from orchestra.transport.port import Headers, Identity, Outgoing, Partition

_BACKOFF_SECONDS = 0.05
_MOST_WAITING = 10_000
_MOST_WAITING_BYTES = 32 << 20


class KafkaFencedLog:
    """The port's FencedLog on Kafka. Made by ``open_fenced_log``; owns its network."""

    def __init__(
        self, network: Network, partition: Partition, identity: Identity, *, end: int, delivery_timeout: float
    ) -> None:
        self._network = network
        self._partition = partition
        self._identity = identity
        self._delivery_timeout = delivery_timeout
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._failure: Exception | None = None
        self._last = end - 1
        self._sequence = 0
        self._task = asyncio.create_task(self._write(), name=f"fenced-log-{partition.topic}-{partition.number}")

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
        loop = asyncio.get_running_loop()
        while not self._room.is_set() and self._failure is None:
            await self._room.wait()
        future: asyncio.Future[int] = loop.create_future()
        if self._failure is not None:
            fail(future, refused_after(self._failure))
            return future
        record = Outgoing(self._partition.topic, key, value, headers, self._partition.number)
        size = len(key) + len(value or b"")
        self._waiting.append(Waiting(record, future, loop.time() + self._delivery_timeout, size))
        self._bytes += size
        self._arrived.set()
        if len(self._waiting) >= _MOST_WAITING or self._bytes >= _MOST_WAITING_BYTES:
            self._room.clear()
        return future

    async def _write(self) -> None:
        batch: Batch[Waiting] | None = None
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while batch := take_batch(self._waiting, self._identity, self._sequence, dropped=self._left):
                    for each in batch.parts:
                        self._left(each)
                    offset = await self._store(batch)
                    self._sequence = next_sequence(self._sequence, batch.count)
                    self._settle(batch, offset)
        except asyncio.CancelledError:
            self._die(self._failure or ClosedError("this fenced log was closed"), batch)
            raise
        except Exception as error:  # whatever it is: an owner that cannot write must know
            self._die(error, batch)
        finally:
            await self._network.aclose()

    def _left(self, each: Waiting) -> None:
        self._bytes -= each.size
        self._room.set()

    def _settle(self, batch: Batch[Waiting], offset: int) -> None:
        if offset <= self._last:
            raise FenceBreachedError(f"{self._name}: offset {offset} was acknowledged after {self._last}")
        self._last = offset + batch.count - 1
        for each, position in batch.stored_at(offset):
            if not each.future.done():
                each.future.set_result(position)

    async def _store(self, batch: Batch[Waiting]) -> int:
        """Send a batch until the leader has spoken, and give its first offset."""
        try:
            async with asyncio.timeout_at(batch.parts[0].deadline):
                while True:
                    if (leader := await self._leader()) is not None:
                        offset = await self._send(leader, batch)
                        if offset is not None:
                            return offset
                        self._network.forget(self._partition)
                    await asyncio.sleep(_BACKOFF_SECONDS)
        except TimeoutError:
            raise OutcomeUnknownError(f"{self._name}: no acknowledgement within {self._delivery_timeout} s") from None

    async def _leader(self) -> int | None:
        leader = self._network.leader(self._partition)
        if leader is None:
            try:
                await self._network.learn([self._partition.topic])
            except (kafka_errors.KafkaError, OSError, UnreachableError):
                return None
            leader = self._network.leader(self._partition)
        return leader

    async def _send(self, leader: int, batch: Batch[Waiting]) -> int | None:
        """The first offset; None: try again, with newer metadata. Raises what the leader refuses for good."""
        request = produce_request([(self._partition, batch)], self._network.timeout)
        try:
            verdict = verdicts(await self._network.ask(leader, request))[self._partition]
        except (kafka_errors.KafkaError, OSError):
            return None
        if verdict.code == NO_ERROR:
            return verdict.offset
        if verdict.code == OUT_OF_ORDER_SEQUENCE:
            raise FenceBreachedError(f"{self._name}: the leader does not know our last record: somebody else wrote")
        if verdict.code == DUPLICATE_SEQUENCE:  # known, and too old for its offset to be remembered
            raise FenceBreachedError(f"{self._name}: a record with our sequence number is there already")
        if verdict.code == UNKNOWN_TOPIC or is_transient(verdict.code):
            return None
        raise failure(verdict.code, self._name)

    @property
    def _name(self) -> str:
        return f"fenced log {self._partition.topic}[{self._partition.number}] {tuple(self._identity)}"

    def _die(self, error: Exception, batch: Batch[Waiting] | None) -> None:
        self._failure = error
        under_way = [*(batch.parts if batch else ()), *self._waiting]
        self._waiting.clear()
        self._room.set()
        culprit = None if isinstance(error, ClosedError) or batch is None else batch.parts[0]
        for each in under_way:
            fail(each.future, error if each is culprit else unknown_after(error))

    async def aclose(self) -> None:
        if self._failure is None:
            self._failure = ClosedError("this fenced log was closed")
        self._task.cancel()
        await asyncio.wait({self._task})
        self._die(self._failure, None)  # a task that never ran has told nobody


async def open_fenced_log(
    network: Network, partition: Partition, identity: Identity, *, delivery_timeout: float
) -> KafkaFencedLog:
    """A log that writes with a new identity, over a network of its own, which it closes.

    The end of the partition is asked for first: whatever is acknowledged below it was not stored just now, so a second
    object with the same identity finds itself out.

    Raises:
        TopicError, UnreachableError, AccessDeniedError.
    """
    try:
        if not network.is_open:
            await network.start()
        end = (await list_offsets(network, [partition], LATEST))[partition]
    except BaseException:
        await network.aclose()
        raise
    return KafkaFencedLog(network, partition, identity, end=end, delivery_timeout=delivery_timeout)
