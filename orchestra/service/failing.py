"""A try failed: what becomes of the record? It waits for the next one, or it becomes a dead letter."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from orchestra.clock import Clock
from orchestra.errors import DefinitionError
from orchestra.ids import Jitter
from orchestra.service.dead_lettering import DeadLettering
from orchestra.service.lanes import Worker
from orchestra.service.progress import Progress, Tries
from orchestra.service.publishing import Publishing
from orchestra.service.retry import Course, Reason, course_of, earliest, waiting_delay
from orchestra.service.signals import GivenUp
from orchestra.service.statistics import Statistics
from orchestra.transport.port import Record


class Failing:
    """Decides and does what follows from the failures of one service's handlers."""

    def __init__(
        self,
        dead_lettering: DeadLettering,
        publishing: Publishing,
        clock: Clock,
        jitter: Jitter,
        statistics: Statistics,
    ) -> None:
        self._dead_lettering = dead_lettering
        self._publishing = publishing
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
        try:
            least = earliest(error)
        except DefinitionError as wrong:
            error, least = wrong, 0.0
        tries.last_error = error
        tries.first_failure = tries.first_failure or self._clock.now()
        course, reason = course_of(error, tries.binding.handler.retry)
        if course is Course.WAIT:
            self._wait(error, tries)
        elif course is Course.DEAD_LETTER or not self._try_again(error, least, progress, tries):
            await self._bury(error, reason, progress, tries, record, worker)

    def _wait(self, error: Exception, tries: Tries) -> None:
        tries.waits += 1
        self._publishing.note_wait(tries.waits, error)
        _put_off(tries, waiting_delay(tries.waits, self._jitter()), f"waits for {type(error).__name__}")

    def _try_again(self, error: Exception, least: float, progress: Progress, tries: Tries) -> bool:
        """Put the next try off until its time, at ``least`` some seconds; False: there is none."""
        retry, following = tries.binding.handler.retry, tries.attempt + 1
        if not retry.allows(following):
            return False
        delay = max(retry.delay(following, self._jitter()), least)
        if self._expires_within(delay, progress, tries):
            error.add_note(f"not tried again: the command expires within the {delay:.3f} s before try {following}")
            return False
        tries.attempt = following
        self._statistics.retries += 1
        _put_off(tries, delay, f"waits for try {following}")
        return True

    def _expires_within(self, delay: float, progress: Progress, tries: Tries) -> bool:
        """Whether a command will have expired by then: to wait for that would only keep its flow waiting too."""
        if not tries.binding.is_command:
            return False
        expiry = progress.event.moment("expirytime")
        return expiry is not None and self._clock.now() + timedelta(seconds=delay) >= expiry

    async def _bury(
        self, error: Exception, reason: Reason, progress: Progress, tries: Tries, record: Record, worker: Worker
    ) -> None:
        await self._dead_lettering.bury(record, worker, error, reason, progress.event, tries)
        progress.left.remove(tries)


def _put_off(tries: Tries, seconds: float, why: str) -> None:
    tries.due = asyncio.get_running_loop().time() + seconds
    tries.why = why
