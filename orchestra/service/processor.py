"""How is one record turned into one outcome? It makes one pass: decode, route, handle, publish; then it is done.

Order of things, and why: what a handler emits is stored by all replicas before the record counts as done, and so is a
dead letter; a crash anywhere before that means the record is handled again, with the same ids. Every ``await`` here may
be the last: the worker may be cancelled (the partition goes away) or given up (its handler did not stop when told to).
A worker that was given up says nothing any more: hence the checks of ``is_lost`` behind users' code.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime

from orchestra.clock import Clock
from orchestra.errors import DecodeError, PermanentError, RecordTooLargeError, TopicError
from orchestra.events.cloudevents import decode
from orchestra.events.envelope import Envelope
from orchestra.events.message import StepCancel
from orchestra.service.batch_call import BatchCall
from orchestra.service.batch_context import Item
from orchestra.service.batch_lane import BatchLane
from orchestra.service.batching import Batches
from orchestra.service.binding import Binding
from orchestra.service.cancelling import CANCEL, is_marked, unmark
from orchestra.service.context import Context
from orchestra.service.deadline import Deadlines
from orchestra.service.deployment import Deployment
from orchestra.service.entry import Entry
from orchestra.service.failing import Failing
from orchestra.service.isolation import Condemned
from orchestra.service.outcome import Cause, Result, records, refused
from orchestra.service.progress import Progress, PutBack, Tries
from orchestra.service.publishing import Publishing
from orchestra.service.reserving import reserve
from orchestra.service.retry import Reason, TimedOutError
from orchestra.service.routing import Route, Routes, choose
from orchestra.service.share import Lane, Share, Waiting, Worker
from orchestra.service.signals import Held, Refused
from orchestra.service.statistics import Statistics
from orchestra.service.threads import Reservation
from orchestra.transport.port import Outgoing, Record

_log = logging.getLogger(__name__)


class Processor:
    """Handles the records of one service."""

    def __init__(
        self,
        deployment: Deployment,
        routes: Routes,
        publishing: Publishing,
        deadlines: Deadlines,
        clock: Clock,
        statistics: Statistics,
        failing: Failing,
    ) -> None:
        self._here = deployment
        self._routes = routes
        self._reading = deployment.reading
        self._all_events = not deployment.reading
        self._publishing = publishing
        self._failing = failing
        self._dead_lettering = failing.dead_lettering
        self._circuits = failing.circuits
        self._detouring = failing.detouring
        self._deadlines = deadlines
        self._batch_call = BatchCall(deployment, deadlines)
        self.batches = Batches(
            deadlines.lanes,
            routes,
            self._batch_call,
            publishing,
            self._failing,
            statistics,
            reading=deployment.reading,
            run=self._try_left,
        )
        self._clock = clock
        self._statistics = statistics

    async def handle(self, record: Record, worker: Worker, lane: Lane) -> Waiting | None:
        """One pass. None: the record may count as done. Else it waits, and comes again with its progress.

        Raises:
            GivenUp: the partition is being taken away; the record stays as it is.
        """
        if lane.progress is not None or lane.abandoned is not None:
            return await self._go_on(record, worker, lane)
        try:
            event = decode(record.headers, record.value) if self._all_events else self._reading.read(record)
        except DecodeError as error:
            return await self._bury(record, worker, error, Reason.DECODE)
        binding, share = self._routes[event.type], lane.share
        if type(binding) is not Binding or not ((share.is_plain or share.is_clear) and self._circuits.are_closed):
            return await self._fork(binding, event, record, worker, lane)
        try:  # nearly always: one handler, which does it at the first try
            out = await self._attempt(binding, event, record, worker)
        except Exception as error:
            if worker.is_lost:
                return None
            progress = Progress(event, (binding,))
            await self._failing.after(error, progress, progress.left[0], record, worker)
            return self._end(progress)
        if out and not worker.is_lost:
            progress = Progress(event, (binding,))
            await self._publish(out, progress, progress.left[0], record, worker)
            return self._end(progress)
        self._statistics.handled += 1
        return None

    async def _fork(self, route: Route, event: Envelope, record: Record, worker: Worker, lane: Lane) -> Waiting | None:
        """A record that several handlers may want, or none, or one that may have to wait for what is down."""
        if event.type == CANCEL:
            if (cancelled := self._cancelled(event, lane.share)) is None:
                self._statistics.skipped += 1
                return None
            route = cancelled
        candidates = (route,) if isinstance(route, Binding) else route or ()
        if lane.share.delay is not None:
            return await self._retry(candidates, event, record, worker, lane)
        chosen, failed = choose(candidates, event, record.topic)
        for binding, error in failed:
            if put_back := await self._bury(record, worker, error, Reason.CONTRACT, event, Tries(binding)):
                return put_back
        if not chosen and not failed:
            return await self._pass_by(event, record, worker, is_known=bool(candidates))
        progress = lane.progress = Progress(event, chosen)
        return await self._run(progress, record, worker)

    async def _retry(
        self, candidates: Sequence[Binding], event: Envelope, record: Record, worker: Worker, lane: Lane
    ) -> Waiting | None:
        """A record of a retry topic."""
        try:
            progress = self._detouring.begin(record, event, candidates, lane.share)
        except (DecodeError, PermanentError) as error:
            reason = Reason.DECODE if isinstance(error, DecodeError) else Reason.UNKNOWN_TYPE
            return await self._bury(record, worker, error, reason, event)
        lane.progress = progress
        return await self._run(progress, record, worker)

    async def _go_on(self, record: Record, worker: Worker, lane: Lane) -> Waiting | None:
        """A record that was begun before, or a batch."""
        if isinstance(lane, BatchLane):
            return await self.batches.handle(worker, lane)
        progress = lane.progress
        if isinstance(progress, PutBack):
            lane.progress = None
            return await self.handle(record, worker, lane)
        if isinstance(progress, Condemned):
            killer = PermanentError("every process that began this record has died")
            event = _readable(record)
            await self._dead_lettering.bury(record, worker, killer, Reason.CRASH_LOOP, event, is_urgent=True)
            return None
        if not isinstance(progress, Progress):  # given up at the first try
            event = self._reading.read(record)
            route = self._routes[event.type]
            progress = Progress(event, (route,) if isinstance(route, Binding) else route or ())
        if (name := lane.abandoned) is not None:
            lane.progress, lane.abandoned = progress, None
            tries = next(tries for tries in progress.left if tries.binding.name == name)
            self._circuits.left(tries)
            stuck = TimedOutError(f"{name} did not stop when it was cancelled, and was given up")
            await self._dead_lettering.bury(
                record, worker, stuck, Reason.TIMEOUT, progress.event, tries, is_urgent=True
            )
            progress.left.remove(tries)
        return await self._run(progress, record, worker)

    async def _run(self, progress: Progress, record: Record, worker: Worker) -> Progress | None:
        await self._try_left(progress, record, worker)
        return None if worker.is_lost else self._end(progress)

    async def _try_left(self, progress: Progress, record: Record, worker: Worker) -> None:
        """One try for each handler that is left and need not wait any longer. None waits for another."""
        assert worker.lane is not None
        now, is_plain = asyncio.get_running_loop().time(), worker.lane.share.is_plain
        for tries in tuple(progress.left):
            if not self._is_due(tries, now):
                await self._failing.press(progress, tries, record, worker)
                continue
            try:
                if not (is_plain and self._circuits.are_closed) and await self._waits(progress, tries, record, worker):
                    continue
                attempt = self._attempt if tries.binding.handler.batch is None else self._attempt_as_batch
                out = await attempt(tries.binding, progress.event, record, worker, tries)
            except Exception as error:
                if worker.is_lost:
                    return
                await self._failing.after(error, progress, tries, record, worker)
            except BaseException:
                self._circuits.left(tries)
                raise
            else:
                self._circuits.succeeded(tries)
                if worker.is_lost:
                    return
                if out:
                    await self._publish(out, progress, tries, record, worker)
                else:
                    progress.left.remove(tries)

    def _is_due(self, tries: Tries, now: float) -> bool:
        if tries.due > now and not tries.is_gated:
            return False
        return not (tries.not_before and self._detouring.is_early(tries, now))

    async def _waits(self, progress: Progress, tries: Tries, record: Record, worker: Worker) -> bool:
        """Whether a handler is not to be called now: the record has gone to a retry topic, or what it needs is down."""
        lane = worker.lane
        assert lane is not None
        if lane.share.detour is not None and await self._detouring.leaves(tries, record, worker):
            progress.left.remove(tries)
            return True
        return not (self._circuits.are_closed or self._circuits.enter(tries, lane))

    def _end(self, progress: Progress) -> Progress | None:
        if progress.settle():
            return progress
        self._statistics.handled += 1
        return None

    async def _pass_by(self, event: Envelope, record: Record, worker: Worker, *, is_known: bool) -> PutBack | None:
        """An event that no handler here is for. ``is_known``: some are for its type."""
        if not is_known and record.topic in self._here.own_topics:
            unknown = PermanentError(f"{self._here.group} has no handler for {event.type!r}")
            return await self._bury(record, worker, unknown, Reason.UNKNOWN_TYPE, event)
        self._statistics.skipped += 1
        return None

    async def _bury(
        self,
        record: Record,
        worker: Worker,
        error: Exception,
        reason: Reason,
        event: Envelope | None = None,
        tries: Tries | None = None,
    ) -> PutBack | None:
        """A dead letter before any handler has begun; where the budget is spent, the record is put back."""
        try:
            await self._dead_lettering.bury(record, worker, error, reason, event, tries)
        except Held as held:
            return PutBack(asyncio.get_running_loop().time() + held.seconds, str(held))
        return None

    async def _publish(
        self, out: Sequence[Outgoing], progress: Progress, tries: Tries, record: Record, worker: Worker
    ) -> None:
        """Send what a handler made; then it is done with the record."""
        try:
            await self._publishing.send(out, worker, foreign=progress.event.get("replyto"))
        except (RecordTooLargeError, TopicError) as error:
            await self._failing.undelivered(error, progress, tries, record, worker)
        else:
            progress.left.remove(tries)

    async def _attempt(
        self, binding: Binding, event: Envelope, record: Record, worker: Worker, tries: Tries | None = None
    ) -> Sequence[Outgoing]:
        """One try: what to publish for it."""
        worker.handler = binding.name
        context = Context(event, record, binding.site, 1 if tries is None else tries.attempt)
        reservation: Reservation | None = None
        try:
            if binding.is_command and self._is_too_late(binding, event, worker):
                return await self._expired(binding, context, tries)
            message = event if binding.message is None else event.value(binding.message)
            if binding.threads is not None:
                reservation = await reserve(binding.threads, context, worker)
            if binding.timeout is not None:
                context.until = self._deadlines.begin(worker, binding.timeout)
            returned = await binding.invoke(message, context)
        except asyncio.CancelledError as cancelled:
            if (cause := self._deadlines.cause_of_cancellation(worker, binding.timeout)) is not None:
                raise cause from cancelled
            raise
        except Refused as refusal:
            self._statistics.refused += 1
            return refused(self._cause(binding.name, context), refusal.reason)
        finally:
            if worker.deadline is not None:
                self._deadlines.end(worker)
            if reservation is not None:
                reservation.leave()
        if returned is None and context.is_untouched and not binding.is_command:
            return ()
        result = binding.result(context, returned)
        return records(self._cause(binding.name, context, result.at), result, self._here.topic)

    async def _attempt_as_batch(
        self, binding: Binding, event: Envelope, record: Record, worker: Worker, tries: Tries
    ) -> Sequence[Outgoing]:
        """One try of a batch of one."""
        item = Item(record, event, event if binding.message is None else event.value(binding.message))
        context = await self._batch_call.attempt(binding, [item], worker, tries.attempt)
        if (failure := context.failures.get(0)) is not None:
            raise failure
        return self._batch_call.outgoing(context, 0)

    def _is_too_late(self, binding: Binding, event: Envelope, worker: Worker) -> bool:
        """Whether a command has expired; or is not wanted any more, and there is a ledger that can say so for ever.
        When the cancel itself has its turn the command has been handled, or waits in a retry topic."""
        if event.type == CANCEL:
            return True
        if event.get("expirytime") is not None:
            expiry = event.moment("expirytime")
            if expiry is not None and self._clock.now() >= expiry:
                return True
        lane = worker.lane
        return lane is not None and bool(lane.share.cancelled) and binding.uses_ledger and is_marked(lane.share, event)

    def _cancelled(self, event: Envelope, share: Share) -> Binding | None:
        """The handler whose ledger a cancel is for."""
        unmark(share, event)
        route = self._routes[event.value(StepCancel).command]
        return route if isinstance(route, Binding) and route.uses_ledger and route.handler.batch is None else None

    async def _expired(self, binding: Binding, context: Context, tries: Tries | None) -> Sequence[Outgoing]:
        """A command that came too late: the stored outcome if there is one, else refused for ever. Without a ledger
        nobody knows whether an earlier delivery had its effect, so nothing is said."""
        entry = await binding.expire(context) if binding.uses_ledger else None
        if entry is not None:
            return self._entered(binding, context, entry)
        if tries is not None and tries.last_error is not None:  # it was begun
            raise PermanentError(f"expired before attempt {tries.attempt}") from tries.last_error
        self._statistics.dropped += 1
        _log.warning(
            "%s: dropped %r unanswered: it expired, and its handler has no ledger", binding.name, context.event
        )
        return ()

    def _entered(self, binding: Binding, context: Context, entry: Entry) -> Sequence[Outgoing]:
        """What the ledger says of an effect: the outcome and the messages again, or that it never will be."""
        if (reason := entry.refusal) is not None:
            self._statistics.refused += 1
            return refused(self._cause(binding.name, context), reason)
        result = Result(entry.outcome, entry.messages, entry.at)
        return records(self._cause(binding.name, context, entry.at), result, self._here.topic)

    def _cause(self, handler: str, context: Context, at: datetime | None = None) -> Cause:
        here = self._here
        return Cause(context.event, context.effect_id, handler, here.source, at or self._clock.now(), here.hop_limit)


def _readable(record: Record) -> Envelope | None:
    """The event of a record that must not be looked into: its attributes, where they stand in headers."""
    try:
        return decode(record.headers, b"")
    except DecodeError:
        return None
