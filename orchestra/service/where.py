"""Which events does a handler want, going by their attributes? Data is never decoded to decide. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from orchestra.errors import DefinitionError
from orchestra.events.envelope import Envelope
from orchestra.service.wildcard import matcher

Filter = Callable[[Envelope], bool]
Where = Mapping[str, str] | Filter
"""Attribute -> pattern (``*`` stands for any text), all of which must match; or a predicate of the envelope."""

_CORE = ("id", "source", "type", "subject", "dataschema", "datacontenttype")
_EXTENSION = re.compile(r"[a-z0-9]{1,64}")


def read_where(where: Where, name: str) -> Filter:
    """The filter that a ``where=`` means.

    Raises:
        DefinitionError: it names what is no attribute, or is no function of one envelope.
    """
    if isinstance(where, Mapping):
        if not where:
            raise DefinitionError(f"handler {name}: where={{}} says nothing: leave it out")
        return _all_of([_one(attribute, pattern, name) for attribute, pattern in where.items()])
    if not callable(where):
        raise DefinitionError(
            f"handler {name}: where={where!r} is no filter: write where={{'source': '/shop/*'}}, or a function of the"
            " Envelope"
        )
    if inspect.iscoroutinefunction(where):
        raise DefinitionError(
            f"handler {name}: where= is asked for every record and cannot await: write def, not async"
        )
    return _explained(where, name)


def _one(attribute: Any, pattern: Any, name: str) -> Filter:
    if not isinstance(pattern, str):
        raise DefinitionError(
            f"handler {name}: where={{{attribute!r}: {pattern!r}}}: a pattern is text, with '*' for any text; for other"
            " questions write a function of the Envelope"
        )
    get = _getter(attribute, name)
    matches = matcher(pattern)

    def fits(event: Envelope) -> bool:
        text = get(event)
        return text is not None and matches(text)

    return fits


def _getter(attribute: Any, name: str) -> Callable[[Envelope], str | None]:
    if attribute in _CORE:
        return attrgetter(attribute)
    if attribute == "time":
        return attrgetter("time_text")
    if not isinstance(attribute, str) or attribute == "data" or not _EXTENSION.fullmatch(attribute):
        raise DefinitionError(
            f"handler {name}: where= asks for {attribute!r}, which is no attribute of a CloudEvent: name source,"
            " subject, ..., or an extension (a-z, 0-9); data is not decoded to decide"
        )
    extension = attribute
    return lambda event: event.get(extension)


def _all_of(filters: list[Filter]) -> Filter:
    if len(filters) == 1:
        return filters[0]
    wanted = tuple(filters)
    return lambda event: all(fits(event) for fits in wanted)


def _explained(predicate: Filter, name: str) -> Filter:
    """A user's predicate, whose failure is a broken declaration of its handler: one dead letter, and no other tries."""

    def fits(event: Envelope) -> bool:
        try:
            return bool(predicate(event))
        except Exception as error:
            raise DefinitionError(
                f"handler {name}: its where= raised {type(error).__name__} for {event!r}: {error}"
            ) from error

    return fits
