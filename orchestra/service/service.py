"""What does a service consist of? Its handlers, resources and middlewares, as users declare them.

Declaring does nothing but remember and check: the decorated functions stay plain functions that a test can call.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from pydantic import BaseModel

from orchestra.duration import Duration
from orchestra.errors import DefinitionError
from orchestra.events.envelope import Envelope
from orchestra.events.message import Command, Event, Message, spec_of
from orchestra.events.topic import Topic
from orchestra.retry import Retry
from orchestra.service.batch import Batch
from orchestra.service.budget import DeadLetterBudget
from orchestra.service.decorator import BatchDecorator, CommandDecorator, EventDecorator, EventOptions
from orchestra.service.handler import Handler, Options, read_handler
from orchestra.service.middleware import Middleware, check_middleware
from orchestra.service.reads import read_command, read_events
from orchestra.service.resources import Resource, Scope, fixed, in_order, resource_of, roots
from orchestra.service.rules import check_batches, check_middlewares, check_name, check_patterns
from orchestra.service.signature import Function, read_hints, yielded_type
from orchestra.service.where import Where

if TYPE_CHECKING:
    from orchestra.outbox.outbox import Outbox
    from orchestra.service.background import Background

R = TypeVar("R", bound=Event)
J = TypeVar("J", bound=Event)
E1 = TypeVar("E1", bound=Event)
E2 = TypeVar("E2", bound=Event)
E3 = TypeVar("E3", bound=Event)
E4 = TypeVar("E4", bound=Event)
V = TypeVar("V", bound=BaseModel)
G = TypeVar("G", bound=Callable[..., AsyncIterator[Any]])
W = TypeVar("W", bound=Middleware)

DownOn = type[Exception] | Collection[type[Exception]]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


class Service:
    """A set of handlers that run as one consumer group, with the resources that they need.

    Args:
        name: the consumer group, and the first part of ``<name>.dead-letters``; a-z, 0-9, ``.``, ``_``, ``-``.
        version: put into dead letters, so that one sees which release failed.
        max_in_flight: handlers that run at once in one process. Default 256.
        threads: of those, plain functions (``def``, not ``async def``) that run at once, each in a thread. Default 8.
        dead_letter_budget: how many records of a partition may become dead letters, so that a bad release does not
            empty a topic into them. None: no bound.

    Raises:
        DefinitionError: the name cannot be one of a topic, or a limit lets nothing run.
    """

    def __init__(
        self,
        name: str,
        *,
        version: str = "",
        max_in_flight: int = 256,
        threads: int = 8,
        dead_letter_budget: DeadLetterBudget | None = DeadLetterBudget(),  # noqa: B008  frozen
    ) -> None:
        if not _NAME.fullmatch(name):
            raise DefinitionError(f"Service({name!r}): a name is a-z, 0-9, '.', '_', '-', and names a topic")
        if max_in_flight < 1:
            raise DefinitionError(f"Service({name!r}, max_in_flight={max_in_flight}): at least one handler must run")
        if threads < 1:
            raise DefinitionError(f"Service({name!r}, threads={threads}): at least one thread must run")
        self.name = name
        self.version = version
        self.max_in_flight = max_in_flight
        self.threads = threads
        self.dead_letter_budget = dead_letter_budget
        self.commands: dict[str, Handler] = {}
        """Command type -> its handler."""
        self.events: dict[str, list[Handler]] = {}
        """Event type -> its handlers."""
        self.patterns: list[Handler] = []
        """Handlers of whatever event type fits a pattern."""
        self.middlewares: list[Middleware] = []
        """Around every handler, the first outermost."""
        self.resources: dict[type, Resource] = {}
        """Those to use: within :meth:`overriding`, with other values."""
        self._declared = self.resources
        self.background: list[Background] = []
        """What runs beside the handlers."""

    def handles(
        self,
        command: Callable[..., Command[R, J]],
        *,
        retry: Retry = Retry(),  # noqa: B008  frozen
        timeout: Duration | None = "5m",
        middleware: Sequence[Middleware] = (),
    ) -> CommandDecorator[R | J]:
        """Register the handler of a command: ``@inventory.handles(ReserveItems)``, or ``handles(Undo[ReserveItems])``.

        The function is called with the command, and by annotation with a :class:`Context` and resources. It returns
        one of the command's replies or rejections; an exception is a failure, never a rejection. A plain function
        (``def``) is called in a thread.

        Args:
            command: the command's class.
            retry: how often a failing call is tried, and after what delays, before it becomes a dead letter.
            timeout: of one attempt; it is cancelled then. None: never. A thread cannot be cancelled: its call is given
                up when it goes on for some seconds more.
            middleware: around this handler, within the service's own; the first outermost.

        Raises:
            DefinitionError: the function's signature does not fit, or the command has a handler already.
        """
        reads = read_command(command, self.name)

        def register(function: Function) -> Function:
            options = Options(retry, timeout, middleware)
            self._add_command(read_handler(function, reads, service=self.name, is_command=True, options=options))
            return function

        return register

    @overload
    def on(self, topic: Topic[V], /, *, batch: Batch, **options: Unpack[EventOptions]) -> BatchDecorator[V]: ...
    @overload
    def on(self, topic: Topic[V], /, **options: Unpack[EventOptions]) -> EventDecorator[V]: ...
    @overload
    def on(self, event: type[E1], /, *, batch: Batch, **options: Unpack[EventOptions]) -> BatchDecorator[E1]: ...
    @overload
    def on(
        self, event: type[E1], or_: type[E2], /, *, batch: Batch, **options: Unpack[EventOptions]
    ) -> BatchDecorator[E1 | E2]: ...
    @overload
    def on(
        self, event: type[E1], or_: type[E2], or3: type[E3], /, *, batch: Batch, **options: Unpack[EventOptions]
    ) -> BatchDecorator[E1 | E2 | E3]: ...
    @overload
    def on(
        self,
        event: type[E1],
        or_: type[E2],
        or3: type[E3],
        or4: type[E4],
        /,
        *,
        batch: Batch,
        **options: Unpack[EventOptions],
    ) -> BatchDecorator[E1 | E2 | E3 | E4]: ...
    @overload
    def on(
        self, *patterns: str, topic: str | Sequence[str], batch: Batch, **options: Unpack[EventOptions]
    ) -> BatchDecorator[Envelope]: ...
    @overload
    def on(self, event: type[E1], /, **options: Unpack[EventOptions]) -> EventDecorator[E1]: ...
    @overload
    def on(self, event: type[E1], or_: type[E2], /, **options: Unpack[EventOptions]) -> EventDecorator[E1 | E2]: ...
    @overload
    def on(
        self, event: type[E1], or_: type[E2], or3: type[E3], /, **options: Unpack[EventOptions]
    ) -> EventDecorator[E1 | E2 | E3]: ...
    @overload
    def on(
        self, event: type[E1], or_: type[E2], or3: type[E3], or4: type[E4], /, **options: Unpack[EventOptions]
    ) -> EventDecorator[E1 | E2 | E3 | E4]: ...
    @overload
    def on(
        self, *patterns: str, topic: str | Sequence[str], **options: Unpack[EventOptions]
    ) -> EventDecorator[Envelope]: ...
    def on(
        self,
        *events: Any,
        topic: str | Sequence[str] | None = None,
        where: Where | None = None,
        batch: Batch | None = None,
        middleware: Sequence[Middleware] = (),
        retry: Retry = Retry(),  # noqa: B008  frozen
        timeout: Duration | None = "5m",
    ) -> Any:
        """Register a handler of events: ``@watch.on(OrderPlaced, OrderCancelled)``, ``@audit.on("shop.*", topic=...)``.

        Several may handle one event, each on its own: the failure of one is not another's. The first parameter takes
        the event, or, annotated ``Envelope``, the raw event whose data is not decoded. What the function returns is
        emitted: an event, several in a tuple or list, or nothing (None). A plain function is called in a thread.

        Args:
            events: up to four classes, each with a topic; or patterns of types, ``*`` for any text; or one
                :class:`Topic` that holds no CloudEvents.
            topic: for patterns: the topic or topics to read.
            where: attribute -> pattern, all of which must match; or a predicate of the Envelope. Data is not decoded
                to decide. Events that do not fit are none of this handler's business.
            batch: handle lists of events; the function takes ``list[...]`` and a :class:`BatchContext`, and returns
                None.
            middleware, retry, timeout: as for :meth:`handles`.

        Raises:
            DefinitionError: the function's signature does not fit, or the events or topics cannot be read so.
        """
        reads = read_events(events, topic, self.name)

        def register(function: Function) -> Function:
            options = Options(retry, timeout, middleware, where, batch)
            self._add_events(read_handler(function, reads, service=self.name, is_command=False, options=options))
            return function

        return register

    def middleware(self, function: W, /) -> W:
        """Put an ``async def middleware(call, event, ctx)`` around every handler, the first declared outermost.

        It returns what is to count as the handler's return value: ``return await call(event, ctx)``. An exception that
        leaves it counts as the handler's. For batch handlers ``event`` is the list, and ``ctx`` a BatchContext.

        Raises:
            DefinitionError: it is not async, or does not take those three.
        """
        check_middleware(function, f"service {self.name}")
        self.middlewares.append(function)
        return function

    @overload
    def resource(self, function: G, /) -> G: ...
    @overload
    def resource(self, *, scope: Scope = ..., down_on: DownOn = ...) -> Callable[[G], G]: ...
    def resource(self, function: Any = None, *, scope: Scope = "process", down_on: DownOn = ()) -> Any:
        """Register what handlers and other resources may take as a parameter, found by the type that it yields.

        Args:
            function: an async generator function that yields once; what it takes are other resources.
            scope: "process": opened once, before the first record, and closed after the last. "call": opened for each
                attempt of a handler that takes it, and told of the handler's error.
            down_on: exception classes that mean that this resource is down, when a handler that takes it ends with one.
                Its circuit opens then: handlers that need it are not called until a probe succeeds, no try is used up,
                and nothing becomes a dead letter of it.

        Raises:
            DefinitionError: the function is no async generator, another resource yields the same type, or down_on
                holds something else than exception classes.
        """
        if function is None:
            return lambda function: self._add_resource(function, scope, down_on)
        return self._add_resource(function, scope, down_on)

    @contextmanager
    def overriding(self, values: Mapping[Any, object]) -> Generator[None]:
        """For tests: ``with inventory.overriding({Stock: FakeStock()}):`` gives these values instead of opening.

        A runtime that is started within the block keeps them until it ends. What only an overridden resource needs is
        not opened either. Blocks may be nested; on exit everything is as before.

        Args:
            values: the type that handlers and resources ask for -> what they get. It need not be of that type.

        Raises:
            DefinitionError: nobody asks for a type, and no resource gives it.
        """
        asked = {kind for handler in self.handlers for kind in handler.parameters.values()}
        for kind in values:
            if kind not in self.resources and kind not in asked:
                raise DefinitionError(
                    f"service {self.name}.overriding: nobody takes a {getattr(kind, '__qualname__', kind)}: name the"
                    " type that the handler's parameter is annotated with"
                )
        before = self.resources
        self.resources = before | {kind: fixed(kind, value, before.get(kind)) for kind, value in values.items()}
        try:
            yield
        finally:
            self.resources = before

    # ---- beside the handlers

    def outbox(self, engine: type, *, messages: Iterable[type[Message]] = (), keep: Duration | None = None) -> Outbox:
        """Send what transactions leave in the outbox of this database, in this service's processes.

        Whatever is written there is sent, whoever wrote it; one process at a time sends, and another takes over when
        that one dies. Each event is sent at least once, with the id that it was written with, in order per key.

        Args:
            engine: the type of the resource to use: ``AsyncEngine``.
            messages: classes whose topics are checked, or made, when the service starts.
            keep: how long rows stay after they were sent. Default: they are deleted at once.

        Returns:
            Where this service's transactions write: ``await outbox.add(session, event)``.

        Raises:
            DefinitionError: it was declared before, or a message has no topic.
            ImportError: SQLAlchemy is not installed; says how.
        """
        from orchestra.outbox.outbox import Outbox
        from orchestra.service.relaying import relaying

        self._add_background(relaying(self.name, engine, messages, keep))
        return Outbox(f"/services/{self.name}")

    def ledger(self, engine: type, *, keep: Duration = "30d", every: Duration = "1h") -> None:
        """Keep the effect ledger of this database from growing for ever: delete old entries, in this service's
        processes, a thousand at a time; of many processes one does it at a time.

        Args:
            engine: the type of the resource to use: ``AsyncEngine``.
            keep: how long entries are kept, 30 days at least.
            every: how often it is looked.

        Raises:
            DefinitionError: it was declared before, or a duration cannot work.
            ImportError: SQLAlchemy is not installed; says how.
        """
        from orchestra.service.ledger_upkeep import pruning

        self._add_background(pruning(self.name, engine, keep, every))

    def _add_background(self, work: Background) -> None:
        if any(work.name == other.name for other in self.background):
            raise DefinitionError(f"service {self.name} has its {work.name.partition('-')[0]} already: declare it once")
        self.background.append(work)

    # ---- what was declared

    @property
    def handlers(self) -> list[Handler]:
        """All handlers, each once."""
        found = [*self.commands.values(), *(handler for group in self.events.values() for handler in group)]
        return list({id(handler): handler for handler in (*found, *self.patterns)}.values())

    @property
    def command_topics(self) -> set[str]:
        """Declared topics that are this service's own: whatever comes there is meant for it."""
        return {topic for handler in self.commands.values() for topic in handler.reads.topics}

    @property
    def event_topics(self) -> set[str]:
        """Declared topics that it reads with others."""
        return {topic for handler in self.handlers for topic in handler.reads.topics} - self.command_topics

    @property
    def plain_topics(self) -> list[Topic[Any]]:
        """Those it reads that hold no CloudEvents."""
        return list({each.name: each for handler in self.handlers if (each := handler.reads.plain)}.values())

    @property
    def batch_sizes(self) -> dict[str, int]:
        """Declared topic that is read in batches -> the size of the largest."""
        sizes: dict[str, int] = {}
        for handler in self.handlers:
            if (batch := handler.batch) is not None:
                sizes |= {topic: max(sizes.get(topic, 0), batch.size) for topic in handler.reads.topics}
        return sizes

    @property
    def emitted_topics(self) -> set[str]:
        """Declared topics of what its handlers may return, and of what leaves beside them. What ``ctx.publish`` emits
        is not known beforehand."""
        answers = {topic for handler in self.handlers for answer in handler.answers if (topic := spec_of(answer).topic)}
        return answers.union(*(work.topics for work in self.background))

    @property
    def outcome_types(self) -> dict[str, type[Event]]:
        """Type -> class of everything that its handlers may return."""
        return {spec_of(answer).type: answer for handler in self.handlers for answer in handler.answers}

    def resources_to_open(self) -> list[Resource]:
        """Its resources, each behind what it needs. Of what was overridden, nothing that only it needs."""
        wanted = roots(self._declared)
        asked = [kind for handler in self.handlers for kind in handler.parameters.values()]
        asked += [work.needs for work in self.background]
        return in_order([*wanted, *asked], self.resources, wanted_by=f"service {self.name}")

    def check(self) -> None:
        """See that every handler can be served: what only shows once all is declared.

        Raises:
            DefinitionError: there is no handler, somebody takes what no resource gives, a topic is read in batches and
                one by one, or a middleware does not know of batches.
        """
        if not self.handlers:
            raise DefinitionError(f"Service({self.name!r}) has no handler: add @{self.name}.handles or @{self.name}.on")
        for handler in self.handlers:
            in_order(handler.parameters.values(), self.resources, wanted_by=f"handler {handler.name}")
        in_order(self.resources, self.resources, wanted_by=f"service {self.name}")
        for work in self.background:
            in_order([work.needs], self.resources, wanted_by=work.name)
            if self.resources[work.needs].scope == "call":
                raise DefinitionError(f"{work.name} takes {work.needs.__qualname__}: let a process resource yield it")
        check_batches(self.name, self.handlers)
        check_patterns(self.name, self.command_topics, self.patterns)
        check_middlewares(self.name, self.middlewares, self.handlers)

    # ---- declaring

    def _add_command(self, handler: Handler) -> None:
        check_name(handler, self.handlers)
        [kind] = handler.reads.types
        other = self.commands.setdefault(kind, handler)
        if other is not handler:
            raise DefinitionError(f"{kind} is handled by {other.name}: {handler.name} would be a second answer")

    def _add_events(self, handler: Handler) -> None:
        check_name(handler, self.handlers)
        for kind in handler.reads.types:
            self.events.setdefault(kind, []).append(handler)
        if handler.reads.patterns:
            self.patterns.append(handler)

    def _add_resource(self, function: Any, scope: Scope, down_on: DownOn) -> Any:
        name = getattr(function, "__qualname__", repr(function))
        means: tuple[Any, ...] = (down_on,) if isinstance(down_on, type) else tuple(down_on)
        if not all(isinstance(each, type) and issubclass(each, Exception) for each in means):
            raise DefinitionError(f"resource {name}: down_on={down_on!r}: write exception classes")
        hints = read_hints(function, f"resource {name}")
        provides = yielded_type(function, hints, name)
        if provides in self.resources:
            other = self.resources[provides].name
            raise DefinitionError(
                f"resource {name} yields {provides.__qualname__}, as {other} does: yield another type"
            )
        needs = {parameter: kind for parameter, kind in hints.items() if parameter != "return"}
        self.resources[provides] = resource_of(function, provides, needs, scope, means)
        return function
