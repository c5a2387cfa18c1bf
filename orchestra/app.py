"""What runs together? A set of services and coordinators, checked against each other when it is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestra.coordinator.coordinator import Coordinator
from orchestra.errors import DefinitionError
from orchestra.service.service import Service


class App:
    """Services and coordinators that one process runs: ``App(services=[orders, payments], coordinators=[food])``.

    ``orchestra run module:app`` runs it. Each part can also be run by itself, as a process of its own.

    Args:
        services: at most one of each name.
        coordinators: the same; a name is given once in all, because topics and groups are named after it.

    Raises:
        DefinitionError: two parts get in each other's way; names both, and the remedy.
    """

    def __init__(self, *, services: Sequence[Service] = (), coordinators: Sequence[Coordinator] = ()) -> None:
        self.services = tuple(services)
        self.coordinators = tuple(coordinators)
        _check_kinds(self.services, Service, "services")
        _check_kinds(self.coordinators, Coordinator, "coordinators")
        if not (self.services or self.coordinators):
            raise DefinitionError("App(): there is nothing to run; name a service or a coordinator")
        _check_names(self.parts)
        _check_commands(self.services)
        _check_flows(self.coordinators)

    @property
    def parts(self) -> tuple[Service | Coordinator, ...]:
        """Everything that it runs."""
        return (*self.services, *self.coordinators)

    @classmethod
    def of(cls, parts: Iterable[App | Service | Coordinator]) -> App:
        """One app of several parts; what is named twice is run once.

        Raises:
            DefinitionError: two parts get in each other's way.
        """
        found: dict[Service | Coordinator, None] = {}
        for part in parts:
            found.update(dict.fromkeys(part.parts if isinstance(part, App) else (part,)))
        return cls(
            services=[part for part in found if isinstance(part, Service)],
            coordinators=[part for part in found if isinstance(part, Coordinator)],
        )

    def __repr__(self) -> str:
        return f"App({', '.join(part.name for part in self.parts)})"


def _check_kinds(parts: Sequence[object], kind: type, argument: str) -> None:
    for part in parts:
        if not isinstance(part, kind):
            raise DefinitionError(f"App({argument}=...): {part!r} is no {kind.__name__}")


def _check_names(parts: Sequence[Service | Coordinator]) -> None:
    names = [part.name for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise DefinitionError(
                f"App: {names.count(name)} parts are named {name!r}; groups and topics are named after a part, "
                "so rename all but one"
            )


def _check_commands(services: Sequence[Service]) -> None:
    """Two services would both read the command, and both answer it."""
    handled: dict[str, Service] = {}
    for service in services:
        for command in service.commands:
            other = handled.setdefault(command, service)
            if other is not service:
                raise DefinitionError(
                    f"App: {command} is handled by service {other.name!r} and by service {service.name!r}; "
                    "both would do it, so keep one handler"
                )


def _check_flows(coordinators: Sequence[Coordinator]) -> None:
    """Two coordinators would start the flow twice, with the same effect ids."""
    advanced: dict[str, Coordinator] = {}
    for coordinator in coordinators:
        for definition in coordinator.definitions:
            other = advanced.setdefault(definition.name, coordinator)
            if other is not coordinator:
                raise DefinitionError(
                    f"App: flow {definition.name!r} is in coordinator {other.name!r} and in coordinator "
                    f"{coordinator.name!r}; its effects would happen twice, so keep it in one"
                )
