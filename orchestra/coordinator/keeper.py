"""What becomes of a shard while its partition is ours, and between two assignments?

A keeper takes the shard, lets its owner run, and takes it anew after whatever went wrong, later and later. Nothing but
an alarm (the fence was breached, input was lost, a topic was made anew) stops it: then a person must look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from orchestra.coordinator.advance import Advance
from orchestra.coordinator.deployed import Flows
from orchestra.coordinator.exchange import Limits
from orchestra.coordinator.journal import Journal
from orchestra.coordinator.owner import LeaseLapsedError, Means, Owner
from orchestra.coordinator.restore import Acquired, Claim, acquire
from orchestra.coordinator.shard import Shard
from orchestra.coordinator.versions import Absent, count_by_version, known_of, merged, read_known
from orchestra.coordinator.wire import Wire
from orchestra.errors import (
    CommitFailedError,
    FenceBreachedError,
    FencedError,
    OffsetLostError,
    TopicError,
    TransportError,
)
from orchestra.ids import Jitter
from orchestra.settings import Settings
from orchestra.transport.port import Committed, Consumer, Outgoing, Partition, Record, Transport

_log = logging.getLogger(__name__)

_ALARMS = (FenceBreachedError, OffsetLostError, TopicError)
_LONGEST_WAIT = 15.0
_GOOD_FOR = 30.0
"""A shard that was open for so many seconds does not fail "again"."""
_TOO_OFTEN = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """What all shards of a coordinator have in common."""

    transport: Transport
    settings: Settings
    flows: Flows
    limits: Limits
    outcome_bytes: int
    delete_retention: float
    claim: Claim
    means: Means
    jitter: Jitter
    absent: Absent = field(default_factory=Absent)


class Keeper:
    """One shard of this process. ``stopped``: the alarm that a person must look at, or None."""

    def __init__(self, number: int, plan: Plan, consumer: Consumer, fetches: Callable[[], int]) -> None:
        self.number = number
        self.stopped: TransportError | None = None
        self.owner: Owner | None = None
        self.is_open = False
        self.opened_at = 0
        """The number of fetches begun when the gate opened: what an earlier fetch gave is not to be trusted."""
        self._plan = plan
        self._consumer = consumer
        self._inbox = Partition(plan.means.names.inbox, number)
        self._state = Partition(plan.means.names.state, number)
        self._journal = Journal(plan.means.names, number)
        self._assigned = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._must_prove_membership = False
        self._failures = 0
        self._opened_at = 0.0
        self._fetches = fetches

    # ---- from outside

    def assigned(self, silent: float) -> None:
        """The partition is ours (again). Kept is what may still be ours: an append will tell.

        After a long silence it would not: brokers forget an idle producer, and take a late record of its old epoch.
        """
        means, settings = self._plan.means, self._plan.settings
        if self.owner is not None and silent > means.lease + settings.rebalance_timeout:
            self.owner.fail(LeaseLapsedError(f"no sign of life for {silent:.1f} s"))
        self._must_prove_membership = False
        self._assigned.set()

    async def suspend(self, seconds: float) -> None:
        """The partition may go: take nothing more, and wait a while until what is decided is durable and sent."""
        self._close_gate()
        self._assigned.clear()
        if self.owner is not None:
            self.owner.stop_taking()
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("shard %d was not settled within %.1f s", self.number, seconds)

    def offer(self, records: Sequence[Record], fetch: int) -> None:
        """Records that a fetch gave. One that began before the gate opened may leave a hole: they are fetched again."""
        if self.owner is None or not self.is_open:
            return
        if fetch <= self.opened_at:
            self._seek(self.owner)
        else:
            self.owner.offer(records)

    def lose(self, error: TransportError) -> None:
        """The inbox does not hold what comes next."""
        if self.owner is not None:
            self.owner.fail(error)

    # ---- the task

    async def run(self) -> None:
        """Keep the shard, until cancelled. Raises DefinitionError when this process's flows do not fit the log."""
        try:
            while True:
                await self._assigned.wait()
                self._idle.clear()
                try:
                    await self._keep()
                except TransportError as error:
                    await self._fail(error)
                    self._idle.set()
                    await self._pause()
                finally:
                    self._close_gate()
                    self._idle.set()
        finally:
            await self._drop()

    async def _keep(self) -> None:
        if self.owner is None:
            if self._must_prove_membership:
                await self._prove_membership()
            self.owner = await self._acquire()
        else:
            await self.owner.prove()
        if not self._assigned.is_set():
            return
        self._open_gate(self.owner)
        await self.owner.run()

    async def _prove_membership(self) -> None:
        """A claim of a process that is no longer in the group would take the shard from its rightful owner.

        The brokers take a commit from a member of the newest generation only.
        """
        committed = await self._consumer.committed(self._inbox)
        await self._consumer.commit({self._inbox: committed or Committed(0)})

    async def _acquire(self) -> Owner:
        plan = self._plan
        acquired = await acquire(
            plan.transport,
            plan.settings.scoped(f"{plan.means.names.coordinator}.{self.number}"),
            self._state,
            plan.claim,
            delete_retention=plan.delete_retention,
            clock=plan.means.clock,
        )
        try:
            _check_claim(acquired.previous, plan.claim)
            versions = merged(read_known(acquired.versions), known_of(plan.flows.by_version.values()))
            end = await self._check_inbox(acquired)
        except BaseException:
            await acquired.log.aclose()
            raise
        plan.means.counters.acquired += 1
        flows = ((marks.flow or "", marks.status or "") for _, marks, _ in acquired.restored.records.values())
        plan.absent.found(self.number, count_by_version(flows), plan.flows.by_version)
        restored = acquired.restored
        found = f"{len(restored.records)} instances, read up to {restored.position}"
        _log.info("shard %d is taken: claim %d, %s", self.number, restored.claim, found)
        shard = Shard(self._rules(), plan.limits, acquired.restored, plan.means.clock.now())
        if versions is not None:
            shard.tell_versions(to_json(versions))
        return Owner(shard, acquired.log, self._journal, plan.means, caught_up=lambda: self._is_caught_up(end))

    def _rules(self) -> Advance:
        plan, names = self._plan, self._plan.means.names
        wire = Wire(plan.settings.topic, names.inbox, self.number, plan.limits.partitions)
        return Advance(plan.flows, self._journal, wire, outcome_bytes=plan.outcome_bytes, early=plan.limits.early)

    async def _check_inbox(self, acquired: Acquired) -> int:
        bounds = (await self._plan.transport.topics.bounds([self._inbox]))[self._inbox]
        position = acquired.restored.position
        where = f"{self._inbox.topic}[{self.number}]"
        if bounds.start > position + 1:
            raise OffsetLostError(
                f"{where} begins at {bounds.start}, and this shard has read up to {position}: input was lost"
            )
        if bounds.end < position + 1:
            raise TopicError(
                f"{where} ends at {bounds.end}, and this shard has read up to {position}: it was made anew"
            )
        return bounds.end

    def _is_caught_up(self, end: int) -> bool:
        position = self._consumer.position(self._inbox)
        return position is None or position >= end

    # ---- the gate

    def _open_gate(self, owner: Owner) -> None:
        self._opened_at = self._plan.means.clock.elapsed()
        self._seek(owner)
        self.is_open = True
        self._consumer.resume([self._inbox])

    def _close_gate(self) -> None:
        self.is_open = False
        if self._inbox in self._consumer.assignment():
            self._consumer.pause([self._inbox])

    def _seek(self, owner: Owner) -> None:
        self.opened_at = self._fetches()
        self._consumer.seek(self._inbox, owner.shard.position + 1)

    # ---- failures

    async def _fail(self, error: TransportError) -> None:
        await self._drop()
        if self._plan.means.clock.elapsed() - self._opened_at > _GOOD_FOR:
            self._failures = 0
        self._failures += 1
        self._plan.means.counters.lost += 1
        self._must_prove_membership = True
        if isinstance(error, _ALARMS):
            self.stopped = error
            _log.critical("shard %d is stopped, and somebody must look: %s", self.number, error)
            await self._alert("shard.stopped", error)
        elif isinstance(error, CommitFailedError):
            self._assigned.clear()  # out of the group: wait for the next assignment
        else:
            level = logging.INFO if isinstance(error, FencedError | LeaseLapsedError) else logging.WARNING
            _log.log(level, "shard %d is given up, and taken anew if it is still ours: %s", self.number, error)
            if self._failures == _TOO_OFTEN:
                await self._alert("shard.failing", error)

    async def _drop(self) -> None:
        self._plan.absent.shards.pop(self.number, None)
        owner, self.owner = self.owner, None
        if owner is not None:
            await owner.aclose()

    async def _pause(self) -> None:
        if self.stopped is not None:
            await asyncio.Event().wait()
        longest = min(0.2 * 2 ** min(self._failures, 8), _LONGEST_WAIT)
        await self._plan.means.clock.sleep(longest * (0.5 + self._plan.jitter() / 2))

    async def _alert(self, code: str, error: TransportError) -> None:
        message = self._journal.shard_alert(code, f"{error.code}: {error}", self._plan.means.clock.now())
        try:
            await self._plan.means.publisher.publish(
                [Outgoing(message.topic, message.key, message.value, message.headers)]
            )
        except TransportError:
            _log.exception("the alert could not be sent")


def _check_claim(previous: Mapping[str, Any], own: Claim) -> None:
    """The topics must be the ones that the last owner knew."""
    if not previous:
        return
    if previous["partitions"] != own.partitions:
        raise TopicError(
            f"this coordinator had {previous['partitions']} partitions and now has {own.partitions}: every instance "
            "would change its shard. Go back to the old count"
        )
    for topic, known in previous["topics"].items():
        now = own.topics.get(topic, known)
        if known and now and known != now:
            raise TopicError(f"topic {topic} was deleted and made anew since the last owner: what it held is gone")
