"""What does a method of a flow take and return? Mistakes in it are errors at import."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from orchestra.errors import DefinitionError
from orchestra.events.message import Command, Event, Message, spec_of


def check_method(place: str, make: Callable[..., Any], arguments: Sequence[str]) -> None:
    if inspect.iscoroutinefunction(make) or inspect.isasyncgenfunction(make):
        raise DefinitionError(f"{place}: a flow's methods are plain functions; write def, and do I/O in a handler")
    try:
        inspect.signature(make).bind(None, *arguments)
    except TypeError as error:
        given = ", ".join(arguments) or "nothing"
        raise DefinitionError(f"{place}: the method is given self and {given}, and cannot take it: {error}") from None


def says(place: str, make: Callable[..., Any], *, unpack: bool = True) -> list[Any]:
    """All that a method says it may return, None as NoneType; where ``unpack``, what a list or tuple holds."""
    try:
        hints = get_type_hints(make)
    except (NameError, TypeError, AttributeError) as error:
        raise DefinitionError(
            f"{place}: its annotations cannot be read ({error}); import what they name at module level, not under "
            f"TYPE_CHECKING"
        ) from None
    if "return" not in hints:
        raise DefinitionError(f"{place}: it does not say what it returns; add -> and the message's class")
    return list(_alternatives(hints["return"], unpack=unpack))


def returned(place: str, make: Callable[..., Any], wanted: type) -> list[type[Any]]:
    """The classes that a method says it returns; None is left out."""
    alternatives = says(place, make, unpack=wanted is Event)
    found = [one for one in alternatives if one is not NoneType]
    for one in found:
        if not _can_be_sent(one, wanted):
            said = getattr(one, "__name__", one)
            raise DefinitionError(f"{place}: it returns {said}, which is no {wanted.__name__} that can be sent")
    if wanted is Command and NoneType in alternatives:
        raise DefinitionError(f"{place}: it may return None; a step always returns its command")
    return found


def _can_be_sent(one: object, wanted: type) -> bool:
    if not (isinstance(one, type) and issubclass(one, wanted) and issubclass(one, Message)):
        return False
    try:
        spec_of(one)
    except DefinitionError:  # abstract
        return False
    return True


def _alternatives(annotation: object, *, unpack: bool) -> Iterator[Any]:
    """The classes of a union; and, where ``unpack``, of a list or tuple."""
    origin = get_origin(annotation)
    is_several = unpack and isinstance(origin, type) and issubclass(origin, Sequence)
    if origin in (Union, UnionType) or is_several:
        for part in get_args(annotation):
            if part is not Ellipsis:
                yield from _alternatives(part, unpack=unpack)
    else:
        yield NoneType if annotation is None else annotation
