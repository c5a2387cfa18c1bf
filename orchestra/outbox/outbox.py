"""How does an event get into a database transaction? ``await outbox.add(session, event)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, overload

from orchestra.clock import Clock, SystemClock
from orchestra.errors import DefinitionError
from orchestra.events.attributes import Value
from orchestra.events.cloudevents import encode
from orchestra.events.envelope import Envelope, compose
from orchestra.events.hops import HOPS, next_hop
from orchestra.events.message import Message, record_key, spec_of
from orchestra.events.sdk import from_sdk, is_sdk_event
from orchestra.ids import new_id
from orchestra.outbox.table import as_row, insert
from orchestra.sql.session import Session

if TYPE_CHECKING:
    from cloudevents.core.v1.event import CloudEvent


class Outbox:
    """Where events are written that must leave if, and only if, a transaction commits.

    A relay sends them afterwards: that of a service (``service.outbox(...)``), or ``orchestra outbox relay``. Each is
    sent at least once, with the id that it was written with, in order per record key.

    Args:
        source: the CloudEvents ``source`` of the events: who says this, as ``/shop/web``.
        clock: tells the events' time.
        hop_limit: how many events may lead to one, each the ``cause`` of the next, before ``add`` refuses it.
    """

    def __init__(self, source: str, *, clock: Clock | None = None, hop_limit: int = 64) -> None:
        self._source = source
        self._hop_limit = hop_limit
        self._clock = clock or SystemClock()

    @overload
    async def add(self, session: Session, *messages: Message, cause: Envelope | None = None) -> None: ...
    @overload
    async def add(self, session: Session, event: CloudEvent, /, *, topic: str, key: str | None = None) -> None: ...
    async def add(
        self,
        session: Session,
        *messages: Any,
        cause: Envelope | None = None,
        topic: str | None = None,
        key: str | None = None,
    ) -> None:
        """Write events or commands, to be sent to their classes' topics in this order once the transaction commits.

        Nothing is sent, and nothing is left behind, when it rolls back. Waits for the database only. Not idempotent:
        in a handler, call it within ``ctx.effect``. Safe to cancel: the transaction is then rolled back by its owner.

        Lock what the event is about (the order's row, say) before adding it, as a change of it does anyway: then the
        order of one key's events is the order of its changes.

        Args:
            session: an AsyncSession or AsyncConnection; a transaction begins in it, if none has begun.
            messages: each class has a topic. Or one ``CloudEvent`` of the cloudevents SDK, which travels in structured
                mode with the id, source and attributes that it has.
            cause: the event that this follows from (``ctx.event``): its correlation and trace are carried on, and its
                hops are counted.
            topic: where an SDK's event goes, as declared names go; not for messages, whose class says it.
            key: the record key of an SDK's event.

        Raises:
            DefinitionError: no topic is known.
            EncodeError: a message has no JSON form.
            HopLimitError: it would be too many events away from what began it all; the handled record becomes a dead
                letter.
        """
        if len(messages) == 1 and is_sdk_event(messages[0]):
            await insert(session, [self._whole(from_sdk(messages[0]), topic, key)])
        elif messages:
            await insert(session, [self._row(message, cause) for message in messages])

    def _row(self, message: Message, cause: Envelope | None) -> dict[str, Any]:
        spec = spec_of(type(message))
        if spec.topic is None:
            name = type(message).__qualname__
            raise DefinitionError(f"outbox.add({name}): {name} has no topic; give the class topic='...'")
        now = self._clock.now()
        event = compose(message, id=new_id(), source=self._source, time=now, extensions=self._carried(cause))
        headers, value = encode(event)
        return as_row(event.id, spec.type, spec.topic, record_key(message), value, headers, now)

    def _whole(self, event: Envelope, topic: str | None, key: str | None) -> dict[str, Any]:
        if topic is None:
            raise DefinitionError("outbox.add(CloudEvent): nobody knows where it goes; give topic='...'")
        headers, value = encode(event, "structured")
        record_key = None if key is None else key.encode()
        return as_row(event.id, event.type, topic, record_key, value, headers, self._clock.now())

    def _carried(self, cause: Envelope | None) -> Mapping[str, Value]:
        if cause is None:
            return {}
        carried: dict[str, Value] = {
            "correlationid": cause.extensions.get("correlationid", cause.id),
            "causationid": cause.id,
            HOPS: next_hop(cause, self._hop_limit),
        }
        for name in ("traceparent", "tracestate"):
            if (value := cause.extensions.get(name)) is not None:
                carried[name] = value
        return carried
