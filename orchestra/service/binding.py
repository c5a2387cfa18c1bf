"""How is a handler called? With its resources in hand, and all that can be known before the first record."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from orchestra.clock import Clock
from orchestra.errors import DefinitionError
from orchestra.events.envelope import Envelope
from orchestra.events.message import Event, Message, spec_of
from orchestra.service.context import Context, Site
from orchestra.service.handler import Handler
from orchestra.service.middleware import Call, compose
from orchestra.service.outcome import Emitted, Result, emitted
from orchestra.service.resources import Injection
from orchestra.service.service import Service
from orchestra.service.signature import Function
from orchestra.service.threads import Threads

if TYPE_CHECKING:
    from orchestra.service.effect import Types
    from orchestra.service.entry import Entry

Admits = Callable[[Envelope, str], bool]

_log = logging.getLogger(__name__)


class Binding:
    """One handler, ready to be called.

    Attributes:
        message: the class that the data is decoded to; None where the handler takes the raw envelope.
        invoke: calls the function, through the middlewares: what it returns, awaited.
        threads: where a plain function runs; None for a coroutine.
        admits: whether it wants an event of this topic, decided before data is decoded; None: it wants all.
    """

    __slots__ = (
        "_injection",
        "admits",
        "handler",
        "invoke",
        "is_command",
        "message",
        "name",
        "site",
        "threads",
        "timeout",
        "type",
        "uses_ledger",
    )

    def __init__(
        self, handler: Handler, message: type[Message] | None, kind: str, injection: Injection, around: Around
    ) -> None:
        self.handler = handler
        self.name = handler.name
        self.type = kind
        """The type that it takes; "" where patterns say so."""
        self.message = None if handler.is_raw else message
        self.is_command = handler.is_command
        self.timeout = handler.timeout
        self.uses_ledger = handler.uses_ledger
        self.site = around.site
        self.threads = around.threads if handler.is_sync else None
        self.admits = around.admits
        self.invoke = around.call
        self._injection = injection

    async def expire(self, context: Context) -> Entry | None:
        """Shut the effect of a command that came too late, without calling the handler, and give its entry. None where
        the handler is not given a session."""
        from orchestra.service.effect import keeps_ledger, shut_expired

        async with self._injection.opened() as opened:
            for value in (*self._injection.fixed.values(), *opened.values()):
                if keeps_ledger(value):
                    return await shut_expired(value, context.effect_id, self.name, context.now())
        return None

    def result(self, context: Context, returned: Any) -> Result:
        """What came of a call.

        Raises:
            DefinitionError: the handler returned what it may not.
            EncodeError: what it returned has no JSON form.
        """
        handling = context.handling
        if handling is not None and handling.settled is not None:
            return self._stored_result(context, returned)
        if self.is_command and self.uses_ledger:
            self.uses_ledger = False
            _log.warning("handler %s answered without its ledger: its expired commands are not answered", self.name)
        messages = () if context.is_untouched else context.messages
        if self.is_command:
            if type(returned) not in self.handler.answers:
                raise self._wrong(returned)
            return Result(emitted(returned), messages)
        return Result(None, (*messages, *self._emitted(returned)))

    def _emitted(self, returned: Any) -> list[Emitted]:
        """What the handler of an event returned, as what it emits: nothing, one, or several."""
        if returned is None:
            return []
        several: Sequence[Any] = returned if isinstance(returned, list | tuple) else (returned,)
        for one in several:
            if not isinstance(one, Event) or spec_of(type(one)).topic is None:
                raise self._wrong(one)
        return [emitted(one) for one in several]

    def _stored_result(self, context: Context, returned: Any) -> Result:
        """The effect is committed: what it stored is what is said, whatever the handler returned after it."""
        assert context.handling is not None
        entry = context.handling.settled
        assert entry is not None
        if returned is not None and not self._is_stored(returned, entry):
            _log.error(
                "handler %s returned a %s that its effect did not store; the stored is sent: return effect.done(...)",
                self.name,
                type(returned).__qualname__,
            )
        if self.is_command:
            return Result(entry.outcome, entry.messages, entry.at)
        outcome = () if entry.outcome is None else (entry.outcome,)
        return Result(None, (*entry.messages, *outcome), entry.at)

    def _is_stored(self, returned: Any, entry: Entry) -> bool:
        if isinstance(returned, list | tuple):
            return all(one in (*entry.messages, entry.outcome) for one in self._emitted(returned))
        return emitted(returned) == entry.outcome

    def _wrong(self, returned: Any) -> DefinitionError:
        may = " | ".join(answer.__qualname__ for answer in self.handler.answers)
        may = may or "an Event with a topic, several in a list or tuple, or None"
        return DefinitionError(f"handler {self.name} returned a {type(returned).__qualname__}; it may return {may}")


@dataclass(frozen=True, slots=True)
class Around:
    """What is the same for all bindings of one handler."""

    site: Site
    call: Call
    threads: Threads
    admits: Admits | None


class Binder:
    """Makes the bindings of one service in one process.

    Args:
        service: as it is declared.
        values: of the process resources that are open.
        threads: where its plain functions run.
        topic: declared topic -> topic on this cluster.
        types: type -> class of every outcome that the service can give.
    """

    def __init__(
        self,
        service: Service,
        values: Mapping[type, Any],
        threads: Threads,
        *,
        topic: Callable[[str], str],
        types: Types,
        clock: Clock,
    ) -> None:
        self._service = service
        self._values = values
        self._threads = threads
        self._topic = topic
        self._types = types
        self._clock = clock

    def bind_all(self) -> list[Binding]:
        """The bindings of all handlers."""
        return [binding for handler in self._service.handlers for binding in self._bind(handler)]

    def _bind(self, handler: Handler) -> list[Binding]:
        """One binding for each class that the handler takes, in their order; or one for all its patterns."""
        service = self._service
        injection = Injection(handler.parameters, service.resources, self._values, handler.name)
        call = compose((*service.middlewares, *handler.middleware), _innermost(handler, injection, self._threads))
        site = Site(handler.name, is_command=handler.is_command, types=self._types, clock=self._clock)
        around = Around(site, call, self._threads, self._admits(handler))
        takes: list[tuple[type[Message] | None, str]] = list(
            zip(handler.reads.messages, handler.reads.types, strict=True)
        ) or [(None, "")]
        return [Binding(handler, message, kind, injection, around) for message, kind in takes]

    def _admits(self, handler: Handler) -> Admits | None:
        where = handler.where
        if not handler.reads.patterns:
            return None if where is None else lambda event, topic: where(event)
        topics = frozenset(map(self._topic, handler.reads.topics))
        if where is None:
            return lambda event, topic: topic in topics
        return lambda event, topic: topic in topics and where(event)


def _innermost(handler: Handler, injection: Injection, threads: Threads) -> Call:
    """How the function is called, decided once: for the usual shapes nothing stands between caller and function."""
    takes_context = handler.context
    start: Callable[..., Any] = partial(threads.run, handler.function) if handler.is_sync else handler.function
    if injection.has_calls:
        return _opening(start, handler, injection)
    bound = partial(start, **injection.fixed) if injection.fixed else start
    if takes_context is None:
        return lambda message, context: bound(message)
    if _second(handler.function) == takes_context:
        return bound
    return lambda message, context: bound(message, **{takes_context: context})


def _opening(start: Callable[..., Any], handler: Handler, injection: Injection) -> Call:
    """For handlers with something to open for each call."""

    async def invoke(message: Any, context: Any) -> Any:
        parameters = dict(injection.fixed)
        if handler.context is not None:
            parameters[handler.context] = context
        async with injection.opened() as opened:
            return await start(message, **parameters, **opened)

    return invoke


@cache
def _second(function: Function) -> str | None:
    """The name of the second parameter, where it may be given by position."""
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) < 2 or parameters[1].kind is inspect.Parameter.KEYWORD_ONLY:
        return None
    return parameters[1].name
