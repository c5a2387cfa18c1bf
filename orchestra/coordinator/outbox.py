"""Which messages are decided and not yet known to be sent? Pure.

A message is *decided* when its record is appended, *due* when that record is acknowledged, and *sent* when the message
itself is acknowledged. Those of one instance are handed over in order: when one fails, the later ones wait behind it.
"""

from __future__ import annotations

from orchestra.coordinator.record import OutboxMessage, Ref


class Outbox:
    """The messages of one shard, by instance and by the offset that introduced them."""

    __slots__ = ("by_instance", "held", "in_flight", "unsent")

    def __init__(self) -> None:
        self.by_instance: dict[str, tuple[OutboxMessage, ...]] = {}
        self.unsent: dict[Ref, int] = {}
        """Due messages, with the offset of the record that introduced each: rising, for so do acknowledgements."""
        self.in_flight: set[Ref] = set()
        self.held: set[str] = set()

    def of(self, instance: str) -> tuple[OutboxMessage, ...]:
        """What of the instance's is decided and not known to be sent, in order."""
        return self.by_instance.get(instance, ())

    def carried(self, instance: str, last: int) -> tuple[OutboxMessage, ...]:
        """What the instance's next record must carry on, each message with the offset that introduced it.

        Where the introducing record is not acknowledged itself, its offset lies beyond ``last``, the highest that is. A
        bound that is too low only holds the mark back.
        """
        return tuple(
            message if message.first is not None else message._replace(first=self.unsent.get(message.ref, last + 1))
            for message in self.of(instance)
        )

    def decide(self, instance: str, messages: tuple[OutboxMessage, ...]) -> None:
        """The instance's next record introduces these."""
        if messages:
            self.by_instance[instance] = (*self.of(instance), *messages)

    def due(self, message: OutboxMessage, first: int) -> bool:
        """The record at ``first``, which introduced the message, is durable. Gives whether it may leave at once."""
        self.unsent[message.ref] = first
        return self._leave(message)

    def sent(self, message: OutboxMessage) -> bool:
        """The message is stored. False: that was known."""
        self.in_flight.discard(message.ref)
        if self.unsent.pop(message.ref, None) is None:
            return False
        instance = message.ref.instance
        left = tuple(other for other in self.of(instance) if other.ref != message.ref)
        if left:
            self.by_instance[instance] = left
        else:
            self.by_instance.pop(instance, None)
        return True

    def not_sent(self, message: OutboxMessage) -> None:
        """The message may not be stored: it and what follows it of its instance wait for :meth:`again`."""
        self.in_flight.discard(message.ref)
        if message.ref in self.unsent:
            self.held.add(message.ref.instance)

    def again(self) -> list[OutboxMessage]:
        """All that was held back, in order per instance; it leaves now."""
        held, self.held = self.held, set()
        waiting = (message for instance in sorted(held) for message in self.of(instance))
        return [m for m in waiting if m.ref in self.unsent and m.ref not in self.in_flight and self._leave(m)]

    def lowest_unsent(self) -> int | None:
        """The lowest offset that introduced a message which is due and not known to be sent."""
        return next(iter(self.unsent.values()), None)

    def _leave(self, message: OutboxMessage) -> bool:
        if message.ref.instance in self.held:
            return False
        self.in_flight.add(message.ref)
        return True
