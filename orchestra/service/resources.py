"""How does a handler get what it needs: a database engine, a session, a client?

A resource is an async generator that yields one value. Values are found by the type that the generator says it yields.
Process resources are opened once, in the order of their needs, and closed in reverse. Call resources are opened for
each attempt of a handler that asks for them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

from orchestra.errors import DefinitionError

Scope = Literal["process", "call"]
Opener = Callable[..., AbstractAsyncContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Resource:
    """A declared resource.

    Attributes:
        provides: the type that it yields.
        needs: parameter -> type of the resources that it takes.
        down_on: errors of a handler that mean that it is down.
    """

    name: str
    provides: type
    needs: Mapping[str, type]
    scope: Scope
    open: Opener
    down_on: tuple[type[Exception], ...] = ()


def resource_of(
    function: Callable[..., AsyncIterator[Any]],
    provides: type,
    needs: Mapping[str, type],
    scope: Scope,
    down_on: tuple[type[Exception], ...] = (),
) -> Resource:
    """The resource that an async generator function declares."""
    # Users write AsyncIterator, as the standard library's documentation did for years; what it gives is a generator.
    opener = asynccontextmanager(cast("Callable[..., AsyncGenerator[Any]]", function))
    return Resource(function.__qualname__, provides, needs, scope, opener, down_on)


def fixed(provides: type, value: Any, before: Resource | None) -> Resource:
    """A resource that is there already, and that nobody closes."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Any]:
        yield value

    return Resource(
        f"(overriding {getattr(provides, '__qualname__', provides)})",
        provides,
        {},
        "process",
        opened,
        before.down_on if before else (),
    )


def roots(resources: Mapping[type, Resource]) -> list[type]:
    """The types that no other resource needs."""
    needed = {need for resource in resources.values() for need in resource.needs.values()}
    return [provides for provides in resources if provides not in needed]


def in_order(wanted: Iterable[type], resources: Mapping[type, Resource], *, wanted_by: str) -> list[Resource]:
    """The resources that give these types, each behind what it needs itself.

    Raises:
        DefinitionError: nobody gives a type, resources need each other in a circle, or a process resource needs one
            of a call.
    """
    ordered: dict[type, Resource] = {}

    def add(provides: type, by: str, path: tuple[type, ...]) -> None:
        if provides in ordered:
            return
        resource = resources.get(provides)
        if resource is None:
            raise DefinitionError(
                f"{by} takes a {provides.__qualname__}, which no resource gives: add @service.resource with a"
                f" function that returns AsyncIterator[{provides.__qualname__}]"
            )
        if provides in path:
            raise DefinitionError(f"resource {resource.name} needs itself, by way of {by}: break the circle")
        for need in resource.needs.values():
            if resource.scope == "process" and need in resources and resources[need].scope == "call":
                raise DefinitionError(
                    f"resource {resource.name} lives as long as the process and takes {need.__qualname__}, which"
                    ' lives for one call: write scope="call"'
                )
            add(need, f"resource {resource.name}", (*path, provides))
        ordered[provides] = resource

    for provides in wanted:
        add(provides, wanted_by, ())
    return list(ordered.values())


class OpenResources:
    """The process resources of a service, open."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self.values: dict[type, Any] = {}

    async def open(self, resources: Sequence[Resource]) -> None:
        """Open them in order. When one fails, those before it are closed and its error is raised."""
        try:
            for resource in resources:
                if resource.scope == "process":
                    needs = {name: self.values[need] for name, need in resource.needs.items()}
                    self.values[resource.provides] = await self._stack.enter_async_context(resource.open(**needs))
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close in reverse. Idempotent."""
        self.values.clear()
        await self._stack.aclose()


@dataclass(frozen=True, slots=True)
class _CallResource:
    """A call resource with what it needs of the process already in hand."""

    provides: type
    open: Opener
    fixed: Mapping[str, Any]
    needs: tuple[tuple[str, type], ...]


class Injection:
    """What one handler is called with, beside message and context. Compiled once: needing nothing costs nothing."""

    __slots__ = ("_calls", "_wanted", "fixed")

    def __init__(
        self, parameters: Mapping[str, type], resources: Mapping[type, Resource], values: Mapping[type, Any], name: str
    ) -> None:
        ordered = in_order(parameters.values(), resources, wanted_by=f"handler {name}")
        calls = [resource for resource in ordered if resource.scope == "call"]
        per_call = {resource.provides for resource in calls}
        self.fixed = {name: values[need] for name, need in parameters.items() if need not in per_call}
        """Parameters that are the same for every call."""
        self._wanted = tuple((name, need) for name, need in parameters.items() if need in per_call)
        self._calls = tuple(
            _CallResource(
                resource.provides,
                resource.open,
                {name: values[need] for name, need in resource.needs.items() if need not in per_call},
                tuple((name, need) for name, need in resource.needs.items() if need in per_call),
            )
            for resource in calls
        )

    @property
    def has_calls(self) -> bool:
        """Whether something must be opened for each call."""
        return bool(self._calls)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[dict[str, Any]]:
        """The parameters that are new for each call; closed in reverse, told of the handler's error."""
        values: dict[type, Any] = {}
        async with AsyncExitStack() as stack:
            for resource in self._calls:
                needs = {name: values[need] for name, need in resource.needs}
                values[resource.provides] = await stack.enter_async_context(resource.open(**resource.fixed, **needs))
            yield {name: values[need] for name, need in self._wanted}
