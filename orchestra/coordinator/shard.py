"""When does a decision count, when does what it says leave, and where does the next owner go on? The protocol, pure.

A shard is one inbox partition and one fenced log. Values go in (records, acknowledgements, the time); its wishes lie in
``outputs``, and :mod:`orchestra.coordinator.owner` does the I/O. It knows no asyncio and no clock, so that every order
of events can be explored (``tests/unit/coordinator/test_shard_model.py``). The rules; each row of the table in
``docs/adr/0001-fenced-log.md`` is the shortest history that breaks without one:

- One record per decision. It holds the whole instance and its outbox: every message that is decided and not known to be
  sent, carried forward until it is.
- Large values of an instance stand in records of their own, before the one that first refers to them. They are no
  decision, and tell nothing new: where they land and the instance's record does not, its input is read again.
- Appends are pipelined, and later decisions build on memory. A message leaves only once its record is acknowledged.
- Every record says in its headers how far the shard had come: ``position``, the highest inbox offset taken in, on
  every kind of record; ``emitted``, the mark without holes at and below which every message has been sent. Neither
  ever falls.
- After an append that failed, or may have failed, nothing more is appended or sent. The shard is dropped, and restored
  from the log under a new claim, which settles what happened.
- An inbox record that becomes no instance's input here (undecodable, another shard's, nobody's) is stored elsewhere
  first. Until that is acknowledged nothing behind it is taken in, and the position stays before it.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from orchestra.coordinator.answering import is_called_by
from orchestra.coordinator.exchange import Append, Change, Deflect, Limits, Output, Restored, Rules, Send
from orchestra.coordinator.inbox import Deflected, classify
from orchestra.coordinator.outbox import Outbox
from orchestra.coordinator.record import (
    PARKED,
    POSITION,
    VERSIONS,
    Given,
    Instance,
    Marks,
    OutboxMessage,
    decode_instance,
    decode_outbox,
    encode_instance,
    split_value_key,
    to_headers,
    with_outbox,
)
from orchestra.coordinator.roster import RUNNING, Roster, first_due, without
from orchestra.coordinator.values import Values
from orchestra.errors import FenceBreachedError
from orchestra.transport.port import Record

KEEP_ALIVE = timedelta(hours=1)
"""The longest silence on the log: a broker forgets a producer that is idle for a day, and the fence with it."""
CATCH_UP = timedelta(seconds=10)
"""The longest that a quiet log's position and mark may lie behind memory."""


class Shard:
    """One shard under one claim. After any method has raised, or an append has failed, it is to be dropped."""

    def __init__(self, rules: Rules, limits: Limits, restored: Restored, now: datetime) -> None:
        self.rules = rules
        self.limits = limits
        self.producer_id = restored.producer_id
        self.claim = restored.claim
        self.roster = Roster()
        self.outbox = Outbox()
        self.values = Values()
        self.outputs: list[Output] = []
        self.dead = False

        self.pending: deque[Append] = deque()  # not acknowledged, in order
        self.last = restored.claim  # the highest acknowledged offset
        self.position = restored.position  # taken in, in memory
        self.durable = restored.position  # taken in, in an acknowledged record
        self.emitted = restored.emitted  # the highest mark that a record tells
        self.spoke = restored.emitted  # the highest acknowledged record that introduced a message
        self.now = max(now, restored.now)
        self.told = (restored.position, restored.emitted, self.now)  # by the newest record, and when

        self.deflecting: Deflect | None = None
        self.outdated: deque[str] = deque()  # under way on a version that a newer one may take over
        self.input_ms = 0  # append time of the newest inbox record taken in
        self._restore(restored)

    # ---- what happens to it

    def receive(self, record: Record, now: datetime) -> None:
        """The next record of the inbox. Not while ``deflecting``."""
        if record.offset <= self.position:
            return
        self.see(now)
        found = classify(record, partitions=self.limits.partitions)
        if isinstance(found, Deflected):
            self._deflect(record, found)
            return
        key, given = found
        change = self.rules.take(key, self.get(key), given, self.now, free=self._has_room(given))
        if isinstance(change, Deflected):
            self._deflect(record, change)
            return
        self._pass(record)  # before the record is made: its headers tell the position that includes it
        if change is not None:
            self._commit(change, given)
            self._fill()

    def _has_room(self, given: Given) -> bool:
        if given.kind == "event":
            return self.roster.early < self.limits.max_early
        if given.kind == "start" and is_called_by(given.event):
            return True  # its caller holds a place already, and waits: in a queue it would wait for ever
        return self.roster.running < self.limits.max_running

    def deflected(self) -> None:
        """The deflected record is stored where it belongs."""
        assert self.deflecting is not None
        self._pass(self.deflecting.record)
        self.deflecting = None

    def appended(self, offset: int) -> None:
        """The oldest pending append is acknowledged: what it introduced may leave. Raises FenceBreachedError."""
        if self.dead:
            return
        if offset <= self.last:
            # A broker that takes a record for a repeat answers with an old offset, and stores nothing.
            raise FenceBreachedError(f"acknowledged at offset {offset}, which is not beyond {self.last}")
        append = self.pending.popleft()
        self.last = offset
        self.durable = append.position
        if append.introduces:
            self.spoke = offset
        for message in append.introduces:
            self._due(message, offset)

    def append_failed(self) -> None:
        """An append failed, or nobody knows. What was decided after it must not count either: all of it is dropped."""
        self.dead = True
        self.pending.clear()
        self.outputs.clear()

    def sent(self, message: OutboxMessage) -> None:
        """A message is acknowledged."""
        if self.outbox.sent(message):
            self.roster.start_timers(message.ref.instance, message.id, self.now)

    def not_sent(self, message: OutboxMessage) -> None:
        """A message failed, or nobody knows: it is to be sent again, and none of its instance may overtake it."""
        self.outbox.not_sent(message)

    def send_again(self) -> None:
        """Send what was held back."""
        self.outputs += map(Send, self.outbox.again())

    def wake(self, now: datetime, *, timers: bool = True, most: int = 100) -> None:
        """Time has passed: fire timers that are due (at most so many), renew, forget, keep the log alive."""
        self.see(now)
        while timers and most and (due := self.roster.take_due(self.now)) is not None:
            most -= 1
            self._fire(due[0], (due[1].name, due[1].generation))
        self._renew()
        self._forget()
        self._sweep()
        self._keep_alive()

    def see(self, now: datetime) -> None:
        """Time never falls, whatever an owner's clock says."""
        self.now = max(self.now, now)

    def get(self, key: str) -> Instance | None:
        """The instance as memory has it, decoded for one decision."""
        instance = self.roster.get(key)
        if instance is not None:
            instance.values = self.values.of(key, instance.run)
        return instance

    # ---- a decision: one record, which is memory at once and the truth once it is acknowledged

    def _commit(self, change: Change, given: Given | None) -> None:
        memory, value = self._encode(change)
        if len(value) > self.limits.instance_bytes or self._has_large_value(change):
            key = change.instance.id
            change = self.rules.shrink(key, self.get(key), given, self.now)
            memory, value = self._encode(change)
        instance = change.instance
        self.outbox.decide(instance.id, change.messages)
        self.roster.put(instance, memory, self.now, self.limits.remember)
        self._append_instance(change, value)

    def _append_instance(self, change: Change, value: bytes) -> None:
        """Its values first. Their nulls come later: what the log says until then needs them."""
        instance = change.instance
        for key, stored in self.values.keep(instance, change.values):
            self._append(key, stored, self._nothing_new())
        self._append(instance.id, value, self._marks(instance), change.messages)
        self.values.drop(instance, change.values)

    def _has_large_value(self, change: Change) -> bool:
        return any(value is not None and len(value) > self.limits.value_bytes for value in change.values.values())

    def _encode(self, change: Change) -> tuple[bytes, bytes]:
        """The instance as memory keeps it, and as the log does: with its outbox."""
        outbox = (*self._carried(change.instance.id), *change.messages)
        self.roster.set_due_times(change.instance, (message.id for message in outbox), self.now)
        memory = encode_instance(change.instance)
        return memory, with_outbox(memory, outbox)

    def _carried(self, key: str) -> tuple[OutboxMessage, ...]:
        return self.outbox.carried(key, self.last)

    def _append(self, key: str, value: bytes | None, marks: Marks, introduces: tuple[OutboxMessage, ...] = ()) -> None:
        append = Append(key, value, to_headers(marks), marks.position, introduces)
        self.emitted = marks.emitted
        self.told = (marks.position, marks.emitted, self.now)
        self.pending.append(append)
        self.outputs.append(append)

    def _marks(self, instance: Instance | None = None) -> Marks:
        if instance is None:
            return Marks(self.position, self.mark(), self.producer_id, self.claim, self.now)
        flow = instance.flow if instance.version is None else f"{instance.flow}/{instance.version}"
        due = first_due(instance.timers, self.now)
        return Marks(self.position, self.mark(), self.producer_id, self.claim, self.now, due, instance.label, flow)

    def _nothing_new(self) -> Marks:
        """What the newest record tells already: a record with these marks may land alone, and may go."""
        position, emitted, _ = self.told
        return Marks(position, emitted, self.producer_id, self.claim, self.now)

    def mark(self) -> int:
        """The highest offset at and below which every message has been sent. No unsent one may lie below it."""
        unsent = self.outbox.lowest_unsent()
        return max(self.emitted, self.last if unsent is None else unsent - 1)

    def _due(self, message: OutboxMessage, first: int) -> None:
        if self.outbox.due(message, first):
            self.outputs.append(Send(message))

    def _pass(self, record: Record) -> None:
        self.position = record.offset
        if record.append_time:
            self.input_ms = max(self.input_ms, record.timestamp_ms)

    def _deflect(self, record: Record, why: Deflected) -> None:
        self.deflecting = Deflect(record, why)
        self.outputs.append(self.deflecting)

    # ---- what it decides by itself

    def _fire(self, key: str, fired: tuple[str, int]) -> None:
        self.roster.drop_timer(key, fired)  # it fires once, whatever comes of it
        given = Given("timer", timer=fired)
        change = self.rules.take(key, self.get(key), given, self.now, free=True)
        if isinstance(change, Change):
            change.instance.timers = without(fired, change.instance.timers)
            self._commit(change, given)
            self._fill()

    def _fill(self) -> None:
        """Let queued instances run while there is room."""
        while self.roster.queue and self.roster.running < self.limits.max_running:
            self._release(next(iter(self.roster.queue)))

    def _release(self, key: str) -> None:
        instance = self.get(key)
        assert instance is not None
        self._commit(self.rules.release(instance, self.now), None)

    def _forget(self) -> None:
        """Write the nulls of instances that need no longer be remembered.

        By the inbox's own append times: what was read up to a time holds no repeat from before it, however long the
        shard stood still. The position goes first: compaction removes a null in the end, and its headers with it.
        """
        due = list(self.roster.expired(self._read_until_ms(), self.limits.remember, most=100))
        forgotten = [key for key in due if not self.outbox.of(key)]
        if forgotten:
            self.tell_position()
        for key in due:
            if key in forgotten:
                self.roster.forget(key)
                self.values.forget(key)
                self._append(key, None, self._marks())
            else:
                self.roster.expire(key, self.now, 0.0)

    def _renew(self) -> None:
        """Let newer versions take over what was found under way on older ones: some at a time, for it may be much."""
        for _ in range(min(100, len(self.outdated))):
            key = self.outdated.popleft()
            instance = self.get(key)
            if instance is not None and (change := self.rules.renew(instance, self.now)) is not None:
                self._commit(change, None)

    def _sweep(self) -> None:
        """Write the nulls of values that no record refers to any more: some at a time, for a list leaves thousands."""
        for key in self.values.sweep(most=100):
            self._append(key, None, self._nothing_new())

    def _read_until_ms(self) -> float:
        return self.input_ms

    def _keep_alive(self) -> None:
        if self.now - self.told[2] >= (CATCH_UP if self.is_behind() else KEEP_ALIVE):
            self.tell_position()

    def is_behind(self) -> bool:
        """Whether the newest record tells less than what is known now, so that a next owner would repeat something."""
        position, emitted, _ = self.told
        return self.position > position or min(self.mark(), self.spoke) > emitted

    def tell_position(self) -> None:
        """Append a record that says no more than where the shard stands."""
        self._append(POSITION, b"{}", self._marks())

    def tell_versions(self, value: bytes) -> None:
        """Append the digests of all flow versions that ever ran here."""
        self._append(VERSIONS, value, self._marks())

    # ---- restore

    def _restore(self, restored: Restored) -> None:
        for key, (_, marks, value) in restored.records.items():
            self.roster.restore(key, value, marks, self.limits.remember)
        self.roster.restored()
        of_values = {split_value_key(key)[0] for key in restored.values} & restored.records.keys()
        self.values.restore(restored.values, (decode_instance(key, restored.records[key][2]) for key in of_values))
        self._send_outboxes(restored)
        for key, (_, marks, _) in restored.records.items():
            if marks.status == PARKED and self._can_release(key):
                self._release(key)
            elif marks.status in RUNNING and self.rules.is_outdated(marks.flow):
                self.outdated.append(key)
        self._fill()

    def _send_outboxes(self, restored: Restored) -> None:
        """Send again what the last owner may not have sent: the outbox of every record above the mark."""
        messages: list[tuple[int, OutboxMessage]] = []
        for key, (offset, _, value) in restored.records.items():
            if offset > restored.emitted and (outbox := decode_outbox(key, value)):
                self.spoke = max(self.spoke, offset)
                self.outbox.decide(key, outbox)
                self.roster.unstarted(key, (message.id for message in outbox))
                messages += [(offset if message.first is None else message.first, message) for message in outbox]
        for first, message in sorted(messages, key=lambda pair: pair[0]):
            self._due(message, first)

    def _can_release(self, key: str) -> bool:
        instance = self.get(key)
        return instance is not None and self.rules.can_release(instance)
