"""What does a function ask for, going by its annotations? Read once, at import."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from types import CodeType, NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from orchestra.errors import DefinitionError

Function = Callable[..., Any]


class Answer(NamedTuple):
    """One of the things that a function says it returns: a class, None, or what stands for neither."""

    is_several: bool
    """It stands within a tuple or list."""
    what: Any


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


def named_parameters(function: Function, name: str) -> list[str]:
    """The parameters that must be given, the message first."""
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise DefinitionError(f"handler {name} takes *{parameter.name}: name its parameters")
    if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
        raise DefinitionError(f"handler {name} takes no message: its first parameter is the message that it handles")
    # One with a default and no resource for its type keeps its default.
    return [parameters[0].name, *(p.name for p in parameters[1:] if p.default is p.empty)]


def accepts(annotation: Any, kind: type) -> bool:
    """Whether a parameter with this annotation takes any ``kind``."""
    if annotation is Any:
        return True
    if get_origin(annotation) in (Union, UnionType):
        return any(accepts(part, kind) for part in get_args(annotation))
    return isinstance(annotation, type) and issubclass(kind, annotation)


def element_of(annotation: Any) -> Any:
    """X of ``list[X]`` or ``Sequence[X]``; None for everything else."""
    if get_origin(annotation) in (list, Sequence) and len(parts := get_args(annotation)) == 1:
        return parts[0]
    return None


def declared_answers(annotation: Any) -> tuple[Answer, ...] | None:
    """What the return annotation names: ``A | None``, ``tuple[A, B]``, ``list[A | B]``. None where it says nothing."""
    if annotation is Any:
        return None
    return tuple(answer for part in _alternatives(annotation) for answer in _answers(part))


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _answers(part: Any) -> list[Answer]:
    if get_origin(part) in (tuple, list, Sequence):
        within = [one for one in get_args(part) if one is not Ellipsis]
        return [Answer(True, _plain(one)) for element in within for one in _alternatives(element)]
    return [Answer(False, _plain(part))]


def _plain(part: Any) -> Any:
    return None if part in (None, NoneType) else part


def mentions(code: CodeType, name: str, names: Mapping[str, Any], depth: int = 2) -> bool:
    """Whether the code, or a function that it names, uses an attribute or method of that name.

    This tells handlers with a ledger, so an expired command can be refused for certain, without running the handler. It
    errs to one side: a ledger that it does not see only means that nobody is told of the refusal.
    """
    if name in code.co_names:
        return True
    if any(isinstance(part, CodeType) and mentions(part, name, names, depth) for part in code.co_consts):
        return True
    called = (names.get(other) for other in code.co_names) if depth else ()
    return any(
        inspect.isfunction(function) and mentions(function.__code__, name, function.__globals__, depth - 1)
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
        raise DefinitionError(
            f"resource {name} yields {name_of(provides)}: it is found by its type, so yield a class's"
        )
    return provides


def name_of(thing: Any) -> str:
    """What to call it in an error's text."""
    if thing in (None, NoneType):
        return "None"
    if (origin := get_origin(thing)) is not None:
        parts = [name_of(part) for part in get_args(thing)]
        return " | ".join(parts) if origin in (Union, UnionType) else f"{name_of(origin)}[{', '.join(parts)}]"
    return getattr(thing, "__qualname__", None) or repr(thing)
