"""What waits for one partition, and which sequence number comes next?

A lane has one batch under way at a time. The broker counts sequence numbers per partition and identity; so a failure
costs this lane its identity, and no other lane anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from orchestra.transport.kafka.batch import BATCH_BYTES, Batch, next_sequence, take_batch
from orchestra.transport.kafka.waiting import Parcel, Waiting
from orchestra.transport.port import Identity, Partition

Part = Waiting | Parcel


class Lane:
    """The records for one partition, from the call of ``send`` to the broker's word."""

    __slots__ = ("attempts", "batch", "burnt", "identity", "not_before", "partition", "sequence", "singly", "waiting")

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.waiting: deque[Part] = deque()
        self.batch: Batch[Part] | None = None
        """Encoded, and not judged yet."""
        self.attempts = 0
        """How often the batch may have reached a broker."""
        self.identity: Identity | None = None
        self.burnt: Identity | None = None
        """An identity whose sequence the broker and we may count differently: never used here again."""
        self.sequence = 0
        self.not_before = 0.0
        self.singly = 0
        """So many records go alone, because one of them was refused together with the others."""

    def due(self, linger: float, delivery_timeout: float) -> float:
        """When something may leave, in loop time."""
        if self.batch is not None or linger <= 0 or not self.waiting or self._is_full():
            return self.not_before
        return max(self.not_before, self.waiting[0].deadline - delivery_timeout + linger)

    def _is_full(self) -> bool:
        size = 0
        for part in self.waiting:
            size += part.size
            if size >= BATCH_BYTES:
                return True
        return False

    def load(self, dropped: Callable[[Part], None]) -> Batch[Part] | None:
        """The batch to send: the one under way, or a new one; None if nothing waits."""
        if self.batch is None and self.identity is not None:
            most = 1 if self.singly else 1 << 20
            self.batch = take_batch(self.waiting, self.identity, self.sequence, dropped=dropped, most_parts=most)
            self.attempts = 0
            self.singly = max(0, self.singly - 1)
        return self.batch

    def depart(self) -> None:
        """The batch goes to a broker now: from here on nobody can take it back."""
        if self.batch is not None:
            self.attempts += 1
            for part in self.batch.parts:
                part.is_sent = True

    def came_back(self) -> None:
        """It did not leave after all."""
        self.attempts -= 1
        if self.batch is not None and self.attempts == 0:
            for part in self.batch.parts:
                part.is_sent = False

    def shed(self, dropped: Callable[[Part], None]) -> None:
        """Before a batch leaves (again), forget what nobody waits for any more.

        A record that has not left is encoded out of the batch, because its sender may know that it is not stored. One
        that has left stays as long as another one of its batch is waited for: the bytes must be the same.
        """
        if self.batch is None or not any(part.is_over for part in self.batch.parts):
            return
        if self.attempts == 0:
            self.put_back(singly=False)
        elif all(part.is_over for part in self.batch.parts):
            for part in self.batch.parts:
                dropped(part)
            self.burn()

    def stored(self) -> None:
        """The broker has the batch."""
        if self.batch is not None:
            self.sequence = next_sequence(self.sequence, self.batch.count)
            self.batch = None

    def refused(self) -> None:
        """The broker has not stored the batch, and its sequence numbers are still the next ones."""
        self.batch = None

    def put_back(self, *, singly: bool) -> None:
        """The broker has not stored the batch: send its records again, in a new one."""
        if self.batch is not None:
            parts = list(self.batch.parts)
            if singly:
                parts = [piece for part in parts for piece in part.split()]
            for part in parts:
                part.is_sent = False
            self.waiting.extendleft(reversed(parts))
            self.singly = len(parts) if singly else 0
            self.batch = None

    def burn(self) -> None:
        """Nobody knows what the broker counts: the next batch needs another identity."""
        self.burnt, self.identity, self.sequence, self.batch = self.identity, None, 0, None

    def expired(self, now: float) -> Iterator[Part]:
        """Records whose time is up and that nobody has judged."""
        for part in self.batch.parts if self.batch else ():
            if part.deadline <= now and not part.is_over:
                yield part
        for part in self.waiting:
            if part.deadline > now:
                break
            if not part.is_over:
                yield part

    def held(self) -> Iterator[Part]:
        """Everything that is under way or waits."""
        if self.batch is not None:
            yield from self.batch.parts
        yield from self.waiting
