"""How does a shard reach Kafka? Its I/O, for as long as one claim holds.

One task per shard feeds it (records, acknowledgements, the time) and does what lies in ``outputs``, in order. It awaits
nothing that one record has to wait for: appends and sends are handed over, and come back as done futures.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from orchestra.clock import Clock
from orchestra.coordinator.exchange import Append, Deflect, Output, Send
from orchestra.coordinator.journal import Journal
from orchestra.coordinator.letters import coordinator_letter
from orchestra.coordinator.names import Names
from orchestra.coordinator.record import OutboxMessage, Ref
from orchestra.coordinator.shard import Shard
from orchestra.errors import (
    AccessDeniedError,
    DecodeError,
    FencedError,
    RecordTooLargeError,
    TopicError,
    TransportError,
)
from orchestra.service.dead_letter import without_payload
from orchestra.transport.port import FencedLog, Outgoing, Position, Publisher, Record

_log = logging.getLogger(__name__)

MAX_PENDING = 1000
"""Appends that may be unacknowledged before the shard takes in no more."""
_SLICE = 20
"""Records decided before the loop gets its turn: about two milliseconds."""
_SLOW = 0.1
_TRIES = 5
"""Of an answer that its topic refuses."""
_REFUSALS = (TopicError, AccessDeniedError, RecordTooLargeError)
_TICK = 1.0
"""The longest that time goes unnoticed, in seconds."""


class LeaseLapsedError(FencedError):
    """This process was not heard of for so long that another may own the shard by now."""

    code = "lease-lapsed"


@dataclass(slots=True)
class Counters:
    """What shards did since the process started."""

    taken: int = 0
    appended: int = 0
    sent: int = 0
    deflected: int = 0
    failed_sends: int = 0
    acquired: int = 0
    lost: int = 0
    slow: int = 0


@dataclass(frozen=True, slots=True)
class Means:
    """What every owner of a process works with.

    ``heard``: when this process last gave its group a sign of life, by ``clock.elapsed()``. ``lease``: how many seconds
    an owner may write on the strength of that.
    """

    names: Names
    publisher: Publisher
    clock: Clock
    heard: Callable[[], float]
    lease: float
    counters: Counters = field(default_factory=Counters)


class Owner:
    """One shard under one claim. An error from :meth:`run` ends it for good: take the shard anew, under a new claim."""

    def __init__(self, shard: Shard, log: FencedLog, journal: Journal, means: Means, *, caught_up: Callable[[], bool]):
        self.shard = shard
        self._journal = journal
        self._log = log
        self._means = means
        self._is_caught_up = caught_up
        self._caught_up = False
        self._inbox: deque[Record] = deque()
        self._appends: deque[asyncio.Future[int]] = deque()
        self._sent: deque[tuple[OutboxMessage, asyncio.Future[Position]]] = deque()
        self._deflected: asyncio.Future[Position] | None = None
        self._letter: Outgoing | None = None
        self._again_at: float | None = None
        self._failures = 0
        self._refused: Counter[Ref] = Counter()
        self._error: TransportError | None = None
        self._is_taking = True
        self._wake = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None

    # ---- from outside

    @property
    def waiting(self) -> int:
        """Records that were fetched and not taken in yet."""
        return len(self._inbox)

    @property
    def oldest_ms(self) -> int | None:
        """The timestamp of the first of them."""
        return self._inbox[0].timestamp_ms if self._inbox else None

    @property
    def is_idle(self) -> bool:
        """Whether everything that was offered is taken in, durable, and has left."""
        return not self._inbox and not self.shard.outbox.unsent and self._is_settled()

    def offer(self, records: Sequence[Record]) -> None:
        """Records of the inbox, in order, right behind those that were offered before."""
        self._inbox.extend(records)
        self._wake.set()

    def look(self) -> None:
        """Look at the clock now, and not at the next tick: it was set."""
        self._wake.set()

    def stop_taking(self) -> None:
        """Take nothing more in; :meth:`run` returns when everything that is decided is durable and sent."""
        self._is_taking = False
        self._wake.set()

    def fail(self, error: TransportError) -> None:
        """Something outside went wrong with the shard: :meth:`run` raises it."""
        self._error = error
        self._wake.set()

    async def prove(self) -> None:
        """After a rebalance gave the partition back: show that the claim is still the newest, by an append. What was
        fetched before the rebalance is fetched again. Raises TransportError."""
        if self._error is not None:
            raise self._error
        self._inbox.clear()
        self._is_taking = True
        self.shard.tell_position()
        await self._perform()
        await asyncio.wait({self._appends[-1]})
        self._take_acknowledgements()

    async def aclose(self) -> None:
        """Give the log up. Sends that are under way may still arrive. Never raises."""
        self.shard.append_failed()
        if self._alarm is not None:
            self._alarm.cancel()
        await self._log.aclose()

    # ---- the loop

    async def run(self) -> None:
        """Advance the shard until :meth:`stop_taking`. Raises TransportError: the shard must be taken anew."""
        while True:
            self._wake.clear()
            if self._error is not None:
                raise self._error
            self._take_acknowledgements()
            if self._is_taking:
                self._take_records()
                self._take_time()
            elif self._is_settled():
                if not self.shard.is_behind():
                    return
                self.shard.tell_position()  # so that the next owner repeats nothing
            self._take_retries()
            if self.shard.outputs:
                await self._perform()
            if self._may_take():
                await asyncio.sleep(0)
            elif not self._wake.is_set():
                await self._wait()

    def _may_take(self) -> bool:
        room = len(self.shard.pending) < MAX_PENDING
        return bool(self._inbox) and self._is_taking and self.shard.deflecting is None and room

    def _is_settled(self) -> bool:
        return not (self._appends or self.shard.outputs or self.shard.outbox.in_flight or self._deflected)

    async def _wait(self) -> None:
        """Until something happened, or it is time: one alarm at a time, as most are never needed."""
        loop = asyncio.get_running_loop()
        at = loop.time() + self._idle_seconds()
        if self._alarm is not None and self._alarm.when() > at:
            self._alarm.cancel()
            self._alarm = None
        if self._alarm is None:
            self._alarm = loop.call_at(at, self._ring)
        await self._wake.wait()

    def _ring(self) -> None:
        self._alarm = None
        self._wake.set()

    def _idle_seconds(self) -> float:
        seconds = _TICK
        if self._again_at is not None:
            seconds = min(seconds, self._again_at - self._means.clock.elapsed())
        if self._caught_up and (due := self.shard.roster.next_due()) is not None:
            seconds = min(seconds, (due - self._means.clock.now()).total_seconds())
        return max(seconds, 0.001)

    # ---- in

    def _take_records(self) -> None:
        clock = self._means.clock
        for _ in range(_SLICE):
            if not self._may_take():
                return
            record = self._inbox.popleft()
            begun = clock.elapsed()
            self.shard.receive(record, clock.now())
            self._means.counters.taken += 1
            if (took := clock.elapsed() - begun) > _SLOW:
                self._means.counters.slow += 1
                self._shout("flow.slow", f"deciding the input at offset {record.offset} took {took:.2f} s")

    def _take_time(self) -> None:
        # After a restore, the answers that came meanwhile are read before timers count as due: a coordinator that was
        # away must not time out what was answered in time.
        if not self._caught_up and not self._inbox:
            self._caught_up = self._is_caught_up()
        self.shard.wake(self._means.clock.now(), timers=self._caught_up)

    def _take_acknowledgements(self) -> None:
        while self._appends and self._appends[0].done():
            self.shard.appended(self._appends.popleft().result())
            self._means.counters.appended += 1
        while self._sent:
            message, future = self._sent.popleft()
            error = None if future.cancelled() else future.exception()
            if future.cancelled() or error is not None:
                self._fail_send(message, error)
            else:
                self._failures = 0
                self.shard.sent(message)
                self._means.counters.sent += 1
        if self._deflected is not None and self._deflected.done():
            self._take_deflected(self._deflected)

    # ---- out

    async def _perform(self) -> None:
        outputs, self.shard.outputs = self.shard.outputs, []
        for output in outputs:
            await self._do(output)

    async def _do(self, output: Output) -> None:
        if isinstance(output, Append):
            self._check_lease()
            future = await self._log.append(output.key.encode(), output.value, output.headers)
            self._appends.append(future)
            future.add_done_callback(self._woken)
        elif isinstance(output, Send):
            await self._send(output.message)
        else:
            await self._deflect(output)

    def _check_lease(self) -> None:
        silent = self._means.clock.elapsed() - self._means.heard()
        if silent > self._means.lease:
            raise LeaseLapsedError(f"no sign of life for {silent:.1f} s: another process may own this shard")

    async def _send(self, message: OutboxMessage) -> None:
        out = Outgoing(
            message.topic, message.key, message.value, message.headers, message.partition, message.timestamp_ms
        )
        try:
            future = await self._means.publisher.send(out)
        except TransportError as error:
            self._fail_send(message, error)
        else:
            future.add_done_callback(partial(self._on_sent, message))

    def _on_sent(self, message: OutboxMessage, future: asyncio.Future[Position]) -> None:
        self._sent.append((message, future))
        self._wake.set()

    def _woken(self, future: asyncio.Future[int] | asyncio.Future[Position]) -> None:
        if not future.cancelled():
            future.exception()  # seen: this owner may be gone before it takes the result
        self._wake.set()

    # ---- what failed is sent again, later and later

    def _fail_send(self, message: OutboxMessage, error: BaseException | None) -> None:
        if self._is_undeliverable(message, error):
            self.shard.sent(message)
            self._shout("answer.undeliverable", f"{message.ref.instance}: {message.id} to {message.topic}: {error}")
            return
        self.shard.not_sent(message)
        self._means.counters.failed_sends += 1
        _log.warning("%s: message %s to %s was not sent: %s", message.ref.instance, message.id, message.topic, error)
        self._back_off()

    def _is_undeliverable(self, message: OutboxMessage, error: BaseException | None) -> bool:
        """Where an answer goes is said by whoever asked, and may be nowhere. Nothing else waits behind it for ever."""
        if message.kind != "outcome" or not isinstance(error, _REFUSALS):
            return False
        self._refused[message.ref] += 1
        if self._refused[message.ref] < _TRIES:
            return False
        del self._refused[message.ref]
        return True

    def _back_off(self) -> None:
        self._failures += 1
        if self._again_at is None:
            delay = min(0.1 * 2 ** min(self._failures, 6), 5.0)
            self._again_at = self._means.clock.elapsed() + delay

    def _take_retries(self) -> None:
        if self._again_at is None or self._means.clock.elapsed() < self._again_at:
            return
        self._again_at = None
        self.shard.send_again()
        if self.shard.deflecting is not None and self._deflected is None:
            self.shard.outputs.append(self.shard.deflecting)

    # ---- records that go elsewhere

    async def _deflect(self, deflect: Deflect) -> None:
        self._letter = self._letter or self._compose(deflect)
        try:
            self._deflected = await self._means.publisher.send(self._letter)
        except TransportError as error:
            self._fail_deflected(error)
        else:
            self._deflected.add_done_callback(self._woken)

    def _compose(self, deflect: Deflect) -> Outgoing:
        record, why = deflect.record, deflect.why
        if why.partition is not None:
            return Outgoing(self._means.names.inbox, record.key, record.value, record.headers, why.partition)
        _log.warning("%s goes to the dead letters: %s: %s", record, why.reason, why.note)
        error = DecodeError("record", why.note)
        return coordinator_letter(
            self._means.names, record, reason=why.reason, error=error, now=self._means.clock.now()
        )

    def _take_deflected(self, future: asyncio.Future[Position]) -> None:
        self._deflected = None
        error = None if future.cancelled() else future.exception()
        if isinstance(error, RecordTooLargeError) and self._letter is not None and self._letter.value is not None:
            self._letter = without_payload(self._letter)
        if error is not None or future.cancelled():
            self._fail_deflected(error)
            return
        self._letter = None
        self._failures = 0
        self._means.counters.deflected += 1
        self.shard.deflected()

    def _fail_deflected(self, error: BaseException | None) -> None:
        _log.warning("a record of the inbox could not be stored elsewhere yet: %s", error)
        self._back_off()

    # ---- what a person must know

    def _shout(self, code: str, note: str) -> None:
        """An alert about the shard itself: not durable, and never in the way."""
        _log.warning("%s: %s", code, note)
        self.shard.outputs.append(Send(self._journal.shard_alert(code, note, self._means.clock.now())))
