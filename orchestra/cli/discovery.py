"""Which services, coordinators and flows are there, in a folder, a package or a module?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING, TypeGuard

from orchestra.errors import DefinitionError

if TYPE_CHECKING:
    from orchestra.coordinator.coordinator import Coordinator
    from orchestra.flows.decision import Definition
    from orchestra.service.service import Service

_PASSED_OVER = frozenset({"tests", "demo", "conftest", "__main__"})
"""Modules that are no part of what runs."""


@dataclass(slots=True)
class Found:
    """What is there, each once. ``definitions`` are of the coordinators, and of flows that none of them has."""

    services: list[Service] = field(default_factory=list["Service"])
    coordinators: list[Coordinator] = field(default_factory=list["Coordinator"])
    definitions: list[Definition] = field(default_factory=list["Definition"])


def discover(targets: Sequence[str]) -> Found:
    """Everything that the targets hold: folders with packages, packages, modules, or objects as ``module:name``.

    Imports every module of a package, but not its tests and demos.

    Raises:
        DefinitionError: a target is not there, or cannot be imported, or none of them holds anything.
    """
    values = [value for target in targets for value in _values(target)]
    found = _sort(values)
    if not (found.services or found.definitions):
        raise DefinitionError(f"{' '.join(targets)}: there is no service, coordinator or flow")
    return found


def discover_flow(target: str) -> Definition | None:
    """The flow that the target is, as ``module:Flow``, or the only one in a module without services and coordinators;
    None where it is something else.

    Raises:
        DefinitionError: nothing is there, or it cannot be imported.
    """
    module, colon, name = target.partition(":")
    if "/" in target or Path(target).is_dir():
        return None
    from orchestra.cli.target import load, load_module

    if colon and name:
        return _definition(load(target, _may_be_drawn, "a flow, Service, Coordinator or App"))
    loaded = load_module(module)
    if hasattr(loaded, "__path__"):
        return None
    found = _sort(list(vars(loaded).values()))
    if found.services or found.coordinators or len(found.definitions) != 1:
        return None
    return found.definitions[0]


def _values(target: str) -> Iterator[object]:
    from orchestra.cli.target import load, load_module

    module, colon, name = target.partition(":")
    if colon and name:
        yield load(target, _may_be_drawn, "a flow, Service, Coordinator or App")
        return
    for one in _modules(load_module(_dotted(module))):
        yield from vars(one).values()


def _may_be_drawn(value: object) -> TypeGuard[object]:
    from orchestra.app import App
    from orchestra.coordinator.coordinator import Coordinator
    from orchestra.service.service import Service

    return isinstance(value, (App, Coordinator, Service)) or _definition(value) is not None


def _dotted(target: str) -> str:
    """``services/shop`` and ``services/shop/app.py`` as modules of the working directory."""
    path = Path(target)
    if not (path.exists() or "/" in target):
        return target
    try:
        inner = path.resolve().relative_to(Path.cwd())
    except ValueError:
        raise DefinitionError(
            f"{target} is not below the working directory; go to where its package's folder is"
        ) from None
    if not path.exists() or not inner.parts:
        raise DefinitionError(
            f"{target}: there is no such folder or module; name a package's folder, such as services/"
        )
    return ".".join(inner.with_suffix("").parts)


def _modules(module: ModuleType) -> Iterator[ModuleType]:
    """The module, and, where it is a package, all modules in it."""
    from orchestra.cli.target import load_module

    yield module
    for inner in iter_modules(getattr(module, "__path__", ())):
        if inner.name not in _PASSED_OVER and not inner.name.startswith("test_"):
            yield from _modules(load_module(f"{module.__name__}.{inner.name}"))


def _sort(values: Sequence[object]) -> Found:
    from orchestra.app import App
    from orchestra.coordinator.coordinator import Coordinator
    from orchestra.service.service import Service

    found = Found()
    services: dict[Service, None] = {}
    coordinators: dict[Coordinator, None] = {}
    loose: dict[tuple[str, int], Definition] = {}
    for value in values:
        for part in value.parts if isinstance(value, App) else (value,):
            if isinstance(part, Service):
                services[part] = None
            elif isinstance(part, Coordinator):
                coordinators[part] = None
            elif (definition := _definition(part)) is not None:
                loose[definition.name, definition.version] = definition
    found.services, found.coordinators = list(services), list(coordinators)
    known = {(one.name, one.version): one for each in coordinators for one in each.definitions}
    found.definitions = list((loose | known).values())
    return found


def _definition(value: object) -> Definition | None:
    from orchestra.flows.machine.declare import StateMachine
    from orchestra.flows.saga import Flow, Saga, definition_of

    bases = (Flow, Saga, StateMachine)
    if isinstance(value, type) and issubclass(value, (Flow, StateMachine)) and value not in bases:
        return definition_of(value)
    return None
