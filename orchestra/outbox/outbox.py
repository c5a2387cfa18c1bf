"""How does an event get into a database transaction? ``await outbox.add(session, event)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestra.clock import Clock, SystemClock
from orchestra.errors import DefinitionError
from orchestra.events.attributes import Value
from orchestra.events.cloudevents import encode
from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Message, record_key, spec_of
from orchestra.ids import new_id
from orchestra.outbox.table import as_row, insert
from orchestra.sql.session import Session


class Outbox:
    """Where events are written that must leave if, and only if, a transaction commits.

    A relay sends them afterwards: that of a service (``service.outbox(...)``), or ``orchestra outbox relay``. Each is
    sent at least once, with the id that it was written with, in order per record key.

    Args:
        source: the CloudEvents ``source`` of the events: who says this, as ``/shop/web``.
        clock: tells the events' time.
    """

    def __init__(self, source: str, *, clock: Clock | None = None) -> None:
        self._source = source
        self._clock = clock or SystemClock()

    async def add(self, session: Session, *messages: Message, cause: Envelope | None = None) -> None:
        """Write events or commands, to be sent to their classes' topics in this order once the transaction commits.

        Nothing is sent, and nothing is left behind, when it rolls back. Waits for the database only. Not idempotent:
        in a handler, call it within ``ctx.effect``. Safe to cancel: the transaction is then rolled back by its owner.

        Lock what the event is about (the order's row, say) before adding it, as a change of it does anyway: then the
        order of one key's events is the order of its changes.

        Args:
            session: an AsyncSession or AsyncConnection; a transaction begins in it, if none has begun.
            messages: each class has a topic.
            cause: the event that this follows from (``ctx.event``): its correlation and trace are carried on.

        Raises:
            DefinitionError: a message's class has no topic.
            EncodeError: a message has no JSON form.
        """
        if messages:
            await insert(session, [self._row(message, cause) for message in messages])

    def _row(self, message: Message, cause: Envelope | None) -> dict[str, Any]:
        spec = spec_of(type(message))
        if spec.topic is None:
            name = type(message).__qualname__
            raise DefinitionError(f"outbox.add({name}): {name} has no topic; give the class topic='...'")
        event = compose(message, id=new_id(), source=self._source, time=self._clock.now(), extensions=_carried(cause))
        headers, value = encode(event)
        return as_row(
            event_id=event.id,
            type=spec.type,
            topic=spec.topic,
            key=record_key(message),
            value=value,
            headers=headers,
            at=self._clock.now(),
        )


def _carried(cause: Envelope | None) -> Mapping[str, Value]:
    if cause is None:
        return {}
    carried: dict[str, Value] = {
        "correlationid": cause.extensions.get("correlationid", cause.id),
        "causationid": cause.id,
    }
    for name in ("traceparent", "tracestate"):
        if (value := cause.extensions.get(name)) is not None:
            carried[name] = value
    return carried
