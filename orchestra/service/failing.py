"""A try failed: what becomes of the record? It waits for the next one, or it becomes a dead letter."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from orchestra.clock import Clock
from orchestra.errors import DefinitionError
from orchestra.events.envelope import Envelope
from orchestra.ids import Jitter
from orchestra.service.circuits import Circuits
from orchestra.service.dead_lettering import DeadLettering
from orchestra.service.lanes import Worker
from orchestra.service.progress import Progress, Tries
from orchestra.service.retry import Course, Reason, TimedOutError, contention_delay, course_of, earliest
from orchestra.service.signals import GivenUp, Held
from orchestra.service.statistics import Statistics
from orchestra.transport.port import Record


class Failing:
    """Decides and does what follows from the failures of one service's handlers."""

    def __init__(
        self,
        dead_lettering: DeadLettering,
        circuits: Circuits,
        clock: Clock,
        jitter: Jitter,
        statistics: Statistics,
    ) -> None:
        self.dead_lettering = dead_lettering
        self.circuits = circuits
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
        wrong, reason = self._decide(error, progress.event, tries, is_pressed=_is_pressed(worker))
        if reason is not None:
            await self._bury(wrong, reason, progress, tries, record, worker)

    async def undelivered(
        self, error: Exception, progress: Progress, tries: Tries, record: Record, worker: Worker
    ) -> None:
        """What a handler made cannot be stored where it must go."""
        await self._bury(error, Reason.UNDELIVERABLE, progress, tries, record, worker)

    async def press(self, progress: Progress, tries: Tries, record: Record, worker: Worker) -> None:
        """A handler still waits for its time. It is made to leave now, if its record holds up a whole partition and
        nothing is wrong but with this record: what waits for a dependency goes on waiting."""
        error = tries.last_error
        if error is None or not _is_pressed(worker) or self._course(error, tries)[0] is Course.WAIT:
            return
        self._statistics.pressed += 1
        await self._bury(error, Reason.HEAD_OF_LINE, progress, tries, record, worker)

    def puts_off(self, error: Exception, event: Envelope, tries: Tries) -> bool:
        """A batch failed. Whether it is tried again as a whole, at a time that is set."""
        return self._decide(error, event, tries)[1] is None

    def _decide(
        self, error: Exception, event: Envelope, tries: Tries, *, is_pressed: bool = False
    ) -> tuple[Exception, Reason | None]:
        """Set the time of the next try; or the reason for there being none, and what to blame."""
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
            return error, None
        if course is Course.AGAIN:
            self.circuits.succeeded(tries)  # the database answered
            tries.waits += 1
            _put_off(tries, contention_delay(tries.waits, self._jitter()), "waits for another transaction")
            return error, None
        if isinstance(error, TimedOutError):  # of what hangs nobody knows whether it is down
            self.circuits.left(tries)
        else:
            self.circuits.succeeded(tries)
        if course is Course.TRY_AGAIN and is_pressed:
            self._statistics.pressed += 1
            return error, Reason.HEAD_OF_LINE
        if course is Course.DEAD_LETTER or not self._try_again(error, least, event, tries):
            return error, reason
        return error, None

    def _course(self, error: Exception, tries: Tries) -> tuple[Course, Reason]:
        retry = tries.binding.handler.retry
        if retry.kind_of(error) is None and self.circuits.is_down(tries, error):
            return Course.WAIT, Reason.TRANSIENT
        return course_of(error, retry)

    def _try_again(self, error: Exception, least: float, event: Envelope, tries: Tries) -> bool:
        """Put the next try off until its time, at ``least`` some seconds; False: there is none."""
        retry, following = tries.binding.handler.retry, tries.attempt + 1
        if not retry.allows(following):
            return False
        delay = max(retry.delay(following, self._jitter()), least)
        if self._expires_within(delay, event, tries):
            error.add_note(f"not tried again: the command expires within the {delay:.3f} s before try {following}")
            return False
        tries.attempt = following
        self._statistics.retries += 1
        _put_off(tries, delay, f"waits for try {following}")
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


def _put_off(tries: Tries, seconds: float, why: str) -> None:
    tries.due = asyncio.get_running_loop().time() + seconds
    tries.why = why


def _is_pressed(worker: Worker) -> bool:
    return worker.lane is not None and worker.lane.is_pressed
