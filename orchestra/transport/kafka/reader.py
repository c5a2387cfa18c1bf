"""How is one partition read from a given offset, with no group? For logs that are folded from the start.

Read uncommitted: the partitions read so are our own, in which nothing is transactional; and a reader that waits for the
last stable offset would stand still behind anybody's hanging transaction. What it gets is replicated all the same: a
broker gives no consumer anything above the high watermark.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiokafka.errors as kafka_errors
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

from orchestra.errors import ClosedError, OffsetLostError, TopicError, TransportError, UnreachableError
from orchestra.transport.kafka.failures import NO_ERROR, UNKNOWN_TOPIC, failure, is_transient
from orchestra.transport.kafka.fetched import unpack
from orchestra.transport.kafka.network import Network
from orchestra.transport.kafka.odd_names import readable
from orchestra.transport.kafka.places import EARLIEST, list_offsets
from orchestra.transport.port import Partition, Record

_BACKOFF_SECONDS: Final = 0.1
_LONGEST_WAIT_MS: Final = 500
_FETCH_BYTES: Final = 4 << 20
_READ_UNCOMMITTED: Final = 0


class KafkaReader:
    """The port's Reader on Kafka. Made by ``open_reader``; owns its network. One task reads ahead by one request."""

    def __init__(self, network: Network, partition: Partition, offset: int) -> None:
        self._network = network
        self._partition = partition
        self._next = offset
        """The offset to ask for."""
        self._ready: list[Record] = []
        self._taken = 0
        """How many of the ready records were returned."""
        self._ahead: asyncio.Task[list[Record]] | None = None
        self._is_open = True

    @property
    def is_closed(self) -> bool:
        return not self._is_open

    async def fetch(self, *, max_records: int, timeout: float) -> list[Record]:
        if self._taken >= len(self._ready):
            self._ready, self._taken = await self._more(timeout), 0
        records = self._ready[self._taken : self._taken + max_records]
        self._taken += len(records)
        if records and self._is_open:
            self._read_ahead()
        return records

    async def _more(self, timeout: float) -> list[Record]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            if not self._is_open:
                raise ClosedError("this reader was closed")
            ahead = self._read_ahead()
            await asyncio.wait({ahead}, timeout=max(0.0, deadline - loop.time()))
            if ahead.done():
                self._ahead = None
                if ahead.cancelled():
                    raise ClosedError("this reader was closed")
                if records := ahead.result():
                    return records
            if loop.time() >= deadline:
                return []

    def _read_ahead(self) -> asyncio.Task[list[Record]]:
        if self._ahead is None:
            self._ahead = asyncio.create_task(self._request())
        return self._ahead

    async def _request(self) -> list[Record]:
        """The records of one answer; none if there are none yet, or brokers are away for less than the timeout."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._network.timeout
        while True:
            answer = await self._ask()
            if answer is not None:
                return answer
            if loop.time() >= deadline:
                raise UnreachableError(f"{self._name}: no broker answered within {self._network.timeout} s")
            await asyncio.sleep(_BACKOFF_SECONDS)

    async def _ask(self) -> list[Record] | None:
        topic, number = self._partition
        try:
            leader = self._network.leader(self._partition)
            if leader is None:
                if topic not in await self._network.learn([topic]):
                    raise TopicError(f"topic {topic!r} does not exist")
                leader = self._network.leader(self._partition)
                if leader is None:
                    return None
            request = FetchRequest(
                _LONGEST_WAIT_MS,
                1,
                _FETCH_BYTES,
                _READ_UNCOMMITTED,
                [(topic, [(number, self._next, _FETCH_BYTES)])],
                "",
            )
            answer = await self._network.ask(leader, request)
        except (kafka_errors.KafkaError, OSError, UnreachableError):
            self._network.forget(self._partition)
            return None
        return self._judged(answer)

    def _judged(self, answer: Any) -> list[Record] | None:
        _, code, _, *rest = answer.topics[0][1][0]
        if code == NO_ERROR:
            return self._unpack(rest[-1])
        if code == UNKNOWN_TOPIC or is_transient(code):
            self._network.forget(self._partition)
            return None
        error: TransportError = failure(code, f"{self._name} at {self._next}")
        if isinstance(error, OffsetLostError):
            error.lost[self._partition] = self._next
        raise error

    def _unpack(self, data: bytes) -> list[Record]:
        topic, number = self._partition
        found: list[Record] = []
        memory = MemoryRecords(data)
        while memory.has_next():
            batch: Any = memory.next_batch()
            if not batch.validate_crc():
                raise UnreachableError(f"{self._name}: damaged on the way: the checksum of a batch is wrong")
            if not batch.is_control_batch:
                try:
                    found += unpack(batch, topic, number, self._next)
                except UnicodeDecodeError:
                    found += unpack(readable(data, batch.base_offset), topic, number, self._next)
            self._next = batch.next_offset
        return found

    @property
    def _name(self) -> str:
        return f"reading {self._partition.topic}[{self._partition.number}]"

    async def aclose(self) -> None:
        self._is_open = False
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.wait({self._ahead})
        await self._network.aclose()


async def open_reader(network: Network, partition: Partition, offset: int | None) -> KafkaReader:
    """A reader from ``offset``, or from the first record that is still there. Closes the network with itself.

    Raises:
        TopicError, UnreachableError, AccessDeniedError.
    """
    try:
        await network.start()
        await network.require([partition.topic])
        if offset is None:
            offset = (await list_offsets(network, [partition], EARLIEST))[partition]
    except BaseException:
        await network.aclose()
        raise
    return KafkaReader(network, partition, offset)
