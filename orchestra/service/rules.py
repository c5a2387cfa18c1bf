"""Which handlers get along in one service? What one declaration alone does not show."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence

from orchestra.errors import DefinitionError
from orchestra.service.context import Context
from orchestra.service.handler import Handler
from orchestra.service.middleware import Middleware
from orchestra.service.signature import read_hints
from orchestra.service.wildcard import matcher


def check_name(handler: Handler, others: Sequence[Handler]) -> None:
    """See that no event has two handlers of one name: what they emit would have the same ids.

    Raises:
        DefinitionError: it has.
    """
    for other in others:
        if other.name == handler.name and (shared := _shared(handler, other)) is not None:
            raise DefinitionError(f"handler {handler.name} is there twice for {shared}: rename one function")


def check_batches(service: str, handlers: Sequence[Handler]) -> None:
    """See that each topic is read in batches, or one by one; and that no batch handler promises order per key.

    Raises:
        DefinitionError: one is read both ways, or one does.
    """
    for handler in handlers:
        if handler.batch and handler.retry.later and handler.retry.order == "divert_key":
            raise DefinitionError(
                f"handler {handler.name}: a batch is in order per partition, not per key: write order='unordered', or"
                " 'block_key', with which the partition waits"
            )
    batched = {topic: handler for handler in handlers if handler.batch for topic in handler.reads.topics}
    for handler in handlers:
        for topic in handler.reads.topics if handler.batch is None else ():
            if (other := batched.get(topic)) is not None:
                raise DefinitionError(
                    f"service {service}: {other.name} reads topic {topic!r} in batches, and {handler.name} one by one:"
                    " the order of both cannot be kept, so declare one of them in another Service"
                )


def check_patterns(service: str, commands: Collection[str], patterns: Sequence[Handler]) -> None:
    """See that no pattern reads the service's own commands: an unknown one there is a mistake that is to be seen.

    Raises:
        DefinitionError: one does.
    """
    for handler in patterns:
        if own := handler.reads.topics.intersection(commands):
            raise DefinitionError(
                f"service {service}: {handler.name} reads {min(own)!r} by pattern, and its commands come there:"
                " declare it in another Service"
            )


def check_middlewares(service: str, middlewares: Sequence[Middleware], handlers: Sequence[Handler]) -> None:
    """See that a middleware that asks for a Context is around no batch handler.

    Raises:
        DefinitionError: it is.
    """
    for handler in handlers:
        for middleware in (*middlewares, *handler.middleware) if handler.batch else ():
            name = getattr(middleware, "__qualname__", repr(middleware))
            hints = read_hints(middleware, f"middleware {name}") if inspect.isfunction(middleware) else {}
            if Context in hints.values():
                raise DefinitionError(
                    f"service {service}: middleware {name} takes a Context, and {handler.name} handles batches: write"
                    " ctx: Context | BatchContext"
                )


def _shared(one: Handler, other: Handler) -> str | None:
    """A type, or pattern, that both may be called for."""
    if common := set(one.reads.types) & set(other.reads.types):
        return min(common)
    for a, b in ((one, other), (other, one)):
        for pattern in a.reads.patterns:
            if b.reads.patterns or any(map(matcher(pattern), b.reads.types)):
                return repr(pattern)
    return None
