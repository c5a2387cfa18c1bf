"""What does a service consist of? Its handlers and resources, as users declare them.

Declaring does nothing but remember and check: the decorated functions stay plain functions that a test can call.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from orchestra.duration import Duration
from orchestra.errors import DefinitionError
from orchestra.events.message import Command, Event, Message, spec_of
from orchestra.retry import Retry
from orchestra.service.handler import Function, Handler, read_handler, read_hints, yielded_type
from orchestra.service.resources import Resource, Scope, in_order, resource_of

P = ParamSpec("P")
M = TypeVar("M")
E = TypeVar("E", bound=Event)
R = TypeVar("R", bound=Event)
J = TypeVar("J", bound=Event)
A = TypeVar("A")
G = TypeVar("G", bound=Callable[..., AsyncIterator[Any]])

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


class CommandDecorator(Protocol[A]):
    """Takes an async function whose first parameter is the command and which returns one of its outcomes."""

    def __call__(
        self, function: Callable[Concatenate[M, P], Coroutine[Any, Any, A]], /
    ) -> Callable[Concatenate[M, P], Coroutine[Any, Any, A]]: ...


class EventDecorator(Protocol[E]):
    """Takes an async function whose first parameter is the event and which returns an event to emit, or None."""

    def __call__(
        self, function: Callable[Concatenate[E, P], Coroutine[Any, Any, Event | None]], /
    ) -> Callable[Concatenate[E, P], Coroutine[Any, Any, Event | None]]: ...


class Service:
    """A set of handlers that run as one consumer group, with the resources that they need.

    Args:
        name: the consumer group, and the first part of ``<name>.dead-letters``; a-z, 0-9, ``.``, ``_``, ``-``.
        version: put into dead letters, so that one sees which release failed.
        max_in_flight: handlers that run at once in one process. Default 256.

    Raises:
        DefinitionError: the name cannot be one of a topic.
    """

    def __init__(self, name: str, *, version: str = "", max_in_flight: int = 256) -> None:
        if not _NAME.fullmatch(name):
            raise DefinitionError(f"Service({name!r}): a name is a-z, 0-9, '.', '_', '-', and names a topic")
        if max_in_flight < 1:
            raise DefinitionError(f"Service({name!r}, max_in_flight={max_in_flight}): at least one handler must run")
        self.name = name
        self.version = version
        self.max_in_flight = max_in_flight
        self.commands: dict[str, Handler] = {}
        """Command type -> its handler."""
        self.events: dict[str, list[Handler]] = {}
        """Event type -> its handlers."""
        self.resources: dict[type, Resource] = {}

    def handles(
        self,
        command: Callable[..., Command[R, J]],
        *,
        retry: Retry = Retry(),  # noqa: B008  frozen
        timeout: Duration | None = "5m",
    ) -> CommandDecorator[R | J]:
        """Register the handler of a command: ``@inventory.handles(ReserveItems)``, or ``handles(Undo[ReserveItems])``.

        The function is called with the command, and by annotation with a :class:`Context` and resources. It returns
        one of the command's replies or rejections; an exception is a failure, never a rejection.

        Args:
            command: the command's class.
            retry: how often a failing call is tried, and after what delays, before it becomes a dead letter.
            timeout: of one attempt; it is cancelled then. None: never.

        Raises:
            DefinitionError: the function's signature does not fit, or the command has a handler already.
        """

        def register(function: Function) -> Function:
            self._add_command(self._read(function, command, Command, retry, timeout))
            return function

        return register

    def on(
        self,
        event: type[E],
        *,
        retry: Retry = Retry(),  # noqa: B008  frozen
        timeout: Duration | None = "5m",
    ) -> EventDecorator[E]:
        """Register a handler of an event. Several may handle one event, each on its own.

        Args:
            event: the event's class; it has a topic.
            retry, timeout: as for :meth:`handles`.

        Raises:
            DefinitionError: the function's signature does not fit, or the event has no topic.
        """

        def register(function: Function) -> Function:
            handler = self._read(function, event, Event, retry, timeout)
            if handler.spec.topic is None:
                raise DefinitionError(
                    f"{self.name}.on({event.__qualname__}): {event.__qualname__} has no topic; give it topic='...'"
                )
            self.events.setdefault(handler.spec.type, []).append(handler)
            return function

        return register

    @overload
    def resource(self, function: G, /) -> G: ...
    @overload
    def resource(self, *, scope: Scope) -> Callable[[G], G]: ...
    def resource(self, function: Any = None, *, scope: Scope = "process") -> Any:
        """Register what handlers and other resources may take as a parameter, found by the type that it yields.

        Args:
            function: an async generator function that yields once; what it takes are other resources.
            scope: "process": opened once, before the first record, and closed after the last. "call": opened for each
                attempt of a handler that takes it, and told of the handler's error.

        Raises:
            DefinitionError: the function is no async generator, or another resource yields the same type.
        """
        if function is None:
            return lambda function: self._add_resource(function, scope)
        return self._add_resource(function, scope)

    # ---- what was declared

    @property
    def handlers(self) -> list[Handler]:
        """All handlers."""
        return [*self.commands.values(), *(handler for group in self.events.values() for handler in group)]

    @property
    def command_topics(self) -> set[str]:
        """Declared topics that are this service's own: whatever comes there is meant for it."""
        return {handler.spec.topic for handler in self.commands.values() if handler.spec.topic}

    @property
    def event_topics(self) -> set[str]:
        """Declared topics that it reads with others."""
        topics = {handler.spec.topic for group in self.events.values() for handler in group if handler.spec.topic}
        return topics - self.command_topics

    @property
    def emitted_topics(self) -> set[str]:
        """Declared topics of what its handlers may return."""
        return {topic for handler in self.handlers for answer in handler.answers if (topic := spec_of(answer).topic)}

    @property
    def outcome_types(self) -> dict[str, type[Event]]:
        """Type -> class of everything that its handlers may return."""
        return {spec_of(answer).type: answer for handler in self.handlers for answer in handler.answers}

    def check(self) -> None:
        """See that every handler can be served: what only shows once all is declared.

        Raises:
            DefinitionError: there is no handler, or somebody takes what no resource gives.
        """
        if not self.handlers:
            raise DefinitionError(f"Service({self.name!r}) has no handler: add @{self.name}.handles or @{self.name}.on")
        for handler in self.handlers:
            in_order(handler.parameters.values(), self.resources, wanted_by=f"handler {handler.name}")
        in_order(self.resources, self.resources, wanted_by=f"service {self.name}")

    # ---- declaring

    def _read(
        self, function: Function, message: Any, kind: type[Message], retry: Retry, timeout: Duration | None
    ) -> Handler:
        if not (isinstance(message, type) and issubclass(message, kind)):
            what = getattr(message, "__qualname__", repr(message))
            raise DefinitionError(
                f"service {self.name}: {what} is no class of {kind.__name__}: "
                "write handles(<Command>) for commands, on(<Event>) for events"
            )
        handler = read_handler(function, message, service=self.name, retry=retry, timeout=timeout)
        if any(handler.name == other.name and handler.spec.type == other.spec.type for other in self.handlers):
            raise DefinitionError(f"handler {handler.name} is there twice for {handler.spec.type}: rename one function")
        return handler

    def _add_command(self, handler: Handler) -> None:
        other = self.commands.setdefault(handler.spec.type, handler)
        if other is not handler:
            raise DefinitionError(
                f"{handler.spec.type} is handled by {other.name}: {handler.name} would be a second answer"
            )

    def _add_resource(self, function: Any, scope: Scope) -> Any:
        name = getattr(function, "__qualname__", repr(function))
        hints = read_hints(function, f"resource {name}")
        provides = yielded_type(function, hints, name)
        if provides in self.resources:
            other = self.resources[provides].name
            raise DefinitionError(
                f"resource {name} yields {provides.__qualname__}, as {other} does: yield another type"
            )
        needs = {parameter: kind for parameter, kind in hints.items() if parameter != "return"}
        self.resources[provides] = resource_of(function, provides, needs, scope)
        return function
