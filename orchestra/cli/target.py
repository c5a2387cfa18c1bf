"""What does ``module:name`` mean, and what stands there?"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, TypeGuard, TypeVar

from orchestra.errors import DefinitionError, OrchestraError

if TYPE_CHECKING:
    from orchestra.app import App
    from orchestra.coordinator.coordinator import Coordinator
    from orchestra.service.service import Service

T = TypeVar("T")


def load_module(name: str) -> ModuleType:
    """The module of that name, looked for in the working directory first.

    Raises:
        DefinitionError: there is none, or it cannot be imported; says where its import broke.
    """
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a console script has its own folder there, not the operator's
    try:
        return import_module(name)
    except OrchestraError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise DefinitionError(
                f"there is no module {error.name!r} in {os.getcwd()}, nor on the Python path: "
                "run this where your package's folder is, and write module.sub_module:name"
            ) from error
        raise _broken(name, error) from error
    except Exception as error:
        raise _broken(name, error) from error


def load(target: str, is_wanted: Callable[[object], TypeGuard[T]], what: str) -> T:
    """The object at ``module:name``; where ``:name`` is left out, the only one in the module that is wanted.

    Args:
        target: what the operator typed.
        is_wanted: whether an object is of the right kind.
        what: the right kind, in words: "a Service, Coordinator or App".

    Raises:
        DefinitionError: nothing of that kind is there; names what is.
    """
    module_name, _, name = target.partition(":")
    if not module_name:
        raise DefinitionError(f"{target!r} is no target: write module:name, such as services.shop.app:app")
    module = load_module(module_name)
    candidates = {known: value for known, value in vars(module).items() if is_wanted(value)}
    if not name:
        if len({id(value) for value in candidates.values()}) == 1:
            return next(iter(candidates.values()))
        raise DefinitionError(f"{module_name}: say which, as {module_name}:name. {_choices(target, candidates, what)}")
    if name in candidates:
        return candidates[name]
    mistake = f"{target} is not {what}" if name in vars(module) else f"{module_name} has no {name!r}"
    raise DefinitionError(f"{mistake}. {_choices(module_name, candidates, what)}")


def _choices(module: str, candidates: Iterable[str], what: str) -> str:
    if choices := ", ".join(f"{module}:{name}" for name in candidates):
        return f"There is: {choices}."
    return f"The module does not hold {what}."


def _broken(name: str, error: Exception) -> DefinitionError:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.relpath(frame.filename)}:{frame.lineno}"
    return DefinitionError(
        f"{name} cannot be imported: {type(error).__name__}: {error} ({where}). `--debug` shows the whole traceback."
    )


def load_app(targets: Sequence[str]) -> App:
    """One app of everything that the targets name.

    Raises:
        DefinitionError: a target is not there, or two of them get in each other's way.
    """
    from orchestra.app import App
    from orchestra.coordinator.coordinator import Coordinator
    from orchestra.service.service import Service

    def can_run(value: object) -> TypeGuard[App | Service | Coordinator]:
        return isinstance(value, (App, Service, Coordinator))

    def load_one(target: str) -> App | Service | Coordinator:
        return load(target, can_run, "a Service, Coordinator or App")

    return App.of(map(load_one, targets))
