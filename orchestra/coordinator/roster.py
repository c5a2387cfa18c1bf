"""Which instances are in a shard's memory, and when is each due? Pure.

An instance is kept as the bytes of its newest record, and parsed when an input comes. Due times are absolute. A timer
that starts with a message has none until that message is acknowledged; in a record whose messages all count as sent, it
started with the record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from orchestra.coordinator.record import EARLY, EXPIRED, QUEUED, Instance, Marks, decode_instance, without_outbox
from orchestra.flows.decision import Timer

RUNNING = frozenset({"running", "compensating"})
"""What ``max_running`` counts."""

_NEVER = datetime.max.replace(tzinfo=UTC)


class Entry(NamedTuple):
    """``value``: the first line of the record. ``timers`` None: not parsed since the restore; they run from ``now``."""

    value: bytes
    status: str | None
    due: datetime | None
    now: datetime
    timers: tuple[Timer, ...] | None = None


class Roster:
    """The instances of one shard."""

    __slots__ = ("alarms", "early", "entries", "expiries", "queue", "running")

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.alarms: list[tuple[datetime, str]] = []
        self.expiries: list[tuple[datetime, str]] = []
        self.queue: dict[str, None] = {}
        self.running = 0
        self.early = 0

    def get(self, key: str) -> Instance | None:
        """The instance, with the due times of its timers as they are known now."""
        entry = self.entries.get(key)
        if entry is None:
            return None
        instance = decode_instance(key, entry.value)
        if instance.timers:
            instance.timers = self.timers(key)
        return instance

    def put(self, instance: Instance, value: bytes, now: datetime, remember: float) -> None:
        """The instance's newest record, as it is in memory from now on."""
        key, label = instance.id, instance.label
        before = self.entries.get(key)
        self.running += (label in RUNNING) - (before is not None and before.status in RUNNING)
        self.early += (label == EARLY) - (before is not None and before.status == EARLY)
        if label == QUEUED:
            self.queue[key] = None
        else:
            self.queue.pop(key, None)
        self.entries[key] = Entry(value, label, None, now)
        if instance.finished is not None and (before is None or before.status != label):
            self.expire(key, instance.finished, _remembered(instance, remember))
        self.arm(key, instance.timers)

    def restore(self, key: str, value: bytes, marks: Marks, remember: float) -> None:
        """The record of an instance, as a restore found it."""
        value = without_outbox(value)
        self.entries[key] = Entry(value, marks.status, marks.due, marks.now)
        self.running += marks.status in RUNNING
        self.early += marks.status == EARLY
        if marks.due is not None:
            self.alarms.append((marks.due, key))
        elif marks.status not in RUNNING:
            instance = decode_instance(key, value)
            if instance.finished is not None:
                self.expire(key, instance.finished, _remembered(instance, remember))

    def restored(self) -> None:
        """All records are there."""
        heapify(self.alarms)
        queued = [key for key, entry in self.entries.items() if entry.status == QUEUED]
        self.queue.update(dict.fromkeys(sorted(queued, key=self._queued_at)))

    def forget(self, key: str) -> None:
        del self.entries[key]

    # ---- timers

    def timers(self, key: str) -> tuple[Timer, ...]:
        """The instance's pending timers."""
        entry = self.entries.get(key)
        if entry is None:
            return ()
        if entry.timers is not None:
            return entry.timers
        return tuple(started(timer, entry.now) for timer in decode_instance(key, entry.value).timers)

    def arm(self, key: str, timers: tuple[Timer, ...]) -> None:
        """These are the instance's pending timers now."""
        due = min((timer.due for timer in timers if timer.due is not None), default=None)
        self.entries[key] = self.entries[key]._replace(timers=timers, due=due)
        if due is not None:
            heappush(self.alarms, (due, key))
        if len(self.alarms) > 2 * len(self.entries) + 1000:  # mostly cancelled ones
            self.alarms = [(entry.due, key) for key, entry in self.entries.items() if entry.due is not None]
            heapify(self.alarms)

    def drop_timer(self, key: str, fired: tuple[str, int]) -> None:
        self.arm(key, without(fired, self.timers(key)))

    def unstarted(self, key: str, waiting: Iterable[str]) -> None:
        """After a restore: messages with these ids have not been sent, so the timers that follow them do not run."""
        if self.entries[key].due is not None:
            ids = set(waiting)
            timers = decode_instance(key, self.entries[key].value).timers
            self.arm(key, tuple(t if t.after in ids else started(t, self.entries[key].now) for t in timers))

    def start_timers(self, key: str, message_id: str, now: datetime) -> None:
        """The message is acknowledged: the timers that follow it run from now."""
        entry = self.entries.get(key)
        if entry is None or not entry.timers or all(timer.after != message_id for timer in entry.timers):
            return
        self.arm(key, tuple(started(t, now) if t.after == message_id else t for t in entry.timers))

    def set_due_times(self, instance: Instance, waiting: Iterable[str], now: datetime) -> None:
        """A flow names a step's timer by its message, also when that has long been sent: the due time is known here.

        ``waiting``: the ids of messages that are yet to be sent.
        """
        if instance.timers:
            ids = set(waiting)
            known = {(timer.name, timer.generation): timer for timer in self.timers(instance.id)}
            instance.timers = tuple(_resolved(timer, known, ids, now) for timer in instance.timers)

    def next_due(self) -> datetime | None:
        """When the next timer is due."""
        while self.alarms:
            due, key = self.alarms[0]
            entry = self.entries.get(key)
            if entry is not None and entry.due == due:
                return due
            heappop(self.alarms)  # it was cancelled, or armed anew
        return None

    def take_due(self, now: datetime) -> tuple[str, Timer] | None:
        """The timer that is due first, if one is. It is armed no longer."""
        due = self.next_due()
        if due is None or due > now:
            return None
        key = heappop(self.alarms)[1]
        return key, min(self.timers(key), key=_due)

    # ---- finished ones

    def expire(self, key: str, finished: datetime, remember: float) -> None:
        heappush(self.expiries, (finished + timedelta(seconds=remember), key))

    def expired(self, until_ms: float, remember: float, most: int) -> Iterator[str]:
        """Finished instances that need no longer be remembered at that time, earliest first."""
        while most and self.expiries and self.expiries[0][0].timestamp() * 1000 <= until_ms:
            most -= 1
            due, key = heappop(self.expiries)
            if self._is_over(key, due, remember):
                yield key

    def _is_over(self, key: str, due: datetime, remember: float) -> bool:
        """Whether it is still the end that was meant: an instance may go on after its end, and have another."""
        instance = decode_instance(key, self.entries[key].value) if key in self.entries else None
        if instance is None or instance.finished is None:
            return False
        return instance.finished + timedelta(seconds=_remembered(instance, remember)) <= due

    def _queued_at(self, key: str) -> int:
        return decode_instance(key, self.entries[key].value).inputs[0].offset or 0


def _remembered(instance: Instance, remember: float) -> float:
    """For how many seconds. What never was an instance protects nothing."""
    return 0.0 if instance.status == EXPIRED else remember


def started(timer: Timer, now: datetime) -> Timer:
    """The timer, running from ``now`` if it was not running yet."""
    if timer.due is not None:
        return timer
    return Timer(timer.name, timer.generation, now + timedelta(seconds=timer.delay), timer.after, timer.delay)


def without(fired: tuple[str, int], timers: tuple[Timer, ...]) -> tuple[Timer, ...]:
    """The timers but that one: (name, generation)."""
    return tuple(timer for timer in timers if (timer.name, timer.generation) != fired)


def first_due(timers: Iterable[Timer], now: datetime) -> datetime | None:
    """For a record's header: the next due time, should every message count as sent when the record was written."""
    return min((_due(started(timer, now)) for timer in timers), default=None)


def _due(timer: Timer) -> datetime:
    return timer.due if timer.due is not None else _NEVER


def _resolved(timer: Timer, known: Mapping[tuple[str, int], Timer], waiting: set[str], now: datetime) -> Timer:
    if timer.due is not None:
        return timer
    same = known.get((timer.name, timer.generation))
    if same is not None and same.due is not None:
        return timer._replace(due=same.due)
    return timer if timer.after in waiting else started(timer, now)
