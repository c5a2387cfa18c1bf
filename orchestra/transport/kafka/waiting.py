"""What waits to be stored, and who is told? One record with a future, or a parcel of many with one word on all.

Both answer to the same calls, so a lane may hold them side by side, in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Self

from orchestra.errors import TransportError
from orchestra.transport.acknowledgement import fail
from orchestra.transport.delivery import Tally
from orchestra.transport.port import Outgoing, Partition, Position

_UNWRITABLE = (TypeError, ValueError, AttributeError, OverflowError)
"""What aiokafka raises for a record that has no form on the wire."""


class Waiting:
    """A record that is to be stored, and the future of its offset."""

    __slots__ = ("deadline", "future", "is_sent", "record", "size")

    count = held = 1

    def __init__(self, record: Outgoing, future: asyncio.Future[Any], deadline: float, size: int) -> None:
        self.record = record
        self.future = future
        self.deadline = deadline
        self.size = size
        self.is_sent = False
        """It may have reached a broker."""

    @property
    def is_over(self) -> bool:
        """Nobody waits for it any more."""
        return self.future.done()

    def write(self, builder: Any, first: int) -> int:
        """Append it to a batch that holds ``first`` records already. Gives how many found room: 1 or 0."""
        record = self.record
        try:
            return builder.append(first, record.timestamp_ms, record.key, record.value, _listed(record)) is not None
        except _UNWRITABLE as error:
            self.fail(_unwritable(record, error))
            return 0

    def cut(self, written: int) -> Self:
        raise AssertionError("one record is written whole, or not at all")

    def split(self) -> Sequence[Self]:
        return (self,)

    def stored(self, partition: Partition, offset: int) -> None:
        """All replicas have it."""
        if not self.future.done():
            self.future.set_result(Position(partition.topic, partition.number, offset))

    def fail(self, error: TransportError) -> None:
        fail(self.future, error)


class Parcel:
    """Records for one partition that were handed over together.

    Args:
        tally: is told what becomes of them.
        places: of the records, among all that were handed over.
    """

    __slots__ = ("deadline", "held", "is_over", "is_sent", "places", "records", "size", "tally")

    def __init__(self, tally: Tally, records: list[Outgoing], places: list[int], deadline: float, size: int) -> None:
        self.tally = tally
        self.records = records
        self.places = places
        self.deadline = deadline
        self.size = size
        self.is_sent = False
        self.is_over = False
        self.held = len(records)
        """Records that its publisher holds for it, those that had no form included."""
        tally.on_give_up(self._withdraw)

    @property
    def count(self) -> int:
        return len(self.records)

    def write(self, builder: Any, first: int) -> int:
        """Append the records to a batch that holds ``first`` already. Gives how many found room."""
        append = builder.append
        index = first
        try:
            for record in self.records:
                if append(index, record.timestamp_ms, record.key, record.value, record.headers) is None:
                    break
                index += 1
        except _UNWRITABLE:
            return index - first + self._write_carefully(builder, index, index - first)
        return index - first

    def _write_carefully(self, builder: Any, first: int, begin: int) -> int:
        """The rest from ``begin`` on, without the records that have no form."""
        written, index = 0, begin
        while index < len(self.records):
            record = self.records[index]
            try:
                headers = _listed(record)
                if builder.append(first + written, record.timestamp_ms, record.key, record.value, headers) is None:
                    break
            except _UNWRITABLE as error:
                self._drop(index, _unwritable(record, error))
                continue
            written += 1
            index += 1
        return written

    def _drop(self, index: int, error: TransportError) -> None:
        del self.records[index]
        self.is_over = not self.records
        self.tally.failed([self.places.pop(index)], error)

    def cut(self, written: int) -> Self:
        """The first ``written`` records as a parcel of their own; the others stay."""
        size = self.size * written // len(self.records)
        head = type(self)(self.tally, self.records[:written], self.places[:written], self.deadline, size)
        del self.records[:written], self.places[:written]
        head.is_over = self.is_over
        self.size -= size
        self.held -= written
        return head

    def split(self) -> Sequence[Self]:
        """A parcel for each record."""
        pieces: list[Self] = []
        while len(self.records) > 1:
            pieces.append(self.cut(1))
        return [*pieces, self]

    def stored(self, partition: Partition, offset: int) -> None:
        """All replicas have them."""
        if not self.is_over:
            self.is_over = True
            self.tally.stored(len(self.records))

    def fail(self, error: TransportError) -> None:
        if not self.is_over:
            self.is_over = True
            self.tally.failed(self.places, error)

    def _withdraw(self) -> None:
        if not self.is_sent:
            self.fail(TransportError("not sent: another record that was handed over with it has failed"))


def _listed(record: Outgoing) -> list[tuple[str, bytes | None]]:
    headers = record.headers
    return headers if type(headers) is list else list(headers)


def _unwritable(record: Outgoing, error: Exception) -> TransportError:
    return TransportError(f"a record for {record.topic!r} cannot be encoded: {error}")
