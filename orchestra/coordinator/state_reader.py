"""What is the newest record of an instance? For programs that ask again and again, and take no part in its shard.

It follows the partitions of the state topic that somebody asks about, and keeps the place of each instance's newest
record, not the record.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from orchestra.coordinator.names import Names
from orchestra.coordinator.record import RESERVED
from orchestra.errors import OffsetLostError, TopicError
from orchestra.transport.partitioner import partition_for
from orchestra.transport.port import Partition, Record, Transport
from orchestra.transport.tail import read_range

_ROUNDS = 5


@dataclass(slots=True)
class _Place:
    """How far a partition was read, and where each instance's newest record stands."""

    partition: Partition
    next: int | None = None
    newest: dict[str, int] = field(default_factory=dict[str, int])
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class StateReader:
    """The read side of one coordinator's state topic."""

    def __init__(self, transport: Transport, names: Names) -> None:
        self._transport = transport
        self._names = names
        self._places: dict[int, _Place] = {}
        self._partitions: int | None = None

    async def partitions(self) -> int:
        """How many shards there are. Raises TopicError where the coordinator has never run."""
        if self._partitions is None:
            state = (await self._transport.topics.describe([self._names.state])).get(self._names.state)
            if state is None:
                raise TopicError(f"topic {self._names.state} does not exist: the coordinator has never run here")
            self._partitions = state.partitions
        return self._partitions

    async def newest(self, instance: str) -> Record | None:
        """The instance's newest record, as durable now; None where there is none.

        Raises:
            TopicError, UnreachableError, OffsetLostError.
        """
        number = partition_for(instance.encode(), await self.partitions())
        place = self._places.setdefault(number, _Place(Partition(self._names.state, number)))
        async with place.lock:
            for _ in range(_ROUNDS):
                found = await self._look(place, instance)
                if found is not None or instance not in place.newest:
                    return found
        raise OffsetLostError(f"{instance}: its record moved each time that it was looked for")

    async def _look(self, place: _Place, instance: str) -> Record | None:
        """Read what is new; then the record, where that was not among it. None also where it was compacted away just
        now: a newer one stands further on."""
        found = await self._catch_up(place, instance)
        if found is not None or (offset := place.newest.get(instance)) is None:
            return found
        async for records in read_range(self._transport, place.partition, offset, offset + 1):
            for record in records:
                return record
        return None

    async def _catch_up(self, place: _Place, instance: str) -> Record | None:
        bounds = (await self._transport.topics.bounds([place.partition]))[place.partition]
        if place.next is None or place.next < bounds.start:
            place.next, place.newest = bounds.start, {}
        found: Record | None = None
        async for records in read_range(self._transport, place.partition, place.next, bounds.end):
            for record in records:
                key = (record.key or b"").decode(errors="replace")
                if key == instance:
                    found = record if record.value is not None else None
                if key.startswith(RESERVED):
                    continue
                if record.value is None:
                    place.newest.pop(key, None)
                else:
                    place.newest[key] = record.offset
        place.next = bounds.end
        return found
