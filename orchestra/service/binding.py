"""How is a handler called? With its resources in hand, and all that can be known before the first record."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestra.clock import Clock
from orchestra.errors import DefinitionError
from orchestra.events.message import Event, Message, spec_of
from orchestra.service.context import Context, Site
from orchestra.service.handler import Function, Handler
from orchestra.service.outcome import Result, emitted
from orchestra.service.resources import Injection, Resource

if TYPE_CHECKING:
    from orchestra.service.effect import Types
    from orchestra.service.ledger import Entry

Invoke = Callable[[Any, Context], Awaitable[Any]]

_log = logging.getLogger(__name__)


class Binding:
    """One handler, ready to be called."""

    __slots__ = (
        "_injection",
        "handler",
        "invoke",
        "is_command",
        "message",
        "name",
        "site",
        "timeout",
        "uses_ledger",
    )

    def __init__(
        self,
        handler: Handler,
        resources: Mapping[type, Resource],
        values: Mapping[type, Any],
        *,
        types: Types,
        clock: Clock,
    ) -> None:
        self.handler = handler
        self.name = handler.name
        self.message = handler.message
        self.is_command = handler.spec.is_command
        self.timeout = handler.timeout
        self.uses_ledger = handler.uses_ledger
        self.site = Site(handler.name, is_command=self.is_command, types=types, clock=clock)
        self._injection = Injection(handler.parameters, resources, values, handler.name)
        self.invoke: Invoke = self._compiled()
        """Calls the function: what it returns, awaited."""

    def _compiled(self) -> Invoke:
        """How the function is called, decided once: for the usual shapes nothing stands between caller and function."""
        function, takes_context = self.handler.function, self.handler.context
        if self._injection.has_calls:
            return self._invoke_opening
        fixed = self._injection.fixed
        bound = partial(function, **fixed) if fixed else function
        if takes_context is None:
            return lambda message, context: bound(message)
        if _second(function) == takes_context:
            return bound
        return lambda message, context: bound(message, **{takes_context: context})

    async def _invoke_opening(self, message: Message, context: Context) -> Any:
        parameters = dict(self._injection.fixed)
        if self.handler.context is not None:
            parameters[self.handler.context] = context
        async with self._injection.opened() as opened:
            return await self.handler.function(message, **parameters, **opened)

    async def expire(self, context: Context) -> Entry | None:
        """Shut the effect of a command that came too late, without calling the handler, and give its entry. None where
        the handler is not given a session."""
        from orchestra.service.effect import shut_expired
        from orchestra.sql.session import is_session

        async with self._injection.opened() as opened:
            for value in (*self._injection.fixed.values(), *opened.values()):
                if is_session(value):
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
        if returned is None:
            return Result(None, messages)
        if not isinstance(returned, Event) or spec_of(type(returned)).topic is None:
            raise self._wrong(returned)
        return Result(None, (*messages, emitted(returned)))

    def _stored_result(self, context: Context, returned: Any) -> Result:
        """The effect is committed: what it stored is what is said, whatever the handler returned after it."""
        assert context.handling is not None
        entry = context.handling.settled
        assert entry is not None
        if returned is not None and (entry.outcome is None or emitted(returned) != entry.outcome):
            _log.error(
                "handler %s returned a %s that its effect did not store; the stored is sent: return effect.done(...)",
                self.name,
                type(returned).__qualname__,
            )
        if self.is_command:
            return Result(entry.outcome, entry.messages, entry.at)
        outcome = () if entry.outcome is None else (entry.outcome,)
        return Result(None, (*entry.messages, *outcome), entry.at)

    def _wrong(self, returned: Any) -> DefinitionError:
        may = " | ".join(answer.__qualname__ for answer in self.handler.answers) or "an Event with a topic, or None"
        return DefinitionError(f"handler {self.name} returned a {type(returned).__qualname__}; it may return {may}")


def _second(function: Function) -> str | None:
    """The name of the second parameter, where it may be given by position."""
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) < 2 or parameters[1].kind is inspect.Parameter.KEYWORD_ONLY:
        return None
    return parameters[1].name
