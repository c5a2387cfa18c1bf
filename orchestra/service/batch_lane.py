"""What waits for its batch, and how far has a batch come? One lane for each batch handler and partition."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestra.events.envelope import Envelope
from orchestra.service.batch_context import Item
from orchestra.service.progress import Progress, Tries
from orchestra.service.share import Lane, Share
from orchestra.transport.port import Record

if TYPE_CHECKING:
    from orchestra.service.batch import Batch
    from orchestra.service.binding import Binding


class Handlings:
    """How many batch handlers are not done with a record. Those of one event share this."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


class Held:
    """An event that waits for a batch handler, or is in its hands. ``at``: since when, in the loop's time."""

    __slots__ = ("at", "binding", "event", "handlings", "record")

    def __init__(
        self, record: Record, event: Envelope, binding: Binding, handlings: Handlings | None, at: float
    ) -> None:
        self.record = record
        self.event = event
        self.binding = binding
        self.handlings = handlings
        """None: no other batch handler has it."""
        self.at = at


@dataclass(slots=True)
class Whole:
    """A batch that is tried as one."""

    items: list[Item]
    held: list[Held]
    tries: Tries


@dataclass(slots=True)
class Single:
    """An event of a batch that was divided, or that failed in it: a batch of one."""

    held: Held
    progress: Progress


class BatchLane(Lane):
    """The events of one partition for one batch handler, oldest first. ``records`` are theirs.

    It is *collecting* while its oldest batch is not full and not due; then it is parked. ``whole`` and ``singles`` are
    what was taken out of ``waiting`` and is not done: first the one is handled, then the others.
    """

    __slots__ = ("batch", "is_collecting", "singles", "state", "waiting", "whole")

    def __init__(self, share: Share, held: Held, batch: Batch) -> None:
        super().__init__(share, held.binding.name, held.record)
        self.batch = batch
        self.waiting: deque[Held] = deque((held,))
        self.whole: Whole | None = None
        self.singles: deque[Single] = deque()
        self.state = self.progress = BatchState()
        self.is_collecting = True

    @property
    def is_full(self) -> bool:
        """Whether a batch can be handled now. A share's gate ends a batch, and so does its standing still for this."""
        return len(self.waiting) >= self.batch.size or self.is_pressed or self.is_gated(self.waiting[-1].record)

    def is_due(self, now: float) -> bool:
        """Whether the oldest batch is full, or has waited long enough."""
        return self.is_full or now >= self.waiting[0].at + self.batch.seconds

    def is_gated(self, record: Record) -> bool:
        """Whether this record may not be begun yet."""
        gate = self.share.gate
        return gate is not None and record.offset >= gate

    def add(self, held: Held) -> None:
        """One more that waits."""
        self.records.append(held.record)
        self.waiting.append(held)

    def take(self) -> list[Held]:
        """The oldest batch: the first one, which passed the gate, and those that may be begun with it."""
        taken = [self.waiting.popleft()]
        while self.waiting and len(taken) < self.batch.size and not self.is_gated(self.waiting[0].record):
            taken.append(self.waiting.popleft())
        return taken

    def forget(self, done: Iterable[Held]) -> None:
        """These are done. The others stay, in their order."""
        gone, records = {id(held.record) for held in done}, self.records
        while records and id(records[0]) in gone:  # nearly always all of them
            gone.discard(id(records.popleft()))
        if gone:
            self.records = deque(record for record in records if id(record) not in gone)

    def settle(self, now: float) -> BatchState:
        """What to do next, and when."""
        state = self.state
        if self.whole is not None:
            state.until, state.why = self.whole.tries.due, self.whole.tries.why
        elif self.singles:
            single = self.singles[0].progress
            state.until, state.why = (single.until, single.why) if single.settle() else (now, "is divided")
        elif self.waiting:
            self.is_collecting = True
            state.until = now if self.is_full else self.waiting[0].at + self.batch.seconds
            state.why = "waits for its batch"
        return state


class BatchState:
    """The progress of a batch lane; see :class:`orchestra.service.share.Waiting`."""

    __slots__ = ("until", "why")

    def __init__(self) -> None:
        self.until = 0.0
        self.why = "waits for its batch"
