"""Which flows does a target of ``orchestra check`` name, and which app runs them?"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from orchestra.cli.target import load, load_module
from orchestra.errors import DefinitionError

if TYPE_CHECKING:
    from orchestra.app import App
    from orchestra.flows.decision import Definition


@dataclass(frozen=True, slots=True)
class Checked:
    """A flow to check, and the app that it runs in, where the target named one."""

    definition: Definition
    app: App | None = None


def flows_of(target: str) -> list[Checked]:
    """The flows of ``module:name`` (a flow, a coordinator, an app), of a module, or of a package and all below it.

    Raises:
        DefinitionError: there are none.
    """
    if ":" in target:
        return list(_of_value(load(target, _is_target, "a flow, Coordinator or App")))
    module = load_module(target)
    found = {id(one): one for each in _modules(module) for one in _own_flows(each, target)}
    if not found:
        raise DefinitionError(f"{target}: it holds no flow; name one as module:Flow, or a package that holds flows")
    return [Checked(one) for one in found.values()]


def _is_target(value: object) -> TypeGuard[Any]:
    from orchestra.app import App
    from orchestra.coordinator.coordinator import Coordinator

    return isinstance(value, (App, Coordinator)) or _definition(value) is not None


def _definition(value: object) -> Definition | None:
    return cast("Definition | None", value.__dict__.get("_definition")) if isinstance(value, type) else None


def _of_value(value: Any) -> Iterator[Checked]:
    from orchestra.app import App
    from orchestra.coordinator.coordinator import Coordinator

    if isinstance(value, App):
        for coordinator in value.coordinators:
            yield from (Checked(one, value) for one in coordinator.definitions)
    elif isinstance(value, Coordinator):
        yield from map(Checked, value.definitions)
    elif (definition := _definition(value)) is not None:
        yield Checked(definition)


def _modules(module: ModuleType) -> Iterator[ModuleType]:
    yield module
    for info in pkgutil.walk_packages(getattr(module, "__path__", []), f"{module.__name__}."):
        if not info.name.endswith(".__main__"):
            yield load_module(info.name)


def _own_flows(module: ModuleType, within: str) -> Iterator[Definition]:
    """Flows that were written there or below: not those that a module only imports from elsewhere."""
    for value in vars(module).values():
        if (definition := _definition(value)) is not None and f"{value.__module__}.".startswith(f"{within}."):
            yield definition
