"""How is a topic filled before it is measured? In batches for each partition; keys go where every client puts them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer

from bench.plain import Headers, create_topics, producer
from orchestra.transport.partitioner import partition_for

PARTITIONS = 16
_UNDER_WAY = 64
"""So many batches wait for their acknowledgement before the next is filled."""

Made = tuple[bytes, Headers, bytes]
"""Key, headers, value."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A topic, and how many records it has."""

    topic: str
    count: int


async def fill(servers: str, topic: str, records: Iterable[Made]) -> Filled:
    """A new topic with these records. Batches are as large as a producer's are by default (16 kB)."""
    await create_topics(servers, [topic], PARTITIONS)
    async with producer(servers) as out:
        return Filled(topic, await put(out, topic, records))


async def put(out: AIOKafkaProducer, topic: str, records: Iterable[Made]) -> int:
    """Publish these records in batches, and say how many there were."""
    filler = _Filler(out, topic)
    count = 0
    for key, headers, value in records:
        await filler.add(key, headers, value)
        count += 1
    await filler.flush()
    return count


class _Filler:
    def __init__(self, out: AIOKafkaProducer, topic: str) -> None:
        self._out = out
        self._topic = topic
        self._batches: dict[int, Any] = {}
        self._sent: list[asyncio.Future[Any]] = []

    async def add(self, key: bytes, headers: Headers, value: bytes) -> None:
        partition = partition_for(key, PARTITIONS)
        batch = self._batches.get(partition) or self._new(partition)
        if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:  # it is full
            await self._send(partition)
            self._new(partition).append(key=key, value=value, timestamp=None, headers=headers)

    def _new(self, partition: int) -> Any:
        batch = self._batches[partition] = self._out.create_batch()
        return batch

    async def _send(self, partition: int) -> None:
        batch = self._batches.pop(partition)
        batch.close()
        self._sent.append(await self._out.send_batch(batch, self._topic, partition=partition))
        if len(self._sent) >= _UNDER_WAY:
            await self._acknowledged()

    async def flush(self) -> None:
        for partition in list(self._batches):
            await self._send(partition)
        await self._acknowledged()

    async def _acknowledged(self) -> None:
        await asyncio.gather(*self._sent)
        self._sent.clear()


def numbered(count: int, key: Callable[[int], str], make: Callable[[int], tuple[Headers, bytes]]) -> Iterable[Made]:
    """Records number 0 to ``count`` - 1."""
    for number in range(count):
        headers, value = make(number)
        yield key(number).encode(), headers, value
