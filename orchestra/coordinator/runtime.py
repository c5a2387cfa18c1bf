"""How does a coordinator run in a process? One consumer of the inbox, a keeper per shard, the router.

Who does what: the fetch loop alone calls ``fetch``, hands records to owners and never waits for one; each keeper is one
task and alone touches its shard; the transport calls ``on_assigned`` and ``on_revoked`` from a task of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Collection
from dataclasses import asdict
from itertools import groupby
from typing import Any

from orchestra.clock import Clock, SystemClock
from orchestra.coordinator.coordinator import Coordinator
from orchestra.coordinator.keeper import Keeper, Plan
from orchestra.coordinator.names import Names
from orchestra.coordinator.owner import LeaseLapsedError, Means
from orchestra.coordinator.restore import Claim
from orchestra.coordinator.router import Router, Routes
from orchestra.coordinator.trim import trim_inbox
from orchestra.coordinator.vitals import shard_facts, unready_shard
from orchestra.errors import CommitFailedError, OffsetLostError, TopicError, TransportError, UnreachableError
from orchestra.health.facts import GroupFacts, UnitFacts
from orchestra.ids import Jitter, new_id, system_jitter
from orchestra.settings import Settings
from orchestra.transport.port import (
    Committed,
    Partition,
    Record,
    Subscription,
    TopicSpec,
    TopicState,
    Transport,
)

_log = logging.getLogger(__name__)

_BATCH = 500
_MUCH = 2000
"""Records that may wait for one shard before its partition is paused; it goes on at half of that."""
_COMMIT_EVERY = 5.0
_TRIM_EVERY = 3600.0
_INBOX_DAYS = 30.0


class CoordinatorRuntime:
    """Runs a coordinator in this process, with others or alone.

    Args:
        coordinator: what to run.
        transport: started; closed by whoever started it.
        settings: names and durations.
        clock: the time.
        jitter: randomness for back-off.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        transport: Transport,
        settings: Settings,
        *,
        clock: Clock | None = None,
        jitter: Jitter = system_jitter,
    ) -> None:
        self.coordinator = coordinator
        self.names = Names.of(coordinator.name, settings)
        self.keepers: dict[int, Keeper] = {}
        self._transport = transport
        self._settings = settings
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._heard = self._received = self._clock.elapsed()
        self._fetches = 0
        self._paused: set[int] = set()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._fatal: asyncio.Future[None] | None = None
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._is_running = False
        self._absent: str | None = None
        self._publisher = transport.publisher()
        self._consumer = transport.consumer(Subscription(self.names.group, [self.names.inbox]), self)
        self._router = self._make_router()
        self._plan: Plan | None = None

    def needed_topics(self) -> list[TopicSpec]:
        """Every topic that this coordinator reads or writes, as it must be."""
        return self.coordinator.needed_topics(self._settings)

    # ---- life

    async def start(self) -> None:
        """Check the topics, join the groups. Raises TopicError, UnreachableError, AccessDeniedError."""
        self._heard = self._clock.elapsed()
        self._plan = self._make_plan(await self._own_topics())
        self._fatal = asyncio.get_running_loop().create_future()
        await self._publisher.start()
        await self._consumer.start()
        if self._router is not None:
            await self._router.start()

    async def run(self) -> None:
        """Advance instances until :meth:`stop`, then settle and leave the groups.

        Recovers by itself from whatever passes. Raises DefinitionError when a flow's version has another graph than the
        one that ran before.
        """
        assert self._fatal is not None, "start() comes first"
        self._is_running = True
        try:
            async with asyncio.TaskGroup() as group:
                loops: set[asyncio.Future[None]] = {self._fatal}
                loops.add(group.create_task(self._fetch_loop()))
                loops.add(group.create_task(self._upkeep()))
                if self._router is not None:
                    loops.add(group.create_task(self._router.run()))
                await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
                self.stop()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            await self._close()
        if self._fatal.done():
            self._fatal.result()

    def stop(self) -> None:
        """Let :meth:`run` end, in good order. Idempotent."""
        self._stopping.set()
        if self._router is not None:
            self._router.stop()

    async def drain(self) -> None:
        """Stop, and return when everything that is decided is durable and sent, or the drain timeout is over."""
        self.stop()
        if self._is_running:
            await self._ended.wait()
        else:
            await self._close()

    async def _close(self) -> None:
        try:
            if self._router is not None:
                await self._router.aclose()
            await self._consumer.aclose()
            await self._end_keepers(list(self.keepers))
            await self._publisher.aclose()
        finally:
            self._ended.set()

    def statistics(self) -> dict[str, Any]:
        """Figures for logs and tests: of this process since it started, and of each shard now."""
        plan = self._plan
        return {
            "shards": {number: _figures(keeper) for number, keeper in sorted(self.keepers.items())},
            "owners": asdict(plan.means.counters) if plan is not None else {},
            "router": asdict(self._router.counters) if self._router is not None else {},
        }

    def health(self) -> UnitFacts:
        """What is under way at this moment, for whoever judges whether it is well."""
        mine = sorted(partition.number for partition in self._consumer.assignment())
        inbox = GroupFacts(
            group=self.names.group,
            topics=(self.names.inbox,),
            is_member=self._consumer.is_member,
            fetched=self._heard,
            received=self._received,
            partitions=tuple(
                shard_facts(keeper, Partition(self.names.inbox, number), self._consumer, is_full=number in self._paused)
                for number in mine
                if (keeper := self.keepers.get(number)) is not None
            ),
        )
        groups = (inbox,) if self._router is None else (inbox, self._router.health())
        unready = tuple(text for number in mine if (text := unready_shard(number, self.keepers.get(number))))
        return UnitFacts(self.coordinator.name, groups, unready=unready, is_stopping=self._stopping.is_set())

    # ---- making the parts

    def _make_router(self) -> Router | None:
        definitions = self.coordinator.definitions
        declared = [topic for each in definitions for topic in (*each.starts_on.values(), *each.listens_to.values())]
        topics = {self._settings.topic(topic) for topic in declared}
        if not topics:
            return None
        routes = Routes(definitions, self.names, self.coordinator.partitions, hop_limit=self._settings.hop_limit)
        return Router(routes, self.names, sorted(topics), self._transport, self._publisher, self._settings, self._clock)

    async def _own_topics(self) -> dict[str, TopicState]:
        own = {spec.name: spec for spec in self.needed_topics() if spec.partitions is not None}
        states = await self._transport.topics.describe(list(own))
        for name, spec in own.items():
            state = states.get(name)
            if state is None:
                raise TopicError(f"topic {name} does not exist; create it with `orchestra topics create`")
            if state.partitions != spec.partitions and name != self.names.dead_letters and name != self.names.alerts:
                raise TopicError(
                    f"topic {name} has {state.partitions} partitions, where {self.coordinator} has {spec.partitions}: "
                    "the number is fixed when the topics are made"
                )
        return states

    def _make_plan(self, topics: dict[str, TopicState]) -> Plan:
        names, coordinator = self.names, self.coordinator
        retention = topics[names.state].config.get("delete.retention.ms", "86400000")
        claim = Claim(
            owner=new_id(),
            host=f"{socket.gethostname()}/{os.getpid()}",
            flows=coordinator.flows.digests(),
            partitions=coordinator.partitions,
            topics={name: topics[name].topic_id for name in (names.inbox, names.state, names.journal)},
        )
        session = self._settings.session_timeout
        means = Means(
            names=names,
            publisher=self._publisher,
            clock=self._clock,
            heard=lambda: self._heard,
            lease=session - min(3.0, session / 4),
        )
        return Plan(
            transport=self._transport,
            settings=self._settings,
            flows=coordinator.flows,
            limits=coordinator.limits,
            outcome_bytes=coordinator.outcome_bytes,
            delete_retention=int(retention) / 1000,
            claim=claim,
            means=means,
            jitter=self._jitter,
        )

    # ---- the fetch loop

    async def _fetch_loop(self) -> None:
        while not self._stopping.is_set():
            self._fetches += 1
            try:
                records = await self._consumer.fetch(max_records=_BATCH, timeout=0.5)
            except OffsetLostError as error:
                self._lose(error)
                continue
            self._hear()
            if records:
                self._received = self._heard
                self._hand_over(records)
            self._balance()

    def _hear(self) -> None:
        """A sign of life. One that comes too late finds every lease lapsed: this process was stopped meanwhile."""
        assert self._plan is not None
        now = self._clock.elapsed()
        silent, self._heard = now - self._heard, now
        if silent > self._plan.means.lease:
            for keeper in self.keepers.values():
                if keeper.is_open:
                    keeper.lose(LeaseLapsedError(f"no sign of life for {silent:.1f} s"))

    def _hand_over(self, records: list[Record]) -> None:
        records.sort(key=_number)  # stable: the order within a partition stays
        for number, batch in groupby(records, key=_number):
            if (keeper := self.keepers.get(number)) is not None:
                keeper.offer(list(batch), self._fetches)

    def _balance(self) -> None:
        """A shard that is behind is not fetched for until it has caught up by half."""
        for number, keeper in self.keepers.items():
            waiting = keeper.owner.waiting if keeper.owner is not None else 0
            partition = Partition(self.names.inbox, number)
            if waiting > _MUCH and number not in self._paused:
                self._paused.add(number)
                self._consumer.pause([partition])
            elif number in self._paused and waiting <= _MUCH // 2:
                self._paused.discard(number)
                if keeper.is_open:
                    self._consumer.resume([partition])

    def _lose(self, error: OffsetLostError) -> None:
        """The inbox no longer holds what a shard has to read next."""
        lost = {number for _, number in error.lost} or set(self.keepers)
        for number in lost & set(self.keepers):
            self._consumer.pause([Partition(self.names.inbox, number)])
            self.keepers[number].lose(error)

    # ---- assignment

    async def on_assigned(self, partitions: Collection[Partition]) -> None:
        """Take what is new, go on with what was kept, give up what is another's now."""
        now = self._clock.elapsed()
        silent, self._heard = now - self._heard, now
        self._paused.clear()
        self._consumer.pause(partitions)
        numbers = {partition.number for partition in partitions}
        await self._end_keepers([number for number in self.keepers if number not in numbers])
        for number in sorted(numbers):
            if number not in self.keepers:
                self._begin_keeper(number)
            self.keepers[number].assigned(silent)

    async def on_revoked(self, partitions: Collection[Partition]) -> None:
        """Settle all shards; they are kept until it is known whose they are."""
        seconds = min(self._settings.drain_timeout, max(self._settings.rebalance_timeout - 10.0, 1.0))
        suspensions = (keeper.suspend(seconds) for keeper in self.keepers.values())
        await asyncio.gather(*suspensions)
        await self._commit()

    def _begin_keeper(self, number: int) -> None:
        assert self._plan is not None
        keeper = self.keepers[number] = Keeper(number, self._plan, self._consumer, lambda: self._fetches)
        task = self._tasks[number] = asyncio.create_task(keeper.run(), name=f"{self.names.group}-shard-{number}")
        task.add_done_callback(self._ended_keeper)

    def _ended_keeper(self, task: asyncio.Task[None]) -> None:
        """A keeper ends by itself only when this process must not go on."""
        if not task.cancelled() and (error := task.exception()) is not None:
            assert self._fatal is not None
            if not self._fatal.done():
                self._fatal.set_exception(error)

    async def _end_keepers(self, numbers: list[int]) -> None:
        tasks = [self._tasks.pop(number) for number in numbers]
        for number, task in zip(numbers, tasks, strict=True):
            del self.keepers[number]
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # ---- now and then

    async def _upkeep(self) -> None:
        """Commit for lag displays, and trim the inbox."""
        trimmed_at = self._clock.elapsed()
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(_COMMIT_EVERY):
                    await self._stopping.wait()
            except TimeoutError:
                pass
            await self._commit()
            self._tell_absent()
            if self._clock.elapsed() - trimmed_at >= _TRIM_EVERY:
                trimmed_at = self._clock.elapsed()
                await self._trim()

    def _tell_absent(self) -> None:
        """Say once which instances wait for a version that is not here."""
        assert self._plan is not None
        text = self._plan.absent.told()
        if text is not None and text != self._absent:
            _log.warning("%s", text)
        self._absent = text

    async def _commit(self) -> None:
        """The group's offsets say how far the log is, and are never read back."""
        offsets = {
            Partition(self.names.inbox, number): Committed(keeper.owner.shard.durable + 1)
            for number, keeper in self.keepers.items()
            if keeper.owner is not None and keeper.owner.shard.durable >= 0
        }
        assigned = self._consumer.assignment()
        if offsets := {partition: place for partition, place in offsets.items() if partition in assigned}:
            try:
                await self._consumer.commit(offsets)
            except (CommitFailedError, UnreachableError) as error:
                _log.info("offsets were not stored: %s", error)

    async def _trim(self) -> None:
        before_ms = (self._clock.now().timestamp() - _INBOX_DAYS * 86400.0) * 1000
        for number, keeper in list(self.keepers.items()):
            if keeper.is_open and keeper.owner is not None:
                partition = Partition(self.names.inbox, number)
                durable = keeper.owner.shard.durable
                try:
                    await trim_inbox(self._transport, partition, durable=durable, before_ms=before_ms)
                except TransportError as error:
                    _log.warning("the inbox was not trimmed: %s", error)


def _number(record: Record) -> int:
    return record.partition


def _figures(keeper: Keeper) -> dict[str, Any]:
    if keeper.stopped is not None:
        return {"state": "stopped", "why": str(keeper.stopped)}
    if keeper.owner is None or not keeper.is_open:
        return {"state": "waiting"}
    shard = keeper.owner.shard
    return {
        "state": "open",
        "position": shard.position,
        "durable": shard.durable,
        "emitted": shard.emitted,
        "instances": len(shard.roster.entries),
        "running": shard.roster.running,
        "queued": len(shard.roster.queue),
        "early": shard.roster.early,
        "pending": len(shard.pending),
        "unsent": len(shard.outbox.unsent),
        "waiting": keeper.owner.waiting,
    }
