"""What is the newest record of an instance? For programs that ask again and again, and take no part in its shard.

It follows the partitions of the state topic that somebody asks about, and keeps the place of each instance's newest
record, and of the values beside it, not what stands there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from orchestra.coordinator.names import Names
from orchestra.coordinator.record import RESERVED, VALUE, split_value_key
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
    values: dict[tuple[str, int], dict[str, int]] = field(default_factory=dict[tuple[str, int], dict[str, int]])
    """By instance and run, then by name."""
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

    async def values(self, instance: str, run: int) -> dict[str, bytes]:
        """What stands beside the record that :meth:`newest` gave, by name.

        Raises:
            TopicError, UnreachableError, OffsetLostError.
        """
        number = partition_for(instance.encode(), await self.partitions())
        place = self._places.get(number)
        if place is None or not (wanted := place.values.get((instance, run))):
            return {}
        names = {offset: name for name, offset in wanted.items()}
        found: dict[str, bytes] = {}
        async for records in read_range(self._transport, place.partition, min(names), max(names) + 1):
            for record in records:
                if record.offset in names and record.value is not None:
                    found[names[record.offset]] = record.value
        return found

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
            place.next, place.newest, place.values = bounds.start, {}, {}
        found: Record | None = None
        async for records in read_range(self._transport, place.partition, place.next, bounds.end):
            for record in records:
                key = (record.key or b"").decode(errors="replace")
                if key == instance:
                    found = record if record.value is not None else None
                _note(place, key, record)
        place.next = bounds.end
        return found


def _note(place: _Place, key: str, record: Record) -> None:
    """Where the newest record of that key stands."""
    if key.startswith(VALUE):
        of, run, name = split_value_key(key)
        values = place.values.setdefault((of, run), {})
        if record.value is None:
            values.pop(name, None)
        else:
            values[name] = record.offset
        if not values:
            del place.values[of, run]
    elif key.startswith(RESERVED):
        return
    elif record.value is None:
        place.newest.pop(key, None)
    else:
        place.newest[key] = record.offset
