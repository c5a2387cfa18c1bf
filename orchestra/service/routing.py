"""Which handlers is an event for? Exact types by one look into a table; patterns are matched once for each type.

A route is a binding, where one handler takes every event of the type, as nearly always; or a tuple of several, or of
such as want to see the event first; or None.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestra.events.envelope import Envelope
from orchestra.service.binding import Binding
from orchestra.service.wildcard import matcher

Route = Binding | tuple[Binding, ...] | None

MAX_REMEMBERED = 10_000
"""Types come from outside: no more of those that only patterns, or nobody, asked for are remembered."""


class Routes(dict[str, Route]):
    """Type -> route. Never a KeyError: what is asked for the first time is found out."""

    def __init__(self, bindings: Iterable[Binding]) -> None:
        super().__init__()
        self._patterns: list[Binding] = []
        exact: dict[str, list[Binding]] = {}
        for binding in bindings:
            if binding.type:
                exact.setdefault(binding.type, []).append(binding)
            else:
                self._patterns.append(binding)
        for kind, found in exact.items():
            self[kind] = _route((*found, *self._fitting(kind)))
        self._declared = len(self)

    def __missing__(self, kind: str) -> Route:
        route = _route(self._fitting(kind)) if self._patterns else None
        if self._patterns:
            if len(self) >= self._declared + MAX_REMEMBERED:
                self._forget()
            self[kind] = route
        return route

    def _fitting(self, kind: str) -> tuple[Binding, ...]:
        return tuple(
            binding
            for binding in self._patterns
            if any(matcher(pattern)(kind) for pattern in binding.handler.reads.patterns)
        )

    def _forget(self) -> None:
        for kind in list(self)[self._declared :]:  # a dict keeps its order: those declared came first
            del self[kind]


def _route(bindings: tuple[Binding, ...]) -> Route:
    if len(bindings) == 1 and bindings[0].admits is None and bindings[0].handler.batch is None:
        return bindings[0]
    return bindings or None


def choose(
    route: Iterable[Binding], event: Envelope, topic: str
) -> tuple[list[Binding], list[tuple[Binding, Exception]]]:
    """Those of a route that want this event, and those that failed to say."""
    chosen: list[Binding] = []
    failed: list[tuple[Binding, Exception]] = []
    for binding in route:
        try:
            if binding.admits is None or binding.admits(event, topic):
                chosen.append(binding)
        except Exception as error:
            failed.append((binding, error))
    return chosen, failed
