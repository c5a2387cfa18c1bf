"""What lies ready in aiokafka's fetcher, and how does it become records in one go?

aiokafka unpacks record by record, through a generator, a dataclass and a copy of the headers. So the batches are taken
from its fetcher here, and each becomes a list of our records. For a record with 8 headers that is 1.4 us, of which 0.8
are reading it and 0.3 the checksum, where aiokafka's own records take 1.9 and making ours of them took 0.3. What is to
be passed over is decided as aiokafka decides it.

Nothing here waits between taking records and giving them: a rebalance cannot come in between.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiokafka.errors as kafka_errors
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.record.legacy_records import LegacyRecordBatch

from orchestra.transport.kafka.odd_names import OddNamesError
from orchestra.transport.port import Partition, Record

_UNKNOWN = -1
"""Kafka's own timestamp of a record that has none."""


class Fetched:
    """The records that a group consumer of aiokafka's has ready. Reads committed ones only."""

    def __init__(self, client: Any) -> None:
        self._fetcher = client._fetcher
        self._coordinator = client._coordinator
        self._subscriptions = client._subscription

    def take(self, most: int) -> list[Record]:
        """Up to ``most`` of them, at once; the positions move past them.

        Raises:
            KafkaError: nothing was taken. A partition's own failure is raised once; fetching then goes on.
            OddNamesError: nothing was taken; raised until :meth:`mend` has been called.
        """
        self._coordinator.check_errors()
        self.show_life()
        if self._subscriptions.reassignment_in_progress:
            return []
        ready = self._fetcher._records
        found: list[Record] = []
        for place in list(ready):
            try:
                found += self._of_partition(place, ready[place], most - len(found))
            except OddNamesError:
                if found:
                    break
                raise
            except Exception:
                if found:  # raised again by the next call
                    break
                self._fetch_on(place)
                raise
            if len(found) >= most:
                break
        return found

    def _of_partition(self, place: Any, result: Any, most: int) -> list[Record]:
        if not isinstance(result, FetchResult):
            result.check_raise()
        records: list[Record] = []
        if result._assignment.active and result._assignment.state_value(place).paused:
            return records  # it stays for later: aiokafka would fetch it again
        if result.check_assignment(place):  # it is ours, and nobody went elsewhere
            unpacked = result._partition_records
            if not isinstance(unpacked, Unpacked):
                unpacked = result._partition_records = Unpacked(unpacked)
            records = unpacked.take(most)
            result._update_position()
            if unpacked.has_more:
                return records
        self._fetch_on(place)
        return records

    def _fetch_on(self, place: Any) -> None:
        """What was fetched of it is used up: the fetcher may ask for more."""
        del self._fetcher._records[place]
        self._fetcher._notify(self._fetcher._wait_consume_future)

    def mend(self, odd: OddNamesError, batch: Any | None) -> None:
        """Go on with the batch in a form that can be read; None: fetch it again.

        Does nothing where the partition has gone, or somebody went elsewhere in it.
        """
        result = self._fetcher._records.get(odd.partition)
        if isinstance(result, FetchResult) and isinstance(unpacked := result._partition_records, Unpacked):
            if batch is None:
                self._fetch_on(odd.partition)
            else:
                unpacked.go_on_with(batch)

    def show_life(self) -> None:
        """Tell the group's coordinator that somebody reads."""
        with self._subscriptions.fetch_context():
            pass

    def wake(self) -> None:
        """End the waits for more: what was passed over may be taken now."""
        for waiter in self._fetcher._fetch_waiters:
            self._fetcher._notify(waiter)

    def more(self) -> asyncio.Future[None]:
        """Done when there may be more to take. Raises KafkaError. Cancel it when it is not waited for any longer."""
        waiter: asyncio.Future[None] = self._fetcher._create_fetch_waiter()
        return waiter


class Unpacked:
    """One partition's fetched batches; stands in the fetcher where aiokafka's PartitionRecords stood."""

    def __init__(self, theirs: Any) -> None:
        self._theirs = theirs
        # Its generator is never run here, and refers back to it: left, the two would keep up to a megabyte of fetched
        # bytes alive until the garbage collector comes by.
        theirs._records_iterator = None
        self._batches = theirs._records
        self._ready: list[Record] = []
        self._after = self.next_fetch_offset = int(theirs.next_fetch_offset)
        self._failure: Exception | None = None

    @property
    def has_more(self) -> bool:
        return bool(self._ready) or self._failure is not None or self._batches.has_next()

    def take(self, most: int) -> list[Record]:
        """The next records in order; passes over what holds none.

        Raises:
            KafkaError: the next batch is damaged. What came before it has been taken.
            OddNamesError: the next batch cannot be read as it is.
        """
        found = self._ready
        while len(found) < most and self._failure is None and self._batches.has_next():
            try:
                found += self._next_batch()
            except Exception as error:
                self._failure = error
        if self._failure is not None and not found:
            raise self._failure
        self._ready = found[most:]
        self.next_fetch_offset = self._ready[0].offset if self._ready else self._after
        del found[most:]
        return found

    def go_on_with(self, batch: Any) -> None:
        """Here is the batch that could not be read, in a form that can be."""
        if isinstance(self._failure, OddNamesError) and self._failure.base_offset == batch.base_offset:
            self._failure = None
            self._ready = unpack(batch, self._theirs._tp.topic, self._theirs._tp.partition, self._after)
            self._after = batch.next_offset

    def _next_batch(self) -> list[Record]:
        batch = self._batches.next_batch()
        place = self._theirs._tp
        if not batch.validate_crc():
            raise kafka_errors.CorruptRecordException(f"Invalid CRC - {place}")
        if (batch.is_transactional or batch.is_control_batch) and self._is_passed_over(batch):
            records = []
        else:
            try:
                records = unpack(batch, place.topic, place.partition, self._after)
            except UnicodeDecodeError:
                raise OddNamesError(Partition(*place), batch.base_offset) from None
        self._after = batch.next_offset
        return records

    def _is_passed_over(self, batch: Any) -> bool:
        """Whether it belongs to an aborted transaction, or is a mark of one and no data."""
        theirs = self._theirs
        aborted = theirs._aborted_producers
        theirs._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch and theirs._contains_abort_marker(batch):
            aborted.discard(batch.producer_id)
        return bool(batch.is_control_batch or batch.producer_id in aborted)


def unpack(batch: Any, topic: str, partition: int, first: int) -> list[Record]:
    """A batch's records from the offset ``first`` on: a broker gives the whole batch that holds the offset.

    Raises:
        UnicodeDecodeError: aiokafka cannot read the name of a header.
    """
    if isinstance(batch, LegacyRecordBatch):  # written in a format of before Kafka 0.11
        records = [
            Record(topic, partition, r.offset, _UNKNOWN if r.timestamp is None else r.timestamp, r.key, r.value)
            for r in batch
        ]
    else:
        by_broker = batch.timestamp_type == 1
        records = [Record(topic, partition, r.offset, r.timestamp, r.key, r.value, r.headers, by_broker) for r in batch]
    if records and records[0].offset < first:
        return [record for record in records if record.offset >= first]
    return records
