"""How does a service run in one process, from start to drained stop?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence

from orchestra.clock import Clock, SystemClock
from orchestra.health.facts import GroupFacts, UnitFacts
from orchestra.ids import Jitter, system_jitter
from orchestra.service.assignment import Assignment
from orchestra.service.background import BackgroundTasks, Surroundings
from orchestra.service.batching import Batches, allowance
from orchestra.service.binding import Binder
from orchestra.service.circuits import Circuits
from orchestra.service.committing import Committer
from orchestra.service.dead_lettering import DeadLettering
from orchestra.service.deadline import Deadlines
from orchestra.service.deployment import deploy, needed_topics
from orchestra.service.detouring import Detouring
from orchestra.service.drain import drain
from orchestra.service.failing import Failing
from orchestra.service.isolation import Isolation
from orchestra.service.lanes import Lanes
from orchestra.service.processor import Processor
from orchestra.service.publishing import Publishing
from orchestra.service.resources import OpenResources
from orchestra.service.routing import Routes
from orchestra.service.service import Service
from orchestra.service.share import Share, Worker
from orchestra.service.statistics import Statistics
from orchestra.service.threads import Threads
from orchestra.service.vitals import lost_handlers, partition_facts
from orchestra.settings import Settings
from orchestra.transport.port import Record, Subscription, TopicSpec, Transport

_log = logging.getLogger(__name__)

_FETCH_SECONDS = 0.2
"""The longest that a stop waits for the fetch under way."""
_BUFFER_BYTES = 32 << 20
_LEAST_BUFFER = 512
"""Records queued at most, where few handlers run at once: a round of fetching costs as much as handling ten."""


class ServiceRuntime:
    """Runs one service in this process: ``await start()``, then ``await run()`` until :meth:`stop` is called.

    Args:
        service: what to run.
        transport: started by the caller, and closed by it afterwards.
        settings: names on this cluster, and timeouts.
        clock, jitter: time and chance, so that tests own them.
        grace: seconds that a handler may ignore its cancellation before it is given up: its record becomes a dead
            letter with reason TIMEOUT, and the key goes on.

    Raises:
        DefinitionError: the service cannot be run as it is declared.
    """

    def __init__(
        self,
        service: Service,
        transport: Transport,
        settings: Settings,
        *,
        clock: Clock | None = None,
        jitter: Jitter = system_jitter,
        grace: float = 5.0,
    ) -> None:
        service.check()
        self._service = service
        self._settings = settings
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._grace = grace
        self._statistics = Statistics()
        self._resources = OpenResources()
        self._threads = Threads(service.threads, service.name)
        self._batches: Batches | None = None
        self._batch_sizes = {settings.topic(topic): size for topic, size in service.batch_sizes.items()}
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._rounds = 0
        self._fetched = self._received = self._clock.elapsed()
        self._given_up: dict[Worker, float] = {}
        self._is_started = False
        self._is_closed = False
        # A queue of a few rounds keeps the workers busy while the next fetch is under way.
        self._buffer = max(_LEAST_BUFFER, 4 * service.max_in_flight)
        self._assignment = Assignment(self._leave, self._announce, high_water=self._buffer // 4, ahead=self._buffer)
        self._publisher = transport.publisher()
        self._background = BackgroundTasks(self._surroundings())
        self._detouring = Detouring(service, settings, transport, self._clock, self._statistics)
        declared = {settings.topic(topic) for topic in service.command_topics | service.event_topics}
        topics = sorted(declared | self._detouring.topics.keys())
        group = settings.scoped(service.name)
        self._subscription = Subscription(group, topics, together=self._detouring.together)
        self._consumer = self._assignment.consumer = transport.consumer(self._subscription, self._assignment)
        self._committer = Committer(
            self._consumer, self._assignment.shares, self._statistics, timeout=settings.request_timeout
        )
        self._lanes = Lanes(limit=service.max_in_flight, on_done=self._committer.on_done, on_held=self._on_held)
        self._isolation = Isolation(self._lanes, self._committer)
        self._committer.on_committed = self._isolation.on_committed
        self._circuits = Circuits(service, self._lanes, jitter)
        self._deadlines = Deadlines(self._lanes, grace=grace, on_abandoned=self._count_abandoned)

    def _surroundings(self) -> Surroundings:
        here = deploy(self._service, self._settings)
        return Surroundings(
            group=here.group,
            version=here.version,
            dead_letters=here.dead_letters,
            topic=here.topic,
            publisher=self._publisher,
            clock=self._clock,
            jitter=self._jitter,
            stopping=asyncio.Event(),
            statistics=self._statistics.background,
        )

    def needed_topics(self) -> list[TopicSpec]:
        """The topics that must exist, as they are named on this cluster."""
        return needed_topics(self._service, self._settings)

    def statistics(self) -> Statistics:
        """What was done since the start, and what is under way. A live object: copy what you want to keep."""
        now, shares = self._statistics, self._assignment.shares.values()
        now.queued = self._lanes.queued
        now.lost_threads = self._threads.lost
        now.down = self._circuits.down()
        now.workers = len(self._lanes.workers)
        now.partitions = len(shares)
        now.paused = sum(share.is_paused and not share.is_held_back for share in shares)
        return now

    def health(self) -> UnitFacts:
        """What is under way at this moment, for whoever judges whether it is well."""
        shares, lanes = self._assignment.shares.values(), self._lanes
        group = GroupFacts(
            group=self._subscription.group,
            topics=tuple(self._subscription.topics),
            is_member=self._consumer.is_member,
            fetched=self._fetched,
            received=self._received,
            partitions=partition_facts(shares, lanes, self._consumer),
        )
        lost = lost_handlers(self._given_up, lanes)
        return UnitFacts(self._service.name, (group,), lost, is_stopping=self._stopping.is_set())

    # ---- life

    async def start(self) -> None:
        """Open the resources and join the group.

        Raises:
            UnreachableError, TopicError, AccessDeniedError: of the transport.
        """
        try:
            await self._resources.open(self._service.resources_to_open())
            processor = self._make_processor()
            self._lanes.handle = processor.handle
            self._batches = processor.batches
            await self._publisher.start()
            await self._consumer.start()
            self._background.start(self._service.background, self._resources.values)
        except BaseException:
            await self._aclose()
            raise
        self._is_started = True

    def _make_processor(self) -> Processor:
        deployment = deploy(self._service, self._settings)
        binder = Binder(
            self._service,
            self._resources.values,
            self._threads,
            topic=deployment.topic,
            types=deployment.types,
            clock=self._clock,
        )
        routes = Routes(binder.bind_all())
        publishing = self._detouring.publishing = Publishing(
            self._publisher, self._clock, self._jitter, self._statistics
        )
        clock, statistics = self._clock, self._statistics
        dead_lettering = DeadLettering(deployment, publishing, clock, statistics)
        failing = Failing(dead_lettering, self._circuits, self._detouring, clock, self._jitter, statistics)
        return Processor(deployment, routes, publishing, self._deadlines, clock, statistics, failing)

    async def run(self) -> None:
        """Handle records until :meth:`stop` is called, then drain and leave. Cancelling it does the same.

        Raises:
            OffsetLostError: records were deleted before they were handled; nothing is skipped silently.
            AccessDeniedError: of the transport.
        """
        if not self._is_started:
            await self.start()
        self._fetched = self._received = self._clock.elapsed()
        name = self._service.name
        beside = {
            asyncio.create_task(self._committer.run(), name=f"orchestra-commit-{name}"),
            asyncio.create_task(self._isolation.run(), name=f"orchestra-isolate-{name}"),
        }
        try:
            while not self._stopping.is_set():
                await self._fetch()
        finally:
            await self.drain()
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)
            await self._aclose()

    def stop(self) -> None:
        """Take nothing more, finish what is under way within the settings' ``drain_timeout``, and let :meth:`run`
        return. Called a second time: wait for nothing."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def drain(self) -> None:
        """Finish what is under way, commit it, and forget all partitions."""
        self._stopping.set()
        await self._assignment.on_revoked([share.partition for share in self._assignment.shares.values()])

    async def _aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._deadlines.aclose()
        self._circuits.aclose()
        await self._consumer.aclose()
        await self._lanes.aclose(self._grace if not self._hurry.is_set() else 0.1)
        self._threads.aclose()
        await self._background.aclose()
        await self._publisher.aclose()
        await self._resources.aclose()

    async def _announce(self, shares: Collection[Share]) -> None:
        await self._detouring.prepare(shares, self._consumer)
        await self._committer.commit(shares)

    def _on_held(self, share: Share) -> None:
        self._isolation.on_held(share)

    async def _leave(self, shares: Collection[Share]) -> None:
        settings = self._settings
        timeout = settings.drain_timeout
        if not self._stopping.is_set():  # a rebalance: who drains too long, and then commits, is put out of the group
            timeout = min(timeout, max(settings.rebalance_timeout - 10.0, settings.rebalance_timeout / 2))
        await drain(shares, self._lanes, self._committer, timeout=timeout, hurry=self._hurry)

    # ---- records

    async def _fetch(self) -> None:
        assignment = self._assignment
        room = self._room()
        is_full = room <= 0
        if is_full:
            low = max(self._lanes.queued - self._buffer // 2, self._buffer // 2)
            await self._lanes.wait_room(low, _BUFFER_BYTES // 2, _FETCH_SECONDS)
            room = self._room()
        if room > 0:
            assignment.resume_emptied()
        else:  # full for a while: handlers are slow. Fetching goes on all the same, for it is the sign of life
            assignment.pause_hogs()
            if self._batches is not None and self._batch_sizes:
                self._batches.hurry(assignment.shares.values())
            room = max(1, self._room())
        # Awaited directly: between its last look at the assignment and _admit no other task runs, so no record of a
        # partition that was revoked meanwhile can be admitted to the share that followed it.
        records = await self._consumer.fetch(max_records=room, timeout=_FETCH_SECONDS)
        self._fetched = self._clock.elapsed()
        if records or is_full:
            self._received = self._fetched
        self._admit(records)
        self._rounds += 1
        if not records or self._rounds % 64 == 0:
            assignment.pass_over_idle()
            for share in assignment.held_up():
                if (worker := self._lanes.press(share)) is not None:
                    self._deadlines.press(worker)
        await asyncio.sleep(0)  # a fetch that need not wait would let nobody else run
        if self._lanes.failure is not None:
            raise self._lanes.failure

    def _room(self) -> int:
        """How many records more may be queued. Those of paused partitions do not count: a slow key fills up its own
        partition, and must not keep the others from theirs."""
        if self._lanes.queued_bytes > _BUFFER_BYTES:
            return 0
        room = self._buffer - self._lanes.queued + self._assignment.paused_queued()
        if self._batch_sizes:
            room += allowance(self._assignment.shares.values(), self._batch_sizes)
        return room

    def _admit(self, records: Sequence[Record]) -> None:
        assignment, shares = self._assignment, self._assignment.shares
        admit = self._admit_by_topic if self._batch_sizes else self._lanes.admit
        touched: set[Share] = set()
        for record in records:
            share = shares.get((record.topic, record.partition))
            if share is None or share.is_draining:
                continue
            touched.add(share)
            if share.delay is not None and assignment.holds_back(share, record, self._clock):
                continue
            if share.tracker.admit(record.offset):
                admit(share, record)
        assignment.pause_far(touched)

    def _admit_by_topic(self, share: Share, record: Record) -> None:
        if record.topic in self._batch_sizes:
            assert self._batches is not None
            self._batches.admit(share, record)
        else:
            self._lanes.admit(share, record)

    def _count_abandoned(self, worker: Worker) -> None:
        self._statistics.abandoned += 1
        if worker.task is not None:
            self._threads.give_up(worker.task)
        self._given_up[worker] = self._clock.elapsed()
        _log.error("handler %s ignored its cancellation for %.0f s and was given up", worker.handler, self._grace)
