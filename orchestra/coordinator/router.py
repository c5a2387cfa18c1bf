"""Which flows does an event start, and which instances wait for it? The router: one record in the inbox for each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from orchestra.clock import Clock
from orchestra.coordinator.inbox import INPUT, INSTANCE
from orchestra.coordinator.letters import coordinator_letter
from orchestra.coordinator.names import Names
from orchestra.errors import (
    CommitFailedError,
    DecodeError,
    HopLimitError,
    OffsetLostError,
    RecordTooLargeError,
    TransportError,
    UnreachableError,
)
from orchestra.events.cloudevents import decode
from orchestra.events.envelope import Envelope
from orchestra.events.hops import next_hop
from orchestra.flows.decision import Definition, instance_id
from orchestra.health.facts import GroupFacts, PartitionFacts
from orchestra.service.dead_letter import without_payload
from orchestra.settings import Settings
from orchestra.transport.partitioner import partition_for
from orchestra.transport.port import (
    Committed,
    Consumer,
    Outgoing,
    Partition,
    Position,
    Publisher,
    Record,
    Subscription,
    Transport,
)

_log = logging.getLogger(__name__)

_BATCH = 500
_COMMIT_EVERY = 1.0


class Routes:
    """What becomes of a record of a topic that flows start on or listen to; pure.

    Args:
        definitions: of several versions of a flow the newest decides what is started, and all of them who listens.
        partitions: of the inbox.
        hop_limit: how many events may lead to one, each the cause of the next.
    """

    def __init__(
        self, definitions: Iterable[Definition], names: Names, partitions: int, *, hop_limit: int = 64
    ) -> None:
        self._hop_limit = hop_limit
        self._names = names
        self._partitions = partitions
        newest: dict[tuple[str, str], Definition] = {}
        self._listeners: dict[str, list[Definition]] = {}
        for definition in sorted(definitions, key=lambda each: each.version):
            newest |= {(kind, definition.name): definition for kind in definition.starts_on}
            for kind in definition.listens_to:
                self._listeners.setdefault(kind, []).append(definition)
        self._starts: dict[str, list[Definition]] = {}
        for (kind, _), definition in newest.items():
            self._starts.setdefault(kind, []).append(definition)

    def route(self, record: Record, clock: Clock) -> list[Outgoing]:
        """A record for the inbox for each flow that the event starts, then for each instance that it is for; a dead
        letter where one of them cannot be found; nothing for other types."""
        try:
            event = decode(record.headers, record.value)
        except DecodeError as error:
            return [self._letter(record, "DECODE", error, clock)]
        if event.type in self._starts or event.type in self._listeners:
            try:
                next_hop(event, self._hop_limit)  # of what the flow would send
            except HopLimitError as error:
                return [self._letter(record, "HOP_LIMIT", error, clock)]
        found: dict[tuple[bytes, str], Outgoing] = {}
        failed: Exception | None = None
        for kind, ids in self._instances(event):
            try:
                for instance in ids():
                    found.setdefault((kind, instance), self._input(record, kind, instance.encode()))
            except Exception as error:  # DecodeError, or whatever a validator of the message's raises
                failed = failed or error
        letters = [self._letter(record, "CONTRACT", failed, clock)] if failed is not None else []
        return [*found.values(), *letters]

    def _instances(self, event: Envelope) -> Iterator[tuple[bytes, Callable[[], list[str]]]]:
        for definition in self._starts.get(event.type, ()):
            yield b"start", partial(_started, definition, event)
        for definition in self._listeners.get(event.type, ()):
            yield b"event", partial(_listening, definition, event)

    def _input(self, record: Record, kind: bytes, instance: bytes) -> Outgoing:
        headers = [*record.headers, (INPUT, kind), (INSTANCE, instance)]
        number = partition_for(instance, self._partitions)
        return Outgoing(self._names.inbox, instance, record.value, headers, number)

    def _letter(self, record: Record, reason: str, error: Exception, clock: Clock) -> Outgoing:
        _log.warning("%s goes to the dead letters: %s", record, error)
        return coordinator_letter(self._names, record, reason=reason, error=error, now=clock.now())


def _started(definition: Definition, event: Envelope) -> list[str]:
    return [instance_id(definition.name, definition.key_of(event))]


def _listening(definition: Definition, event: Envelope) -> list[str]:
    return [instance_id(definition.name, key) for key in definition.keys_of(event)]


@dataclass(slots=True)
class RouterCounters:
    """What the router did since the process started."""

    read: int = 0
    routed: int = 0
    skipped: int = 0
    dead_lettered: int = 0


@dataclass(slots=True)
class _Places:
    """Next offsets that are wholly routed, and those that the group knows."""

    done: dict[Partition, int] = field(default_factory=dict[Partition, int])
    told: dict[Partition, int] = field(default_factory=dict[Partition, int])


class Router:
    """A consumer group of its own, one member per process. At least once: starts are idempotent, and a flow
    takes an event once."""

    def __init__(
        self,
        routes: Routes,
        names: Names,
        topics: Collection[str],
        transport: Transport,
        publisher: Publisher,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self.counters = RouterCounters()
        self._routes = routes
        self._names = names
        self._publisher = publisher
        self._topics = transport.topics
        self._settings = settings
        self._clock = clock
        self._consumer: Consumer = transport.consumer(Subscription(names.router_group, topics), self)
        self._start_topics = sorted(topics)
        self._fetched = self._received = clock.elapsed()
        self._places = _Places()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_stopping = False
        self._is_revoking = False

    async def start(self) -> None:
        """Join the group. Raises TransportError."""
        await self._consumer.start()

    def stop(self) -> None:
        self._is_stopping = True

    async def aclose(self) -> None:
        """Leave the group. Idempotent."""
        self._is_stopping = True
        await self._consumer.aclose()

    def health(self) -> GroupFacts:
        """What is under way at this moment."""
        return GroupFacts(
            group=self._names.router_group,
            topics=tuple(self._start_topics),
            is_member=self._consumer.is_member,
            fetched=self._fetched,
            received=self._received,
            partitions=tuple(self._facts(each) for each in sorted(self._consumer.assignment())),
        )

    def _facts(self, partition: Partition) -> PartitionFacts:
        position, done = self._consumer.position(partition), self._places.done.get(partition)
        window = int(not self._idle.is_set())  # where nothing is routed yet, but may be on its way
        if position is not None and done is not None:
            window = position - done
        return PartitionFacts(partition, self._places.told.get(partition), position, window)

    async def run(self) -> None:
        """Route until stopped."""
        committed_at = self._fetched = self._received = self._clock.elapsed()
        while not self._is_stopping:
            try:
                records = await self._consumer.fetch(max_records=_BATCH, timeout=0.5)
            except OffsetLostError as error:
                await self._pass_over(error)
                continue
            self._fetched = self._clock.elapsed()
            if records:
                await self._take(records)
                self._fetched = self._received = self._clock.elapsed()
            if self._clock.elapsed() - committed_at >= _COMMIT_EVERY:
                committed_at = self._clock.elapsed()
                await self._commit()

    async def _take(self, records: Sequence[Record]) -> None:
        self._idle.clear()
        try:
            out: list[Outgoing] = []
            for record in records:
                out += self._count(self._routes.route(record, self._clock))
            if await self._publish(out):
                self._places.done |= {Partition(r.topic, r.partition): r.offset + 1 for r in records}
        finally:
            self._idle.set()

    def _count(self, out: list[Outgoing]) -> list[Outgoing]:
        letters = sum(each.topic == self._names.dead_letters for each in out)
        self.counters.read += 1
        self.counters.routed += len(out) - letters
        self.counters.dead_lettered += letters
        self.counters.skipped += not out
        return out

    async def _publish(self, out: list[Outgoing]) -> bool:
        """Store all, in order, however long it takes; False when the partitions go first."""
        failures = 0
        while out and not self._is_revoking:
            out = await self._try_publish(out)
            self._fetched = self._received = self._clock.elapsed()  # brokers that take nothing are no dead client
            if out:
                failures += 1
                await self._clock.sleep(min(0.1 * 2 ** min(failures, 6), 5.0))
        return not out

    async def _try_publish(self, out: list[Outgoing]) -> list[Outgoing]:
        """What is left to do: the first that failed and all behind it, so that a key's order holds."""
        futures: list[asyncio.Future[Position]] = []
        for each in out:
            try:
                futures.append(await self._publisher.send(each))
            except TransportError as error:
                _log.warning("the router could not publish: %s", error)
                break
        if futures:
            await asyncio.wait(futures)
        for index, future in enumerate(futures):
            if (failure := future.exception()) is not None:
                return [*self._instead(out[index], failure), *out[index + 1 :]]
        return out[len(futures) :]

    def _instead(self, failed: Outgoing, error: BaseException) -> list[Outgoing]:
        _log.warning("the router could not publish to %s: %s", failed.topic, error)
        if not isinstance(error, RecordTooLargeError):
            return [failed]
        if failed.topic == self._names.dead_letters:
            return [without_payload(failed)] if failed.value is not None else []
        source = Record(failed.topic, failed.partition or 0, -1, 0, failed.key, failed.value, failed.headers)
        return [coordinator_letter(self._names, source, reason="TOO_LARGE", error=error, now=self._clock.now())]

    async def _pass_over(self, error: OffsetLostError) -> None:
        """Events were deleted before they were read: nothing can bring them back, so say it and go on."""
        _log.critical("events were deleted before the router read them: %s", error)
        lost = [Partition(*each) for each in error.lost] or list(self._consumer.assignment())
        try:
            for partition, bounds in (await self._topics.bounds(lost)).items():
                self._consumer.seek(partition, bounds.start)
        except TransportError as again:
            _log.warning("the router could not find where to go on: %s", again)
            await self._clock.sleep(1.0)

    # ---- offsets

    async def on_assigned(self, partitions: Collection[Partition]) -> None:
        """Ours now."""
        self._is_revoking = False
        self._places = _Places()

    async def on_revoked(self, partitions: Collection[Partition]) -> None:
        """Finish the batch, and commit."""
        self._is_revoking = True
        try:
            async with asyncio.timeout(min(self._settings.drain_timeout, self._settings.rebalance_timeout / 2)):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("the router could not finish its batch; it is routed again")
        await self._commit()

    async def _commit(self) -> None:
        new = {p: offset for p, offset in self._places.done.items() if self._places.told.get(p) != offset}
        if not new:
            return
        try:
            await self._consumer.commit({partition: Committed(offset) for partition, offset in new.items()})
            self._places.told |= new
        except (CommitFailedError, UnreachableError) as error:
            _log.info("the router's places were not stored: %s", error)
