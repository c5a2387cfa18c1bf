"""What is a handler? Its function's signature, read once, at import; mistakes are definition errors there."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestra.duration import Duration, seconds
from orchestra.errors import DefinitionError
from orchestra.events.envelope import Envelope
from orchestra.events.message import Event, Message, MessageSpec, spec_of
from orchestra.events.topic import Topic
from orchestra.retry import Retry
from orchestra.service.batch import Batch
from orchestra.service.batch_context import BatchContext
from orchestra.service.context import Context
from orchestra.service.middleware import Middleware, check_middleware
from orchestra.service.signature import (
    Answer,
    Function,
    accepts,
    declared_answers,
    element_of,
    mentions,
    name_of,
    named_parameters,
    read_hints,
)
from orchestra.service.where import Filter, Where, read_where


@dataclass(frozen=True, slots=True)
class Options:
    """What a handler is given beside what it reads."""

    retry: Retry
    timeout: Duration | None
    middleware: Sequence[Middleware] = ()
    where: Where | None = None
    batch: Batch | None = None


@dataclass(frozen=True, slots=True)
class Reads:
    """What a handler is declared for: message classes, or patterns of event types, or a topic without CloudEvents.

    Attributes:
        plain: that topic; ``messages`` is the class of its values then.
        topics: the declared topics that it reads.
    """

    messages: tuple[type[Message], ...]
    patterns: tuple[str, ...]
    topics: frozenset[str]
    plain: Topic[Any] | None = None

    @property
    def types(self) -> tuple[str, ...]:
        """The CloudEvents types of the classes."""
        if self.plain is not None:
            return (self.plain.type,)
        return tuple(spec_of(message).type for message in self.messages)

    def __str__(self) -> str:
        return " | ".join(message.__qualname__ for message in self.messages) or ", ".join(map(repr, self.patterns))


@dataclass(frozen=True, slots=True)
class Handler:
    """A handler, read.

    Attributes:
        name: ``<service>.<function>``: part of the ids of what it emits, so renaming the function changes them.
        reads: the classes or patterns that it handles.
        is_raw: it takes the envelope, and the data is not decoded for it.
        is_sync: a plain function, called in a thread.
        answers: the classes that it may return.
        context: the parameter that takes the context, or None.
        parameters: the others -> the type of the resource each takes.
        timeout: seconds for one attempt, or None.
        where: what an event must pass to be handled, decided before its data is decoded.
        batch: how many at once; None: one by one.
        uses_ledger: whether it enters ``ctx.effect``.
    """

    name: str
    function: Function
    reads: Reads
    is_command: bool
    is_raw: bool
    is_sync: bool
    answers: tuple[type[Event], ...]
    context: str | None
    parameters: Mapping[str, type]
    retry: Retry
    timeout: float | None
    middleware: tuple[Middleware, ...]
    where: Filter | None
    batch: Batch | None
    uses_ledger: bool


def read_handler(function: Function, reads: Reads, *, service: str, is_command: bool, options: Options) -> Handler:
    """The handler that a function is.

    Raises:
        DefinitionError: the signature cannot be served; names the function, the parameter and the remedy.
    """
    name = f"{service}.{getattr(function, '__name__', repr(function))}"
    is_sync = _is_sync(function, name)
    hints = read_hints(function, f"handler {name}")
    first, *others = named_parameters(function, name)
    is_raw = _is_raw(first, hints, reads, options.batch, name)
    context, parameters = _beside(others, hints, name, options.batch)
    if is_sync:
        _check_sync(parameters, name)
    for middleware in options.middleware:
        check_middleware(middleware, f"handler {name}")
    code = getattr(inspect.unwrap(function), "__code__", None)
    return Handler(
        name=name,
        function=function,
        reads=reads,
        is_command=is_command,
        is_raw=is_raw,
        is_sync=is_sync,
        answers=_read_answers(hints.get("return", Any), reads, name, is_command=is_command, batch=options.batch),
        context=context,
        parameters=parameters,
        retry=options.retry,
        timeout=None if options.timeout is None else seconds(options.timeout),
        middleware=tuple(options.middleware),
        where=None if options.where is None else read_where(options.where, name),
        batch=options.batch,
        uses_ledger=not is_sync and code is not None and mentions(code, "effect", function.__globals__),
    )


def _is_sync(function: Function, name: str) -> bool:
    if not inspect.isfunction(function) and not inspect.ismethod(function):
        raise DefinitionError(f"handler {name} is no function: decorate def or async def")
    inner = inspect.unwrap(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise DefinitionError(f"handler {name} yields: return what it emits, several as a list or tuple")
    return not inspect.iscoroutinefunction(inner)


def _check_sync(parameters: Mapping[str, type], name: str) -> None:
    for parameter, kind in parameters.items():
        if kind.__module__.startswith("sqlalchemy.ext.asyncio"):
            raise DefinitionError(
                f"handler {name} is a plain function, called in a thread, and its parameter {parameter} takes a"
                f" {kind.__qualname__}, which only a coroutine can use: write async def {name.rpartition('.')[2]}(...)"
            )


def _is_raw(first: str, hints: Mapping[str, Any], reads: Reads, batch: Batch | None, name: str) -> bool:
    """Whether the first parameter takes envelopes. Raises DefinitionError where it takes something else."""
    wanted = str(reads) if reads.messages else "Envelope"
    if batch is not None:
        wanted = f"list[{wanted}]"
    if (taken := hints.get(first)) is None:
        raise DefinitionError(f"handler {name}: annotate its first parameter, {first}: {wanted}")
    one = element_of(taken) if batch is not None and taken is not Any else taken
    if one is None or not _takes(one, reads):
        raise DefinitionError(
            f"handler {name} is declared for {reads}, and its first parameter {first} takes {name_of(taken)}: write"
            f" {first}: {wanted}{_raw_hint(reads, batch)}"
        )
    return one is Envelope or not reads.messages


def _takes(annotation: Any, reads: Reads) -> bool:
    if annotation is Envelope:
        return reads.plain is not None or not any(spec_of(message).is_command for message in reads.messages)
    return all(accepts(annotation, kind) for kind in reads.messages or (Envelope,))


def _raw_hint(reads: Reads, batch: Batch | None) -> str:
    if not reads.messages:
        return ": a pattern stands for any type, so the data is not decoded"
    return ": one list for each batch" if batch is not None else ""


def _beside(
    others: Sequence[str], hints: Mapping[str, Any], name: str, batch: Batch | None
) -> tuple[str | None, dict[str, type]]:
    right, wrong = (Context, BatchContext) if batch is None else (BatchContext, Context)
    context: str | None = None
    resources: dict[str, type] = {}
    for parameter in others:
        kind = hints.get(parameter)
        if kind is right:
            context = parameter
        elif kind is wrong:
            raise DefinitionError(
                f"handler {name}: parameter {parameter} takes a {wrong.__qualname__}, and it handles"
                f" {'one event at a time' if batch is None else 'batches'}: write {parameter}: {right.__qualname__}"
            )
        elif isinstance(kind, type):
            resources[parameter] = kind
        else:
            raise DefinitionError(
                f"handler {name}: parameter {parameter} has no type that a resource could give; annotate it with the"
                f" type that a @service.resource yields, or with {right.__qualname__}"
            )
    return context, resources


def _read_answers(
    returned: Any, reads: Reads, name: str, *, is_command: bool, batch: Batch | None
) -> tuple[type[Event], ...]:
    declared = declared_answers(returned) or ()
    if is_command:
        spec = spec_of(reads.messages[0])
        for answer in declared:
            _check_outcome(answer, spec, name)
        return (*spec.replies, *spec.rejections)
    for answer in declared:
        if batch is not None and answer.what is not None:
            raise DefinitionError(
                f"handler {name} returns {name_of(answer.what)}: a batch handler returns None, and emits with"
                " ctx.publish(message, of=event), so that ids repeat when the event comes again in another batch"
            )
        if answer.what is not None or answer.is_several:
            _check_emitted(answer.what, name)
    return tuple(dict.fromkeys(answer.what for answer in declared if answer.what is not None))


def _check_outcome(answer: Answer, spec: MessageSpec, name: str) -> None:
    if answer.is_several or answer.what not in (*spec.replies, *spec.rejections):
        expected = " | ".join(name_of(one) for one in (*spec.replies, *spec.rejections))
        returned = f"several {name_of(answer.what)}" if answer.is_several else name_of(answer.what)
        raise DefinitionError(f"handler {name} returns {returned}: a handler of {spec.type} returns {expected}")


def _check_emitted(answer: Any, name: str) -> None:
    if not (isinstance(answer, type) and issubclass(answer, Event)):
        raise DefinitionError(
            f"handler {name} returns {name_of(answer)}: a handler of an event returns an Event, several in a tuple or"
            " list, or None"
        )
    if spec_of(answer).topic is None:
        raise DefinitionError(f"handler {name} returns {name_of(answer)}, which has no topic: give it topic='...'")
