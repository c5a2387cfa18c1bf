"""What does a handler get beside its message?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pydantic import BaseModel

from orchestra.clock import Clock
from orchestra.errors import DefinitionError
from orchestra.events.envelope import Envelope
from orchestra.events.hops import HOPS, hops_of
from orchestra.events.message import Command, Event, Message, spec_of
from orchestra.events.sdk import from_sdk, is_sdk_event, to_sdk
from orchestra.ids import derived_id
from orchestra.service.outcome import Emitted, emitted, emitted_plain, emitted_whole
from orchestra.transport.port import Record

if TYPE_CHECKING:
    from cloudevents.core.v1.event import CloudEvent

    from orchestra.events.topic import Topic
    from orchestra.service.effect import Effect, EventEffect, Handling, Types
    from orchestra.service.entry import LedgerSession
    from orchestra.sql.session import Session

R = TypeVar("R", bound=Event)
J = TypeVar("J", bound=Event)
V = TypeVar("V", bound=BaseModel)

_log = logging.getLogger("orchestra.handler")


class Site:
    """What is the same for every call of one handler."""

    __slots__ = ("clock", "handler", "is_command", "types")

    def __init__(self, handler: str, *, is_command: bool, types: Types, clock: Clock) -> None:
        self.handler = handler
        self.is_command = is_command
        self.types = types
        self.clock = clock

    def deadline(self, until: float | None, loop: asyncio.AbstractEventLoop | None) -> datetime | None:
        """A deadline in the loop's time, as a time of day. ``loop``: for callers outside of it."""
        if until is None:
            return None
        loop = loop or asyncio.get_running_loop()
        return self.clock.now() + timedelta(seconds=until - loop.time())


class _Made:
    """What a context makes when it is asked for: most handlers ask for little, and every record has a context."""

    __slots__ = ("effect_id", "handling", "loop", "messages")

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        """For a plain function, which uses the context outside the loop."""
        self.effect_id: str | None = None
        self.messages: list[Emitted] | None = None
        self.handling: Handling | None = None


class Context:
    """One attempt at handling one event.

    Attributes:
        event: the event's envelope: its attributes, and raw data.
        attempt: which try this is, from 1. Waiting for a dependency that is down starts none.
        until: when this attempt is cancelled, in the event loop's time; None where the handler has no timeout.
    """

    __slots__ = ("_made", "_record", "_site", "attempt", "event", "until")

    def __init__(self, event: Envelope, record: Record, site: Site, attempt: int = 1) -> None:
        self.event = event
        self.attempt = attempt
        self.until: float | None = None
        self._record = record
        self._site = site
        self._made: _Made | None = None

    def enter_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        """From here on it is used in a thread, outside the loop."""
        self._making().loop = loop

    @property
    def handler(self) -> str:
        """The handler's name, ``<service>.<function>``."""
        return self._site.handler

    @property
    def effect_id(self) -> str:
        """What makes this effect the same on every delivery and retry: the idempotency key.

        A command's own ``effectid``; else derived from the event's source and id, and for events from the handler's
        name too, because several may handle one.
        """
        made = self._making()
        if made.effect_id is None:
            made.effect_id = effect_id_of(self.event, self._site.handler, is_command=self._site.is_command)
        return made.effect_id

    @property
    def is_replay(self) -> bool:
        """Whether this is history that is being handled again."""
        return self._record.header("orchestra-replay-id") is not None

    @property
    def deadline(self) -> datetime | None:
        """When this attempt is cancelled, as a time of day; None where the handler has no timeout."""
        return self._site.deadline(self.until, None if self._made is None else self._made.loop)

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that adds handler, event_id, effect_id, correlation_id, attempt and the record's position."""
        record = self._record
        return logging.LoggerAdapter(
            _log,
            {
                "handler": self._site.handler,
                "event_id": self.event.id,
                "effect_id": self.effect_id,
                "correlation_id": self.event.get("correlationid") or self.event.id,
                "attempt": self.attempt,
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
            },
        )

    def cloud_event(self) -> CloudEvent:
        """The event as the ``CloudEvent`` of the cloudevents SDK, for code that speaks it.

        Raises:
            EncodeError: the SDK does not take it.
            DecodeError: the data is announced as JSON and is not.
            ModuleNotFoundError: the SDK is not installed: pip install 'orchestra[sdk]'.
        """
        return to_sdk(self.event)

    @overload
    def publish(self, message: Message) -> None: ...
    @overload
    def publish(self, message: CloudEvent, *, topic: str, key: str | None = None) -> None: ...
    @overload
    def publish(self, message: V, *, to: Topic[V]) -> None: ...
    def publish(
        self, message: Any, *, topic: str | None = None, key: str | None = None, to: Topic[Any] | None = None
    ) -> None:
        """Emit an event or a command, to its class's topic, once the handler has returned well.

        Within an effect it is stored with it and sent again on a repeat; after the effect's end it is too late.

        Args:
            message: an event or command; or a ``CloudEvent`` of the cloudevents SDK, which travels in structured mode
                with the id, source and attributes that it has. Give it an id that is the same on every try.
            topic: where an SDK's event goes, as declared names go; not for messages, whose class says it.
            key: the record key of an SDK's event.
            to: a topic that holds no CloudEvents; the message is one of its values. It has no id by which a receiver
                could drop a repeat.

        Raises:
            DefinitionError: no topic is known, or the effect has ended.
            EncodeError: the message has no JSON form.
        """
        if (handling := self.handling) is not None and handling.settled is not None:
            raise DefinitionError("ctx.publish(): the effect has ended, so a crash could lose this; publish within it")
        if to is not None:
            self.messages.append(emitted_plain(message, to))
            return
        if is_sdk_event(message):
            if topic is None:
                raise DefinitionError("ctx.publish(CloudEvent): nobody knows where it goes; give topic='...'")
            event = from_sdk(message)
            if HOPS not in event.extensions:
                event = event.evolve(extensions={HOPS: hops_of(self.event) + 1})
            self.messages.append(emitted_whole(event, topic, key))
            return
        if spec_of(type(message)).topic is None:
            name = type(message).__qualname__
            raise DefinitionError(f"ctx.publish({name}): {name} has no topic; give the class topic='...'")
        self.messages.append(emitted(message))

    def now(self) -> datetime:
        """The time of day, by the service's clock."""
        return self._site.clock.now()

    def _making(self) -> _Made:
        made = self._made
        if made is None:
            made = self._made = _Made()
        return made

    @property
    def is_untouched(self) -> bool:
        """Nothing was emitted, and no effect entered."""
        made = self._made
        return made is None or (made.messages is None and made.handling is None)

    @property
    def messages(self) -> list[Emitted]:
        """What was emitted so far."""
        made = self._making()
        if made.messages is None:
            made.messages = []
        return made.messages

    @property
    def handling(self) -> Handling | None:
        """What the effect gave back, where there was one."""
        return None if self._made is None else self._made.handling

    @overload
    def effect(self, session: Session | LedgerSession, message: Command[R, J]) -> Effect[R | J]: ...
    @overload
    def effect(self, session: Session | LedgerSession, message: Event) -> EventEffect: ...
    def effect(self, session: Any, message: Any) -> Any:
        """The effect ledger: ``async with ctx.effect(session, command) as effect``.

        The effect's row is inserted first, in the transaction that the block owns, and the block's end commits it with
        everything else done in the session. An exception, or leaving without ``effect.done(...)``, rolls all of it
        back. Delivered again, or twice at once, the block finds ``effect.outcome`` set. A command whose compensation
        came first never enters: it is refused.

        Args:
            session: an AsyncSession or AsyncConnection that is not in a transaction; in tests also a MemorySession of
                ``orchestra.testing``.
            message: the handler's message.

        Raises:
            DefinitionError: the handler is a plain function: only a coroutine can enter an effect.
            ImportError: SQLAlchemy is not installed; says how.
        """
        if self._making().loop is not None:
            raise DefinitionError(f"handler {self.handler} is a plain function: to use ctx.effect, write async def")
        from orchestra.service.effect import Effect, EventEffect, Handling

        made, site = self._making(), self._site
        handling = made.handling
        if handling is None:
            handling = made.handling = Handling(self.effect_id, site.handler, site.types, site.clock.now, self.messages)
        make: Callable[..., Any] = Effect if isinstance(message, Command) else EventEffect
        return make(session, message, handling)


def effect_id_of(event: Envelope, handler: str, *, is_command: bool) -> str:
    """See :attr:`Context.effect_id`."""
    if not is_command:
        return derived_id(event.source, event.id, handler)
    return event.get("effectid") or derived_id(event.source, event.id)
