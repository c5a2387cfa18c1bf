"""How does what a flow says become a record? Pure.

Commands and events go to their topics. What flows say to each other (a start, a request) goes through the
coordinator's own inbox, as if the router or an operator had written it; an answer goes back to where the caller said.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestra.coordinator.inbox import INPUT, INSTANCE
from orchestra.coordinator.record import OutboxMessage, Ref
from orchestra.events.attributes import Value
from orchestra.events.cloudevents import encode
from orchestra.events.envelope import Envelope
from orchestra.flows.decision import Emission, EmissionKind
from orchestra.transport.partitioner import partition_for

Make = Callable[[Ref], OutboxMessage]
"""A message that is encoded and waits for its place in a record."""


class Wire:
    """What one shard puts on the wire.

    Args:
        topic: declared topic -> topic on this cluster.
        inbox: the topic, and ``shard`` its partition, that commands and starts name as the place for their answers.
        partitions: of the inbox.
    """

    def __init__(self, topic: Callable[[str], str], inbox: str, shard: int, partitions: int) -> None:
        self._topic = topic
        self._inbox = inbox
        self._partitions = partitions
        self._replyto: dict[str, Value] = {"replyto": inbox, "replypartition": shard}

    def encode(self, emission: Emission) -> Make:
        """The message that an emission asks for."""
        event, key = emission.event, emission.key
        if emission.kind in ("command", "cancel", "start"):
            event = event.evolve(extensions=self._replyto)
        match emission.kind:
            case "start" | "request":
                instance = key or b""
                kind = b"start" if emission.kind == "start" else b"operator"
                marks = ((INPUT, kind), (INSTANCE, instance))
                number = partition_for(instance, self._partitions)
                return message(emission.kind, event, self._inbox, number, key, marks)
            case "outcome":
                return message("outcome", event, emission.topic, emission.partition, key)
            case _:
                return message(emission.kind, event, self._topic(emission.topic), None, key)


def message(
    kind: EmissionKind,
    event: Envelope,
    topic: str,
    partition: int | None,
    key: bytes | None,
    marks: tuple[tuple[str, bytes], ...] = (),
) -> Make:
    """A message as it will be sent: encoded now, so that one that cannot be shows in its decision."""
    headers, value = encode(event)
    whole = (*headers, *marks)
    return lambda ref: OutboxMessage(ref, event.id, kind, topic, key, value, whole, partition)
