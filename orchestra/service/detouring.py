"""How does a record get into a retry topic and out of it, and who knows which keys are there?

Durable without a topic of its own: what stands in the retry topics is the truth. Whoever is assigned a source partition
is assigned the same-numbered partitions of all retry topics with it (``Subscription.together``), and reads them from
the group's places to their ends before the first record of either is handed out. From then on it sees every record
that is put there or done there, because it does both itself.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from orchestra.clock import Clock
from orchestra.errors import DecodeError, PermanentError, RecordTooLargeError, TransportError
from orchestra.events.envelope import Envelope
from orchestra.retry import TIERS
from orchestra.service import retry_topic
from orchestra.service.binding import Binding
from orchestra.service.detour import Detour
from orchestra.service.offsets import Place, read_place
from orchestra.service.progress import Progress, Tries
from orchestra.service.publishing import Publishing
from orchestra.service.retry_topic import Detoured, Source, topic_of
from orchestra.service.service import Service
from orchestra.service.share import Share, Worker
from orchestra.service.statistics import Statistics
from orchestra.settings import Settings
from orchestra.transport.port import Committed, Consumer, Partition, Record, TopicState, Transport

_log = logging.getLogger(__name__)

_READ = 500
_READ_SECONDS = 2.0
_AGAIN_SECONDS = 1.0


class Detouring:
    """The retry topics of one service in one process.

    Args:
        service, settings: which there are, and for which handlers.
        transport: read at each assignment.
    """

    def __init__(
        self, service: Service, settings: Settings, transport: Transport, clock: Clock, statistics: Statistics
    ) -> None:
        later = [handler for handler in service.handlers if handler.retry.later]
        tiers = sorted({str(tier) for handler in later for tier in handler.retry.later}, key=lambda tier: TIERS[tier])
        self.topics = {settings.topic(topic_of(service.name, tier)): tier for tier in tiers}
        """Retry topic on this cluster -> its tier."""
        self._topic_of = {tier: topic for topic, tier in self.topics.items()}
        keeping = [handler for handler in later if handler.retry.order != "unordered"]
        self._keeping = frozenset(handler.name for handler in keeping)
        """Handlers whose later records follow one of their key that is in a retry topic."""
        sources = {settings.topic(topic) for handler in keeping for topic in handler.reads.topics}
        self.together = frozenset(sources | self.topics.keys()) if keeping else frozenset[str]()
        """Topics whose same-numbered partitions must be one member's."""
        self.publishing: Publishing | None = None
        """Set before the first record comes."""
        self._transport = transport
        self._clock = clock
        self._statistics = statistics
        self._counts: dict[str, int] = {}

    # ---- partitions come

    async def prepare(self, shares: Collection[Share], consumer: Consumer) -> None:
        """See what stands in the retry topics that came with these shares. Returns when it is known; until then no
        record of theirs is handed out, so brokers that are away are waited for."""
        if not self.topics:
            return
        while True:
            try:
                await self._prepare(shares, consumer)
                return
            except TransportError as error:
                _log.warning("the retry topics cannot be read yet: %s", error)
                await self._clock.sleep(_AGAIN_SECONDS)

    async def _prepare(self, shares: Collection[Share], consumer: Consumer) -> None:
        states = await self._transport.topics.describe(list(self.topics))
        self._counts = {name: state.partitions for name, state in states.items()}
        concerned = [share for share in shares if share.partition.topic in self.together]
        numbers = {share.partition.number for share in concerned}
        detours = await self._read(numbers, states, {share.partition: share.committed for share in shares}, consumer)
        for share in shares:
            tier = self.topics.get(share.partition.topic)
            share.delay = None if tier is None else TIERS[tier]
            share.detour = detours.get(share.partition.number) if share in concerned else None
            share.is_plain = share.delay is None and share.detour is None

    async def _read(
        self,
        numbers: Collection[int],
        states: Mapping[str, TopicState],
        places: Mapping[Partition, Committed | None],
        consumer: Consumer,
    ) -> dict[int, Detour]:
        """Number -> what stands in the retry topics' partitions of that number and is not done."""
        detours = {number: Detour() for number in numbers}
        partitions = [
            Partition(name, number) for name, state in states.items() for number in numbers if number < state.partitions
        ]
        bounds = await self._transport.topics.bounds(partitions) if partitions else {}
        for partition, (start, end) in bounds.items():
            if start >= end:
                continue
            committed = places[partition] if partition in places else await consumer.committed(partition)
            place = Place(start) if committed is None else read_place(committed.offset, committed.metadata)
            if max(start, place.base) < end:
                await self._read_one(partition, max(start, place.base), end, place.done, detours[partition.number])
        return detours

    async def _read_one(
        self, partition: Partition, start: int, end: int, done: Collection[int], detour: Detour
    ) -> None:
        reader = await self._transport.reader(partition, offset=start)
        try:
            reached = start
            while reached < end:
                records = await reader.fetch(max_records=_READ, timeout=_READ_SECONDS)
                for record in records:
                    if record.offset < end and record.offset not in done:
                        self._note(record, detour)
                    reached = record.offset + 1
                if not records:  # slow, or deleted meanwhile: nothing else makes holes there
                    reached = max(reached, (await self._transport.topics.bounds([partition]))[partition].start)
        finally:
            await reader.aclose()

    def _note(self, record: Record, detour: Detour) -> None:
        try:
            about = retry_topic.read(record)
        except DecodeError:  # a dead letter, when its turn comes
            return
        if record.key is not None and about.handler in self._keeping:
            detour.add(record.key, about, record.topic, record.offset)

    # ---- records come

    def begin(self, record: Record, event: Envelope, candidates: Iterable[Binding], share: Share) -> Progress:
        """How far a record of a retry topic has come: its one handler, its next try, and when that is due.

        Raises:
            DecodeError: it was not put there by us.
            PermanentError: its handler is not here any more.
        """
        about = retry_topic.read(record)
        binding = next((each for each in candidates if each.name == about.handler), None)
        if binding is None:
            raise PermanentError(f"it waited for handler {about.handler}, which there is not any more for {event.type}")
        if share.detour is not None:
            self._note(record, share.detour)
        progress = Progress(event, (binding,))
        [tries] = progress.left
        tries.came = about
        tries.attempt = about.attempt
        tries.first_failure = about.first_failure
        tries.not_before = retry_topic.due(record, share.delay or 0.0, about)
        return progress

    def is_early(self, tries: Tries, now: float) -> bool:
        """Whether a record of a retry topic is not due yet, by this machine's clock. Then it has a time to go on at;
        it is asked again then, for the clock may have been put back."""
        wait = tries.not_before - self._clock.now().timestamp()
        if wait > 0:
            tries.due = now + wait
            tries.why = f"waits for try {tries.attempt}, in the retry topic"
            return True
        self._statistics.latest_retry = max(self._statistics.latest_retry, -wait)
        tries.not_before = 0.0
        return False

    async def leaves(self, tries: Tries, record: Record, worker: Worker) -> bool:
        """Whether a handler must not have a record here and now: an earlier one of its key is in a retry topic, and now
        it is behind it there; or another copy of it is.

        Raises:
            PermanentError: it cannot follow.
            GivenUp: the partition is being taken away meanwhile.
        """
        assert worker.lane is not None
        detour, name = worker.lane.share.detour, tries.binding.name
        if detour is None or record.key is None or name not in self._keeping:
            return False
        source = _source(record, tries)
        if tries.came is None:
            if detour.is_on(name, record.key, source):
                return True
        elif detour.is_superseded(record.topic, record.offset):
            return True
        topic = detour.ahead_of(name, record.key, source)
        if topic is None:
            return False
        try:
            await self._put(topic, tries, record, worker)
        except RecordTooLargeError as error:
            raise PermanentError("an earlier record of its key is in a retry topic, which does not take it") from error
        self._statistics.followed += 1
        return True

    # ---- records leave

    async def divert(self, tier: str, tries: Tries, record: Record, worker: Worker, *, least: float = 0.0) -> None:
        """Put a record on a retry topic, for one handler; ``tries`` says which try comes next. Returns once it is
        stored: then the handler is done with it here. Unless the handler's order is "unordered", later records of the
        key follow it from now on.

        Args:
            tier: one of the handler's ``later``.
            least: seconds that must pass before the next try, where that is longer than the tier.

        Raises:
            RecordTooLargeError: it is too large with its headers.
            GivenUp: the partition is being taken away meanwhile.
        """
        await self._put(self._topic_of[tier], tries, record, worker, least=least)
        self._statistics.diverted += 1

    async def _put(self, topic: str, tries: Tries, record: Record, worker: Worker, *, least: float = 0.0) -> None:
        assert self.publishing is not None
        assert worker.lane is not None
        detour, tier = worker.lane.share.detour, self.topics[topic]
        error = tries.last_error
        about = Detoured(
            handler=tries.binding.name,
            attempt=tries.attempt,
            hop=tries.came.hop + 1 if tries.came else 1,
            source=_source(record, tries),
            first_failure=tries.first_failure,
            not_before=self._clock.now().timestamp() + least if least > TIERS[tier] else 0.0,
            error_class=type(error).__qualname__ if error else tries.came.error_class if tries.came else "",
        )
        outgoing = retry_topic.put(record, about, topic=topic, tier=tier)
        count = self._counts.get(topic, 0)
        if count and record.partition >= count:  # the source has grown since, and the start checks were not run again
            outgoing = replace(outgoing, partition=record.partition % count)
        position = await self.publishing.store(outgoing, worker)
        is_ours = position.partition == record.partition  # else another detour has it, and order is not kept
        if detour is not None and record.key is not None and about.handler in self._keeping and is_ours:
            detour.put(record.key, about, position)


def _source(record: Record, tries: Tries) -> Source:
    """Where it was read first. What a record of another topic says of that in its headers is nothing to us."""
    if tries.came is not None:
        return tries.came.source
    return Source(record.topic, record.partition, record.offset, record.timestamp_ms)
