"""A try failed: what becomes of the record? It waits for the next, here or in a retry topic, or is a dead letter."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import NamedTuple

from orchestra.clock import Clock
from orchestra.errors import DefinitionError, RecordTooLargeError
from orchestra.events.envelope import Envelope
from orchestra.ids import Jitter
from orchestra.retry import TIERS
from orchestra.service.circuits import Circuits
from orchestra.service.dead_lettering import DeadLettering
from orchestra.service.detouring import Detouring
from orchestra.service.progress import Progress, Tries
from orchestra.service.retry import Course, Reason, TimedOutError, contention_delay, course_of, earliest
from orchestra.service.share import Worker
from orchestra.service.signals import GivenUp, Held
from orchestra.service.statistics import Statistics
from orchestra.transport.port import Record


class _Next(NamedTuple):
    """What follows. Neither ``reason`` nor ``tier``: another try here, at a time that is set."""

    error: Exception
    """What to blame."""
    reason: Reason
    is_over: bool = False
    """There is no other try."""
    tier: str | None = None
    """The next try is waited for in this retry topic."""
    least: float = 0.0


class Failing:
    """Decides and does what follows from the failures of one service's handlers."""

    def __init__(
        self,
        dead_lettering: DeadLettering,
        circuits: Circuits,
        detouring: Detouring,
        clock: Clock,
        jitter: Jitter,
        statistics: Statistics,
    ) -> None:
        self.dead_lettering = dead_lettering
        self.circuits = circuits
        self.detouring = detouring
        self._clock = clock
        self._jitter = jitter
        self._statistics = statistics

    async def after(self, error: Exception, progress: Progress, tries: Tries, record: Record, worker: Worker) -> None:
        """A handler's try failed. Afterwards it has a time to go on at, or is no longer among those left.

        Raises:
            GivenUp: the partition is being taken away; the record stays as it is.
        """
        if isinstance(error, GivenUp):
            raise error
        is_pressed = _is_pressed(worker)
        following = self._decide(error, progress.event, tries, is_pressed=is_pressed)
        if following.tier is not None:
            if not is_pressed and self._stays(tries, record):
                _put_off(tries, max(TIERS[following.tier], following.least), f"waits for try {tries.attempt}")
                self._statistics.retries += 1
                return
            if await self._divert(following, progress, tries, record, worker):
                return
            tries.attempt -= 1
        elif not following.is_over:
            return
        await self._bury(following.error, following.reason, progress, tries, record, worker)

    async def undelivered(
        self, error: Exception, progress: Progress, tries: Tries, record: Record, worker: Worker
    ) -> None:
        """What a handler made cannot be stored where it must go."""
        await self._bury(error, Reason.UNDELIVERABLE, progress, tries, record, worker)

    async def press(self, progress: Progress, tries: Tries, record: Record, worker: Worker) -> None:
        """A handler still waits for its time. It is made to leave now, if its record holds up a whole partition and
        nothing is wrong but with this record: what waits for a dependency goes on waiting. It goes to a retry topic,
        where its policy has one, and its key with it; else it is a dead letter."""
        error = tries.last_error
        if error is None or not _is_pressed(worker) or self._course(error, tries)[0] is Course.WAIT:
            return
        self._statistics.pressed += 1
        following = _Next(error, Reason.HEAD_OF_LINE, tier=_tier_of_pressed(tries, tries.attempt))
        if following.tier is None or not await self._divert(following, progress, tries, record, worker):
            await self._bury(error, Reason.HEAD_OF_LINE, progress, tries, record, worker)

    def is_waiting(self, tries: Tries) -> bool:
        """Whether the last failure says something about a dependency, and nothing about a record."""
        return tries.last_error is not None and self._course(tries.last_error, tries)[0] is Course.WAIT

    def puts_off(self, error: Exception, event: Envelope, tries: Tries) -> bool:
        """A batch failed. Whether it is tried again as a whole, at a time that is set. Retry topics are for its events
        one by one."""
        return not self._decide(error, event, tries, in_place=True).is_over

    def _decide(
        self, error: Exception, event: Envelope, tries: Tries, *, is_pressed: bool = False, in_place: bool = False
    ) -> _Next:
        try:
            least = earliest(error)
        except DefinitionError as wrong:
            error, least = wrong, 0.0
        tries.last_error = error
        tries.first_failure = tries.first_failure or self._clock.now()
        course, reason = self._course(error, tries)
        if course is Course.WAIT:
            self._statistics.waits += 1
            self.circuits.failed(tries, error)
            return _Next(error, reason)
        if course is Course.AGAIN:
            self.circuits.succeeded(tries)  # the database answered
            tries.waits += 1
            _put_off(tries, contention_delay(tries.waits, self._jitter()), "waits for another transaction")
            return _Next(error, reason)
        if isinstance(error, TimedOutError):  # of what hangs nobody knows whether it is down
            self.circuits.left(tries)
        else:
            self.circuits.succeeded(tries)
        if course is Course.DEAD_LETTER:
            return _Next(error, reason, is_over=True)
        following = self._try_again(error, reason, least, event, tries, in_place=in_place)
        if is_pressed and not following.is_over:
            self._statistics.pressed += 1
            tier = following.tier or _tier_of_pressed(tries, tries.attempt)
            return _Next(error, Reason.HEAD_OF_LINE, is_over=tier is None, tier=tier, least=least)
        return following

    def _course(self, error: Exception, tries: Tries) -> tuple[Course, Reason]:
        retry = tries.binding.handler.retry
        if retry.kind_of(error) is None and self.circuits.is_down(tries, error):
            return Course.WAIT, Reason.TRANSIENT
        return course_of(error, retry)

    def _try_again(
        self, error: Exception, reason: Reason, least: float, event: Envelope, tries: Tries, *, in_place: bool
    ) -> _Next:
        """Put the next try off until its time, at ``least`` some seconds; or say in which retry topic that is."""
        retry, following = tries.binding.handler.retry, tries.attempt + 1
        tier = None if in_place else retry.tier(following)
        if tier is None and not retry.allows(following):
            return _Next(error, reason, is_over=True)
        delay = max(retry.delay(following, self._jitter()) if tier is None else TIERS[tier], least)
        if self._expires_within(delay, event, tries):
            error.add_note(f"not tried again: the command expires within the {delay:.3f} s before try {following}")
            return _Next(error, reason, is_over=True)
        tries.attempt = following
        if tier is None:
            self._statistics.retries += 1
            _put_off(tries, delay, f"waits for try {following}")
        return _Next(error, reason, tier=tier, least=least)

    @staticmethod
    def _stays(tries: Tries, record: Record) -> bool:
        """Whether the delay of a retry topic passes in place, so that the later records of the key wait."""
        return tries.binding.handler.retry.order == "block_key" and record.key is not None and tries.came is None

    async def _divert(self, following: _Next, progress: Progress, tries: Tries, record: Record, worker: Worker) -> bool:
        """Put it on a retry topic; here the handler is done with it then. False: that topic does not take it."""
        assert following.tier is not None
        try:
            await self.detouring.divert(following.tier, tries, record, worker, least=following.least)
        except RecordTooLargeError as refused:
            following.error.add_note(f"not tried again: the retry topic does not take it: {refused}")
            return False
        progress.left.remove(tries)
        return True

    def _expires_within(self, delay: float, event: Envelope, tries: Tries) -> bool:
        """Whether a command will have expired by then: to wait for that would only keep its flow waiting too."""
        if not tries.binding.is_command:
            return False
        expiry = event.moment("expirytime")
        return expiry is not None and self._clock.now() + timedelta(seconds=delay) >= expiry

    async def _bury(
        self, error: Exception, reason: Reason, progress: Progress, tries: Tries, record: Record, worker: Worker
    ) -> None:
        try:
            await self.dead_lettering.bury(record, worker, error, reason, progress.event, tries)
        except Held as held:
            _put_off(tries, held.seconds, str(held))
        else:
            progress.left.remove(tries)


def _tier_of_pressed(tries: Tries, attempt: int) -> str | None:
    """Which retry topic takes a record away that holds up its partition; None: its policy has none."""
    retry = tries.binding.handler.retry
    return (retry.tier(attempt) or retry.first_tier) if retry.later else None


def _is_pressed(worker: Worker) -> bool:
    return worker.lane is not None and worker.lane.is_pressed


def _put_off(tries: Tries, seconds: float, why: str) -> None:
    tries.due = asyncio.get_running_loop().time() + seconds
    tries.why, tries.is_gated = why, False
