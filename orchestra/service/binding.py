"""How is a handler called? With its resources in hand, and all that can be known before the first record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestra.errors import DefinitionError, TransientError
from orchestra.events.message import Event, Message, spec_of
from orchestra.service.context import Context
from orchestra.service.deadline import Deadlines
from orchestra.service.handler import Handler
from orchestra.service.lanes import Worker
from orchestra.service.outcome import Result, emitted
from orchestra.service.resources import Injection, Resource
from orchestra.service.retry import TimedOutError

if TYPE_CHECKING:
    from orchestra.service.ledger import Entry

_log = logging.getLogger(__name__)


class Binding:
    """One handler, ready to be called."""

    __slots__ = (
        "_context",
        "_fixed",
        "_function",
        "_injection",
        "handler",
        "is_command",
        "message",
        "name",
        "uses_ledger",
    )

    def __init__(self, handler: Handler, resources: Mapping[type, Resource], values: Mapping[type, Any]) -> None:
        self.handler = handler
        self.name = handler.name
        self.message = handler.message
        self.is_command = handler.spec.is_command
        self.uses_ledger = handler.uses_ledger
        self._function = handler.function
        self._context = handler.context
        self._injection = Injection(handler.parameters, resources, values, handler.name)
        self._fixed = self._injection.fixed

    async def call(self, message: Message, context: Context, worker: Worker, deadlines: Deadlines) -> Any:
        """One attempt: what the handler returns.

        Raises:
            TimedOutError: it reached its timeout, and obeyed.
        """
        parameters = self._fixed.copy()
        if self._context is not None:
            parameters[self._context] = context
        if self.handler.timeout is not None:
            context.until = deadlines.begin(worker, self.handler.timeout)
        try:
            if not self._injection.has_calls:
                return await self._function(message, **parameters)
            async with self._injection.opened() as opened:
                return await self._function(message, **parameters, **opened)
        except asyncio.CancelledError:
            self._explain_cancellation(worker)
            raise
        finally:
            worker.deadline = None
            if worker.is_timed_out and not worker.is_lost:
                worker.is_timed_out = False
                assert worker.task is not None
                worker.task.uncancel()

    def _explain_cancellation(self, worker: Worker) -> None:
        """Raise what the cancellation means, unless somebody wants this worker to end."""
        assert worker.task is not None
        others = worker.task.cancelling() - worker.is_timed_out
        if worker.is_lost or others > 0:
            return
        if worker.is_timed_out:
            raise TimedOutError(f"not done within {self.handler.timeout} s")
        raise TransientError("the handler was cancelled by something that it awaited")

    async def expire(self, context: Context) -> Entry | None:
        """Shut the effect of a command that came too late, without calling the handler, and give its entry. None where
        the handler is not given a session."""
        from orchestra.service.effect import shut_expired
        from orchestra.service.ledger import is_session

        async with self._injection.opened() as opened:
            for value in (*self._fixed.values(), *opened.values()):
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
