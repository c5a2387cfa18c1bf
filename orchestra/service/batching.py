"""How is a batch handled? Collected without a worker, tried as one, and divided when that fails for good.

A batch that failed for good is divided into batches of one, so that the poison is found and the others are done. Until
those are through, no later batch of its partition is begun: order is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from orchestra.errors import DecodeError, HopLimitError, PermanentError, RecordTooLargeError, TopicError
from orchestra.events.cloudevents import decode
from orchestra.service.batch_call import BatchCall
from orchestra.service.batch_context import BatchContext, Item
from orchestra.service.batch_lane import BatchLane, Handlings, Held, Single, Whole
from orchestra.service.failing import Failing
from orchestra.service.isolation import Condemned
from orchestra.service.lanes import Lanes
from orchestra.service.progress import Progress, Tries
from orchestra.service.publishing import Publishing
from orchestra.service.reading import Reading
from orchestra.service.retry import Reason, TimedOutError
from orchestra.service.routing import Routes, choose
from orchestra.service.share import Share, Waiting, Worker
from orchestra.service.signals import GivenUp
from orchestra.service.statistics import Statistics
from orchestra.transport.port import Outgoing, Record

Run = Callable[[Progress, Record, Worker], Awaitable[None]]
"""One try for each handler of one record that is left and need not wait."""


class Batches:
    """The batches of one service in one process."""

    def __init__(
        self,
        lanes: Lanes,
        routes: Routes,
        call: BatchCall,
        publishing: Publishing,
        failing: Failing,
        statistics: Statistics,
        *,
        reading: Reading,
        run: Run,
    ) -> None:
        self._lanes = lanes
        self._routes = routes
        self._call = call
        self._publishing = publishing
        self._dead_lettering = failing.dead_lettering
        self._failing = failing
        self._circuits = failing.circuits
        self._statistics = statistics
        self._run = run
        self._reading = reading
        self._all_events = not reading
        self._loop: asyncio.AbstractEventLoop | None = None

    # ---- collecting

    def admit(self, share: Share, record: Record) -> None:
        """Queue a record of a topic that is read in batches, which the share's tracker has admitted."""
        try:
            event = decode(record.headers, record.value) if self._all_events else self._reading.read(record)
        except DecodeError:
            self._lanes.admit(share, record)  # by itself, to become a dead letter
            return
        route = self._routes[event.type]
        if type(route) is tuple and len(route) == 1 and route[0].admits is None:  # nearly always
            self._hold(share, Held(record, event, route[0], None, self._now()))
            return
        chosen, failed = choose(route if isinstance(route, tuple) else (), event, record.topic)
        if failed:
            self._lanes.admit(share, record)
        elif not chosen:
            self._statistics.skipped += 1
            self._lanes.pass_over(share, record)
        else:
            handlings = Handlings(len(chosen))
            now = self._now()
            for binding in chosen:
                self._hold(share, Held(record, event, binding, handlings, now))

    def _hold(self, share: Share, held: Held) -> None:
        lane = share.lanes.get(held.binding.name)
        batch = held.binding.handler.batch
        assert batch is not None
        if not isinstance(lane, BatchLane):
            lane = BatchLane(share, held, batch)
            lane.state.until = held.at + batch.seconds
            self._lanes.collect(lane, held.record, lane.state)
        else:
            lane.add(held)
            self._lanes.collect(lane, held.record)
        if lane.is_collecting and lane.is_full:
            self._wake(lane)

    def _now(self) -> float:
        loop = self._loop
        if loop is None:  # remembered: asking for the running loop is a system call in Python 3.11
            loop = self._loop = asyncio.get_running_loop()
        return loop.time()

    def _wake(self, lane: BatchLane) -> None:
        lane.is_collecting = False
        self._lanes.wake(lane)

    def hurry(self, shares: Iterable[Share]) -> None:
        """Wait for no fuller batches: there is no room for more."""
        for share in shares:
            for lane in tuple(share.lanes.values()):
                if isinstance(lane, BatchLane) and lane.is_collecting:
                    self._wake(lane)

    # ---- handling

    async def handle(self, worker: Worker, lane: BatchLane) -> Waiting:
        """Do what can be done now for the oldest batch of a lane; gives when to go on. An empty lane is not kept.

        Raises:
            GivenUp: the partition is being taken away; what is not done stays as it is.
        """
        if lane.is_collecting and not lane.is_due(now := asyncio.get_running_loop().time()):
            return lane.settle(now)
        lane.is_collecting = False
        is_condemned, lane.progress = isinstance(lane.progress, Condemned), lane.state
        if lane.whole is None and not lane.singles:
            self._begin(lane)
        if is_condemned:
            await self._condemn(lane, worker)
        elif lane.abandoned is not None:
            await self._after_abandonment(lane, worker)
        elif lane.whole is not None:
            await self._try_whole(lane, lane.whole, worker)
        if lane.whole is None and not worker.is_lost:
            await self._run_singles(lane, worker)
        if worker.is_lost:
            return lane.state
        if not lane.records and lane.key is not None:
            lane.share.lanes.pop(lane.key, None)
        return lane.settle(asyncio.get_running_loop().time())

    def _begin(self, lane: BatchLane) -> None:
        """Take a batch. What has data that is not as it should be is left to be handled by itself."""
        items: list[Item] = []
        good: list[Held] = []
        for held in lane.take():
            message = held.binding.message
            try:
                value = held.event if message is None else held.event.value(message)
            except DecodeError:
                lane.singles.append(_single(held))
            else:
                items.append(Item(held.record, held.event, value))
                good.append(held)
        if good:
            lane.whole = Whole(items, good, Tries(good[0].binding))

    async def _try_whole(self, lane: BatchLane, whole: Whole, worker: Worker) -> None:
        tries = whole.tries
        if tries.due > asyncio.get_running_loop().time() and not tries.is_gated:
            if (last := tries.last_error) is not None and self._must_leave(lane, tries):
                await self._divide(lane, whole, last, worker)
            return
        if not (self._circuits.are_closed or self._circuits.enter(tries, lane)):
            return
        try:
            context = await self._call.attempt(tries.binding, whole.items, worker, tries.attempt)
        except Exception as error:
            if worker.is_lost:
                return
            if isinstance(error, GivenUp):
                raise
            is_put_off = len(whole.held) > 1 and self._failing.puts_off(error, whole.held[0].event, tries)
            if is_put_off and not self._must_leave(lane, tries):
                return  # it is tried again as it is
            await self._divide(lane, whole, error, worker)
            return
        except BaseException:
            self._circuits.left(tries)
            raise
        self._circuits.succeeded(tries)
        if not worker.is_lost:
            await self._settle(lane, whole, context, worker)

    def _must_leave(self, lane: BatchLane, tries: Tries) -> bool:
        """Whether the partition stands still for this batch, which failed for itself and not for a dependency."""
        return lane.is_pressed and not self._failing.is_waiting(tries)

    async def _divide(self, lane: BatchLane, whole: Whole, error: Exception, worker: Worker) -> None:
        """The whole batch failed for good: it is tried one by one."""
        lane.whole = None
        singles = [_single(held) for held in whole.held]
        lane.singles.extendleft(reversed(singles))
        if len(singles) == 1:  # that was the one
            singles[0].progress.left = [whole.tries]
            await self._failing.after(error, singles[0].progress, whole.tries, whole.held[0].record, worker)

    async def _settle(self, lane: BatchLane, whole: Whole, context: BatchContext, worker: Worker) -> None:
        """The handler returned: what it did not say failed is done, once what it emitted is stored."""
        await self._publish(whole, context, worker)
        if worker.is_lost:
            return
        done = [held for place, held in enumerate(whole.held) if place not in context.failures]
        self._complete(lane, done)
        lane.whole = None
        singles = [(_single(whole.held[place]), error) for place, error in sorted(context.failures.items())]
        lane.singles.extendleft(single for single, _ in reversed(singles))
        for single, error in singles:
            [tries] = single.progress.left
            tries.attempt, tries.first_failure = whole.tries.attempt, whole.tries.first_failure
            await self._failing.after(error, single.progress, tries, single.held.record, worker)

    async def _publish(self, whole: Whole, context: BatchContext, worker: Worker) -> None:
        out: list[tuple[Held, list[Outgoing]]] = []
        for place, held in enumerate(whole.held):
            try:
                out.append((held, self._call.outgoing(context, place)))
            except HopLimitError as error:
                await self._bury(held, error, Reason.HOP_LIMIT, worker, whole.tries)
        if not (everything := [record for _, records in out for record in records]):
            return
        try:
            await self._publishing.send(everything, worker)
        except (RecordTooLargeError, TopicError):
            for held, records in out:  # one by one, to find whose it is; ids repeat
                try:
                    await self._publishing.send(records, worker)
                except (RecordTooLargeError, TopicError) as error:
                    await self._bury(held, error, Reason.UNDELIVERABLE, worker, whole.tries)

    async def _run_singles(self, lane: BatchLane, worker: Worker) -> None:
        while lane.singles:
            single = lane.singles[0]
            if lane.share.is_draining:
                raise GivenUp
            await self._run(single.progress, single.held.record, worker)
            if worker.is_lost or single.progress.settle():
                return
            lane.singles.popleft()
            self._complete(lane, [single.held])
            if lane.singles and lane.is_gated(lane.singles[0].held.record):
                return

    async def _after_abandonment(self, lane: BatchLane, worker: Worker) -> None:
        """The handler ignored its cancellation. Given up with one event, that one is a dead letter; with a batch, it is
        divided."""
        lane.abandoned = None
        whole = lane.whole
        if whole is not None:
            self._circuits.left(whole.tries)
        if whole is not None and len(whole.held) > 1:
            lane.whole = None
            lane.singles.extendleft(_single(held) for held in reversed(whole.held))
            return
        if whole is not None:
            lane.whole = None
            lane.singles.appendleft(_single(whole.held[0]))
        stuck = TimedOutError(f"{lane.key!s} did not stop when it was cancelled, and was given up")
        await self._end_first(lane, stuck, Reason.TIMEOUT, worker)

    async def _condemn(self, lane: BatchLane, worker: Worker) -> None:
        """The oldest record has ended its process again and again; where that matters, batches are of one."""
        if (whole := lane.whole) is not None:
            lane.whole = None
            lane.singles.extendleft(_single(held) for held in reversed(whole.held))
        killer = PermanentError("every process that began this record has died")
        await self._end_first(lane, killer, Reason.CRASH_LOOP, worker)

    async def _end_first(self, lane: BatchLane, error: Exception, reason: Reason, worker: Worker) -> None:
        single = lane.singles[0]
        [tries] = single.progress.left
        await self._bury(single.held, error, reason, worker, tries)
        lane.singles.popleft()
        self._complete(lane, [single.held])

    async def _bury(self, held: Held, error: Exception, reason: Reason, worker: Worker, tries: Tries) -> None:
        await self._dead_lettering.bury(held.record, worker, error, reason, held.event, tries, is_urgent=True)

    def _complete(self, lane: BatchLane, done: Sequence[Held]) -> None:
        lane.forget(done)
        lane.is_pressed = False
        for held in done:
            is_done = True
            if (handlings := held.handlings) is not None:
                handlings.left -= 1
                is_done = not handlings.left
            self._statistics.handled += is_done
            self._lanes.complete(lane, held.record, is_done=is_done)


def _single(held: Held) -> Single:
    return Single(held, Progress(held.event, (held.binding,)))


def allowance(shares: Collection[Share], sizes: Mapping[str, int]) -> int:
    """How many records more may be queued, so that batches can fill. ``sizes``: topic -> the largest batch."""
    return sum(2 * sizes.get(share.partition.topic, 0) for share in shares)
