"""How does a service send what is in its outbox, and what becomes of an event that it cannot send?"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncEngine

from orchestra.duration import Duration, seconds
from orchestra.errors import DefinitionError, RecordTooLargeError, TransportError
from orchestra.events.message import Message, spec_of
from orchestra.outbox.relay import Relay
from orchestra.outbox.table import Waiting
from orchestra.service.background import Background, Surroundings
from orchestra.service.dead_letter import bare, dead_letter, failure_of, without_payload
from orchestra.service.retry import Reason
from orchestra.transport.port import Outgoing, Record

_log = logging.getLogger(__name__)


def relaying(service: str, engine: type, messages: Iterable[type[Message]], keep: Duration | None) -> Background:
    """The relay of a service's outbox, as work beside its handlers.

    Raises:
        DefinitionError: a message has no topic, or ``keep`` is no duration.
    """
    kept = None if keep is None else seconds(keep)

    async def relay(opened: AsyncEngine, around: Surroundings) -> None:
        async def bury(row: Waiting, error: Exception) -> None:
            await _bury(row, error, around)

        relay = Relay(
            opened,
            around.publisher,
            topic=around.topic,
            keep=kept,
            on_failed=bury,
            clock=around.clock,
            jitter=around.jitter,
        )
        around.statistics["outbox"] = relay.statistics()
        await relay.run(around.stopping)

    return Background(f"outbox-{service}", engine, relay, [_topic(service, message) for message in messages])


def _topic(service: str, message: type[Message]) -> str:
    if (topic := spec_of(message).topic) is None:
        name = message.__qualname__
        raise DefinitionError(f"{service}.outbox(messages=[{name}]): {name} has no topic; give it topic='...'")
    return topic


async def _bury(row: Waiting, error: Exception, around: Surroundings) -> None:
    """A dead letter for those who look taround. What is lost here is not lost: the row stays, marked as failed."""
    now = around.clock.now()
    failure = failure_of(error, Reason.UNDELIVERABLE, handler="outbox", attempts=1, first=now, last=now)
    record = Record(around.topic(row.topic), -1, row.id, row.at_ms, row.key, row.value, row.headers)
    letter = dead_letter(record, failure, topic=around.dead_letters, group=around.group, version=around.version)
    for form in (letter, without_payload(letter), bare(letter)):
        try:
            await _store(form, around)
        except RecordTooLargeError:
            continue
        except TransportError as unsent:
            _log.warning("outbox: no dead letter on %s for %s: %s", around.dead_letters, row.event_id, unsent)
        return


async def _store(letter: Outgoing, around: Surroundings) -> None:
    await (await around.publisher.send(letter))
