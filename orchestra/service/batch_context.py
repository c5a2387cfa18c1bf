"""What does a batch handler get beside its events?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from pydantic import BaseModel

from orchestra.errors import DefinitionError
from orchestra.events.envelope import Envelope
from orchestra.events.message import Message, spec_of
from orchestra.service.context import Site, effect_id_of
from orchestra.service.outcome import Emitted, emitted, emitted_plain
from orchestra.transport.port import Record

if TYPE_CHECKING:
    from orchestra.events.topic import Topic

V = TypeVar("V", bound=BaseModel)

_log = logging.getLogger("orchestra.handler")


class Item(NamedTuple):
    """One event of a batch, as the handler gets it (``value``) and as it came."""

    record: Record
    event: Envelope
    value: Any


class BatchContext:
    """One attempt at handling one batch. Where a method takes an event, it takes its place in the list as well.

    Attributes:
        attempt: which try this is, from 1.
        until: when this attempt is cancelled, in the event loop's time; None where the handler has no timeout.
    """

    __slots__ = ("_items", "_loop", "_places", "_site", "attempt", "emitted", "failures", "until")

    def __init__(self, items: Sequence[Item], site: Site, attempt: int = 1) -> None:
        self._items = items
        self._site = site
        self._places: dict[int, int] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.attempt = attempt
        self.until: float | None = None
        self.failures: dict[int, Exception] = {}
        """Place in the list -> why that event failed."""
        self.emitted: dict[int, list[Emitted]] = {}
        """Place in the list -> what is published for that event."""

    def enter_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        """From here on it is used in a thread, outside the loop."""
        self._loop = loop

    def fail(self, event: Any, error: Exception) -> None:
        """Say that this one event failed; the others are done when the handler returns.

        It is treated as if a handler of single events had raised ``error`` for it: a dead letter, or another try.

        Args:
            event: one of the batch, itself or its place.
            error: why. :class:`orchestra.PermanentError` makes a dead letter at once.

        Raises:
            DefinitionError: it is not of this batch, or the error is no exception.
        """
        if not isinstance(error, Exception):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(f"{self.handler}: ctx.fail(event, {error!r}): give the exception that says why")
        self.failures[self._place(event)] = error

    @overload
    def publish(self, message: Message, *, of: Any) -> None: ...
    @overload
    def publish(self, message: V, *, of: Any, to: Topic[V]) -> None: ...
    def publish(self, message: Any, *, of: Any, to: Topic[Any] | None = None) -> None:
        """Emit an event or a command, to its class's topic, once the handler has returned well and ``of`` not failed.

        Args:
            message: what to emit.
            of: the event that it follows from: its id makes the message's, so it repeats when the event comes again,
                in whatever batch.
            to: a topic that holds no CloudEvents; the message is one of its values.

        Raises:
            DefinitionError: the message has no topic, or ``of`` is not of this batch.
            EncodeError: the message has no JSON form.
        """
        if to is not None:
            self.emitted.setdefault(self._place(of), []).append(emitted_plain(message, to))
            return
        if spec_of(type(message)).topic is None:
            name = type(message).__qualname__
            raise DefinitionError(f"ctx.publish({name}): {name} has no topic; give the class topic='...'")
        self.emitted.setdefault(self._place(of), []).append(emitted(message))

    def effect_id(self, event: Any) -> str:
        """What makes the effect of this event the same on every delivery, in whatever batch: the idempotency key."""
        return effect_id_of(self.envelope(event), self.handler, is_command=False)

    def envelope(self, event: Any) -> Envelope:
        """The event's envelope: its attributes, and raw data."""
        return self._items[self._place(event)].event

    def is_replay(self, event: Any) -> bool:
        """Whether this event is history that is being handled again."""
        return self._items[self._place(event)].record.header("orchestra-replay-id") is not None

    @property
    def handler(self) -> str:
        """The handler's name, ``<service>.<function>``."""
        return self._site.handler

    @property
    def deadline(self) -> datetime | None:
        """When this attempt is cancelled, as a time of day; None where the handler has no timeout."""
        return self._site.deadline(self.until, self._loop)

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that adds handler, attempt, the batch's topic and partition, its first offset and its size."""
        first = self._items[0].record
        return logging.LoggerAdapter(
            _log,
            {
                "handler": self.handler,
                "attempt": self.attempt,
                "topic": first.topic,
                "partition": first.partition,
                "offset": first.offset,
                "batch_size": len(self._items),
            },
        )

    def now(self) -> datetime:
        """The time of day, by the service's clock."""
        return self._site.clock.now()

    def _place(self, event: Any) -> int:
        if isinstance(event, int):
            if 0 <= event < len(self._items):
                return event
            raise DefinitionError(f"{self.handler}: there is no event {event} in this batch of {len(self._items)}")
        if self._places is None:
            self._places = {id(item.value): place for place, item in enumerate(self._items)}
        if (place := self._places.get(id(event))) is None:
            raise DefinitionError(f"{self.handler}: {event!r:.100} is not of this batch: give the event itself")
        return place
