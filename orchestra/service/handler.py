"""What does a handler's signature ask for? Read once, at import; mistakes are definition errors there."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import CodeType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from orchestra.duration import Duration, seconds
from orchestra.errors import DefinitionError
from orchestra.events.message import Event, Message, MessageSpec, spec_of
from orchestra.retry import Retry
from orchestra.service.context import Context

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Handler:
    """A handler, read.

    Attributes:
        name: ``<service>.<function>``: part of the ids of what it emits, so renaming the function changes them.
        message: the class it handles.
        answers: the classes that it may return.
        context: the parameter that takes the context, or None.
        parameters: the others -> the type of the resource each takes.
        timeout: seconds for one attempt, or None.
        uses_ledger: whether it enters ``ctx.effect``.
    """

    name: str
    function: Function
    message: type[Message]
    spec: MessageSpec
    answers: tuple[type[Event], ...]
    context: str | None
    parameters: Mapping[str, type]
    retry: Retry
    timeout: float | None
    uses_ledger: bool


def read_handler(
    function: Function, message: type[Message], *, service: str, retry: Retry, timeout: Duration | None
) -> Handler:
    """The handler that a function is.

    Raises:
        DefinitionError: the signature cannot be served; names the function, the parameter and the remedy.
    """
    spec = spec_of(message)
    name = f"{service}.{function.__name__}"
    if not inspect.iscoroutinefunction(function):
        raise DefinitionError(f"handler {name} is not an async function: write async def {function.__name__}(...)")
    hints = read_hints(function, name)
    context, parameters = _parameters(function, message, hints, name)
    declared = _declared_answers(hints.get("return", Any))
    _check_answers(declared, spec, name)
    answers = (*spec.replies, *spec.rejections) if spec.is_command else tuple(a for a in declared or () if a)
    return Handler(
        name=name,
        function=function,
        message=message,
        spec=spec,
        answers=answers,
        context=context,
        parameters=parameters,
        retry=retry,
        timeout=None if timeout is None else seconds(timeout),
        uses_ledger=_mentions(function.__code__, "effect", function.__globals__),
    )


def read_hints(function: Function, name: str) -> dict[str, Any]:
    """The function's annotations as types. Raises DefinitionError for a name that means nothing here."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("orchestra.service"):
        frame = frame.f_back
    try:
        # The caller's locals too: classes defined within the function that defines the handler, as tests do.
        return get_type_hints(function, localns=dict(frame.f_locals))
    except NameError as error:
        raise DefinitionError(
            f"{name}: the annotation {error.name!r} means nothing where the function is defined: import it at run time,"
            " not only for type checking"
        ) from error


def _parameters(
    function: Function, message: type[Message], hints: Mapping[str, Any], name: str
) -> tuple[str | None, dict[str, type]]:
    first, *others = _named(function, name)
    taken = hints.get(first)
    if taken is None:
        raise DefinitionError(f"handler {name}: annotate its first parameter, {first}: {message.__qualname__}")
    if not _accepts(taken, message):
        raise DefinitionError(
            f"handler {name} is declared for {message.__qualname__}, and its first parameter {first} takes"
            f" {_name(taken)}: write {first}: {message.__qualname__}"
        )
    context: str | None = None
    resources: dict[str, type] = {}
    for parameter in others:
        kind = hints.get(parameter)
        if kind is Context:
            context = parameter
        elif isinstance(kind, type):
            resources[parameter] = kind
        else:
            raise DefinitionError(
                f"handler {name}: parameter {parameter} has no type that a resource could give; annotate it with the"
                " type that a @service.resource yields, or with Context"
            )
    return context, resources


def _named(function: Function, name: str) -> list[str]:
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise DefinitionError(f"handler {name} takes *{parameter.name}: name its parameters")
    if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
        raise DefinitionError(f"handler {name} takes no message: its first parameter is the message that it handles")
    # One with a default and no resource for its type keeps its default.
    return [parameters[0].name, *(p.name for p in parameters[1:] if p.default is p.empty)]


def _accepts(annotation: Any, message: type[Message]) -> bool:
    if annotation is Any:
        return True
    if get_origin(annotation) in (Union, UnionType):
        return any(_accepts(part, message) for part in get_args(annotation))
    return isinstance(annotation, type) and issubclass(message, annotation)


def _declared_answers(annotation: Any) -> tuple[Any, ...] | None:
    """The classes in the return annotation, None among them where it may be None; None where it says nothing."""
    if annotation is Any:
        return None
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return tuple(None if part in (None, NoneType) else part for part in parts)


def _check_answers(declared: tuple[Any, ...] | None, spec: MessageSpec, name: str) -> None:
    for answer in declared or ():
        if spec.is_command:
            if answer not in (*spec.replies, *spec.rejections):
                expected = " | ".join(_name(one) for one in (*spec.replies, *spec.rejections))
                raise DefinitionError(
                    f"handler {name} returns {_name(answer)}: a handler of {spec.type} returns {expected}"
                )
        elif answer is not None:
            if not (isinstance(answer, type) and issubclass(answer, Event)):
                raise DefinitionError(
                    f"handler {name} returns {_name(answer)}: a handler of an event returns an Event or None"
                )
            if spec_of(answer).topic is None:
                raise DefinitionError(
                    f"handler {name} returns {_name(answer)}, which has no topic: give it topic='...'"
                )


def _mentions(code: CodeType, name: str, names: Mapping[str, Any], depth: int = 2) -> bool:
    """Whether the code, or a function that it names, uses an attribute or method of that name.

    This tells handlers with a ledger, so an expired command can be refused for certain, without running the handler. It
    errs to one side: a ledger that it does not see only means that nobody is told of the refusal.
    """
    if name in code.co_names:
        return True
    if any(isinstance(part, CodeType) and _mentions(part, name, names, depth) for part in code.co_consts):
        return True
    called = (names.get(other) for other in code.co_names) if depth else ()
    return any(
        inspect.isfunction(function) and _mentions(function.__code__, name, function.__globals__, depth - 1)
        for function in called
    )


def yielded_type(function: Function, hints: Mapping[str, Any], name: str) -> type:
    """The type that a resource's async generator yields."""
    returned = hints.get("return")
    if not inspect.isasyncgenfunction(function):
        raise DefinitionError(f"resource {name} is not an async generator: write async def, and yield the value once")
    if get_origin(returned) not in (AsyncIterator, AsyncGenerator, AsyncIterable):
        raise DefinitionError(f"resource {name} does not say what it yields: write -> AsyncIterator[...]")
    provides = get_args(returned)[0]
    if not isinstance(provides, type):
        raise DefinitionError(f"resource {name} yields {_name(provides)}: it is found by its type, so yield a class's")
    return provides


def _name(thing: Any) -> str:
    return "None" if thing is None else getattr(thing, "__qualname__", None) or repr(thing)
