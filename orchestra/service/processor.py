"""How is one record turned into one outcome? It makes one pass: decode, route, handle, publish; then it is done.

Order of things, and why: what a handler emits is stored by all replicas before the record counts as done, and so is a
dead letter; a crash anywhere before that means the record is handled again, with the same ids. Every ``await`` here may
be the last: the worker may be cancelled (the partition goes away) or given up (its handler did not stop when told to).
A worker that was given up says nothing any more: hence the checks of ``is_lost`` behind users' code.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from orchestra.clock import Clock
from orchestra.errors import DecodeError, PermanentError, RecordTooLargeError, TopicError
from orchestra.events.cloudevents import decode
from orchestra.events.envelope import Envelope
from orchestra.ids import Jitter
from orchestra.service.binding import Binding
from orchestra.service.context import Context
from orchestra.service.dead_lettering import DeadLettering, Tries
from orchestra.service.deadline import Deadlines
from orchestra.service.deployment import Deployment
from orchestra.service.lanes import Worker
from orchestra.service.outcome import Cause, Result, records, refused
from orchestra.service.publishing import Publishing
from orchestra.service.retry import Course, Reason, TimedOutError, course_of
from orchestra.service.signals import Refused
from orchestra.service.statistics import Statistics
from orchestra.transport.port import Outgoing, Record

_log = logging.getLogger(__name__)


class Processor:
    """Handles the records of one service. ``routes``: event type -> handlers, ready to be called."""

    def __init__(
        self,
        deployment: Deployment,
        routes: Mapping[str, Sequence[Binding]],
        publishing: Publishing,
        deadlines: Deadlines,
        clock: Clock,
        jitter: Jitter,
        statistics: Statistics,
    ) -> None:
        self._here = deployment
        self._routes = routes
        self._publishing = publishing
        self._dead_lettering = DeadLettering(deployment, publishing, clock, statistics)
        self._deadlines = deadlines
        self._clock = clock
        self._jitter = jitter
        self._statistics = statistics

    async def handle(self, record: Record, worker: Worker, abandoned: str | None) -> None:
        """Return when the record may count as done. ``abandoned``: the handler that was given up with it.

        Raises:
            GivenUp: the partition is being taken away; the record stays as it is.
        """
        try:
            event = decode(record.headers, record.value)
        except DecodeError as error:
            await self._dead_lettering.bury(record, worker, error, Reason.DECODE)
            return
        for binding in self._routes.get(event.type, ()):
            if abandoned is None:
                await self._run(binding, event, record, worker)
                if worker.is_lost:
                    return
            elif binding.name == abandoned:  # those before it are done, those after it are not
                abandoned = None
                stuck = TimedOutError(f"{binding.name} did not stop when it was cancelled, and was given up")
                await self._dead_lettering.bury(record, worker, stuck, Reason.TIMEOUT, event, binding)
        if event.type in self._routes:
            self._statistics.handled += 1
        elif record.topic in self._here.own_topics:
            unknown = PermanentError(f"{self._here.group} has no handler for {event.type!r}")
            await self._dead_lettering.bury(record, worker, unknown, Reason.UNKNOWN_TYPE, event)
        else:
            self._statistics.skipped += 1

    async def _run(self, binding: Binding, event: Envelope, record: Record, worker: Worker) -> None:
        """One handler, with all its tries."""
        worker.handler = binding.name
        tries = Tries()
        while True:
            try:
                out = await self._attempt(binding, event, record, worker, tries)
                break
            except Exception as error:
                if worker.is_lost or not await self._goes_on(error, binding, event, record, worker, tries):
                    return
        if out and not worker.is_lost:
            try:
                await self._publishing.send(out, worker, foreign=event.get("replyto"))
            except (RecordTooLargeError, TopicError) as error:
                await self._dead_lettering.bury(record, worker, error, Reason.UNDELIVERABLE, event, binding, tries)

    async def _attempt(
        self, binding: Binding, event: Envelope, record: Record, worker: Worker, tries: Tries
    ) -> list[Outgoing]:
        """One try: what to publish for it."""
        message = event.value(binding.message)
        here = self._here
        context = Context(event, record, binding.name, binding.is_command, here.types, self._clock, tries.attempt)
        try:
            if binding.is_command and "expirytime" in event.extensions and self._is_expired(event):
                return await self._expired(binding, context, tries)
            returned = await binding.call(message, context, worker, self._deadlines)
        except Refused as refusal:
            self._statistics.refused += 1
            return refused(self._cause(binding.name, context), refusal.reason)
        if returned is None and context.is_untouched and not binding.is_command:
            return []
        result = binding.result(context, returned)
        return records(self._cause(binding.name, context, result.at), result, here.topic)

    def _is_expired(self, event: Envelope) -> bool:
        expiry = event.moment("expirytime")
        return expiry is not None and self._clock.now() >= expiry

    async def _expired(self, binding: Binding, context: Context, tries: Tries) -> list[Outgoing]:
        """A command that came too late: the stored outcome if there is one, else refused for ever. Without a ledger
        nobody knows whether an earlier delivery had its effect, so nothing is said."""
        entry = await binding.expire(context) if binding.uses_ledger else None
        if entry is not None:
            if (reason := entry.refusal) is not None:
                self._statistics.refused += 1
                return refused(self._cause(binding.name, context), reason)
            result = Result(entry.outcome, entry.messages, entry.at)
            return records(self._cause(binding.name, context, entry.at), result, self._here.topic)
        if tries.attempt > 1:
            raise PermanentError(f"expired before attempt {tries.attempt}") from tries.last_error
        self._statistics.dropped += 1
        _log.warning(
            "%s: dropped %r unanswered: it expired, and its handler has no ledger", binding.name, context.event
        )
        return []

    async def _goes_on(
        self, error: Exception, binding: Binding, event: Envelope, record: Record, worker: Worker, tries: Tries
    ) -> bool:
        """What follows from a failed try: True: try again, now. False: it became a dead letter."""
        course, reason = course_of(error)
        tries.last_error = error
        tries.first_failure = tries.first_failure or self._clock.now()
        if course is Course.WAIT:
            tries.waits += 1
            await self._publishing.wait(worker, tries.waits, error)
            return True
        retry = binding.handler.retry
        if course is Course.TRY_AGAIN and retry.allows(tries.attempt + 1):
            tries.attempt += 1
            self._statistics.retries += 1
            await self._publishing.pause(worker, retry.delay(tries.attempt, self._jitter()))
            return True
        await self._dead_lettering.bury(record, worker, error, reason, event, binding, tries)
        return False

    def _cause(self, handler: str, context: Context, at: datetime | None = None) -> Cause:
        return Cause(context.event, context.effect_id, handler, self._here.source, at or self._clock.now())
