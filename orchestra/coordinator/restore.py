"""How does a new owner learn what the last one decided, and make sure that it decides no more?

In this order, and in no other (each has a row in ``docs/adr/0001-fenced-log.md``):

1. A new identity: Kafka's producer id for this shard, one epoch up. It shuts out nobody yet.
2. A *claim* is appended under it. From its offset on nothing of an older epoch can land: the log below is final.
3. The log is folded from its start up to exactly the own claim: the newest record of each instance. No end offsets.
4. Producer ids run out and expire. An older one that is not shut out yet (its claim is there, its barrier is not) gets
   the barrier; then comes a second claim, and the fold goes on to that: until the barrier the old id could still write.

A reader that is slower than compaction's removal of nulls could see an old record, and neither the newer ones nor the
null: the fold must end within the topic's ``delete.retention.ms``, or it begins again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json, to_json

from orchestra.clock import Clock
from orchestra.coordinator.exchange import Restored
from orchestra.coordinator.record import CLAIM, POSITION, VALUE, VERSIONS, Marks, from_headers
from orchestra.errors import FenceBreachedError, FencedError, OffsetLostError
from orchestra.transport.port import FencedLog, Partition, Reader, Record, Transport

_MOST_GENERATIONS = 100
_BEGINNING = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Claim:
    """What an owner says of itself in its claim. ``topics``: topic -> its id, where the cluster tells one."""

    owner: str
    host: str
    flows: Mapping[str, str]
    partitions: int
    topics: Mapping[str, str]

    def encode(self, log: FencedLog) -> bytes:
        """The value of the claim that this owner writes to a log."""
        return to_json(
            {
                "producer_id": log.identity.producer_id,
                "epoch": log.identity.epoch,
                "owner": self.owner,
                "host": self.host,
                "flows": dict(self.flows),
                "partitions": self.partitions,
                "topics": dict(self.topics),
            }
        )


@dataclass(slots=True)
class Fold:
    """What a log says, record by record; pure. Position, mark and time are the highest that any header tells."""

    records: dict[str, tuple[int, Marks, bytes]] = field(default_factory=dict[str, tuple[int, Marks, bytes]])
    values: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """By key."""
    position: int = -1
    emitted: int = -1
    now: datetime = _BEGINNING
    versions: dict[str, Any] = field(default_factory=dict[str, Any])
    claims: dict[int, int] = field(default_factory=dict[int, int])
    """Producer ids that are not shut out -> the offset of their newest claim."""
    shut_out: set[int] = field(default_factory=set[int])
    """Producer ids whose barrier was found."""
    claimed: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the newest claim says."""
    named: int = -1
    """The highest claim that a record names as its own."""

    def take(self, record: Record) -> None:
        """The next record of the log. Raises FenceBreachedError for one that the fence should have kept out."""
        key = (record.key or b"").decode(errors="replace")
        if key.startswith(CLAIM):
            self._claim(int(key.removeprefix(CLAIM)), record)
            return
        try:
            marks = from_headers(record.headers)
        except ValueError as error:
            raise FenceBreachedError(f"{record} was written by no owner: {error}") from None
        self._check(record, marks)
        self.position = max(self.position, marks.position)
        self.emitted = max(self.emitted, marks.emitted)
        self.now = max(self.now, marks.now)
        if key == VERSIONS:
            self.versions = from_json(record.value or b"{}")
        elif key.startswith(VALUE):
            if record.value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = record.value
        elif record.value is None:
            self.records.pop(key, None)
        elif key != POSITION:
            self.records[key] = (record.offset, marks, record.value)

    def _claim(self, producer_id: int, record: Record) -> None:
        if record.value is None:
            self.claims.pop(producer_id, None)
            self.shut_out.add(producer_id)
        else:
            self.claims[producer_id] = record.offset
            self.shut_out.discard(producer_id)  # a broker that forgot the barrier takes the id again, from its owner
            self.claimed = from_json(record.value)

    def _check(self, record: Record, marks: Marks) -> None:
        """A record under a claim that was superseded before it: somebody wrote whom the fence should have refused.

        Claims are compared by their offsets: epochs begin at 0 again with each producer id. Such a record is an alarm,
        and never skipped.
        """
        newest = max(self.named, self.claims.get(marks.producer_id, -1))
        if marks.producer_id in self.shut_out:
            raise FenceBreachedError(f"{record} was written by producer id {marks.producer_id}, which is shut out")
        if marks.claim < newest:
            raise FenceBreachedError(
                f"{record} names the claim at {marks.claim}, and stands behind the one at {newest}"
            )
        self.named = marks.claim

    def older_ids(self, producer_id: int) -> list[int]:
        """Producer ids other than this one that could still write."""
        return [other for other in self.claims if other != producer_id]

    def restored(self, producer_id: int, claim: int) -> Restored:
        """The fold up to the claim."""
        return Restored(producer_id, claim, self.position, self.emitted, self.now, self.records, self.values)


@dataclass(frozen=True, slots=True)
class Acquired:
    """A shard's log under a new claim, and what it says. ``previous``: what the claim before said, or nothing."""

    log: FencedLog
    restored: Restored
    versions: Mapping[str, Any]
    previous: Mapping[str, Any]


async def acquire(
    transport: Transport,
    transactional_id: str,
    partition: Partition,
    claim: Claim,
    *,
    delete_retention: float,
    clock: Clock,
) -> Acquired:
    """Claim a shard's log and fold it. ``delete_retention``: seconds that the topic keeps nulls.

    A failure leaves the log closed: try again, which takes a new identity. Raises TransportError; FenceBreachedError
    means that somebody must look; FencedError that a newer owner was faster.
    """
    for generation in range(_MOST_GENERATIONS):
        name = f"{transactional_id}.{generation}" if generation else transactional_id
        log = await transport.fenced_log(name, partition)
        try:
            return await _acquire(
                _Taking(transport, log, partition, claim), delete_retention=delete_retention, clock=clock
            )
        except FencedError:
            await log.aclose()
            if not await _is_shut_out(transport, partition, log.identity.producer_id):
                raise
            # Two owners with two ids met while the transactional id changed its producer id, and the one that was
            # late shut out the other. That id can never write again: go on with another transactional id.
        except BaseException:
            await log.aclose()
            raise
    raise FencedError(f"every producer id of {transactional_id} is shut out of {partition.topic}[{partition.number}]")


async def _acquire(taking: _Taking, *, delete_retention: float, clock: Clock) -> Acquired:
    await taking.claim_log()
    while True:
        begun = clock.elapsed()
        try:
            fold = await taking.fold()
        except OffsetLostError:
            continue  # the log's start moved while it was read
        if clock.elapsed() - begun < delete_retention:
            restored = fold.restored(taking.log.identity.producer_id, taking.claimed)
            return Acquired(taking.log, restored, fold.versions, taking.previous)


async def _is_shut_out(transport: Transport, partition: Partition, producer_id: int) -> bool:
    """Whether the log holds a barrier for the id: a null at its claim's key."""
    key, is_shut_out = f"{CLAIM}{producer_id}".encode(), False
    end = (await transport.topics.bounds([partition]))[partition].end
    reader = await transport.reader(partition)
    try:
        # a record of ours may be the last one, or compacted away: an empty fetch is the end as well
        while records := await reader.fetch(max_records=1000, timeout=1.0):
            for record in records:
                if record.key == key:
                    is_shut_out = record.value is None
            if records[-1].offset >= end - 1:
                break
    finally:
        await reader.aclose()
    return is_shut_out


class _Taking:
    """One attempt to take a log over."""

    def __init__(self, transport: Transport, log: FencedLog, partition: Partition, claim: Claim) -> None:
        self._transport = transport
        self.log = log
        self._partition = partition
        self._claim = claim
        self._own = log.identity.producer_id
        self.claimed = -1
        self.previous: Mapping[str, Any] = {}

    async def claim_log(self) -> None:
        acknowledged = await self.log.append(f"{CLAIM}{self._own}".encode(), self._claim.encode(self.log))
        self.claimed = await acknowledged

    async def fold(self) -> Fold:
        fold, first = Fold(), self.claimed
        reader = await self._transport.reader(self._partition)
        unread: deque[Record] = deque()
        try:
            await self._fold_to(first, fold, reader, unread)
            while older := fold.older_ids(self._own):
                for producer_id in older:
                    await self._transport.shut_out(producer_id, self._partition, f"{CLAIM}{producer_id}".encode())
                await self.claim_log()
                await self._fold_to(self.claimed, fold, reader, unread)
        finally:
            await reader.aclose()
        return fold

    async def _fold_to(self, claim: int, fold: Fold, reader: Reader, unread: deque[Record]) -> None:
        """Fold up to exactly the own claim at that offset."""
        while True:
            if not unread:
                unread.extend(await reader.fetch(max_records=1000, timeout=1.0))
                await asyncio.sleep(0)
                continue
            record = unread.popleft()
            if record.offset > claim:
                raise FencedError(f"the claim at {claim} is no longer in the log: a newer owner has claimed it")
            if record.offset == claim:
                self.previous = self.previous or fold.claimed
            fold.take(record)
            if record.offset == claim:
                return
