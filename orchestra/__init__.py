"""The public names, and nothing else. Each is loaded when it is first asked for, so ``import orchestra`` costs nothing.

Inside the package, import the module that defines a name, never this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestra.errors import (
        AccessDeniedError,
        DecodeError,
        DefinitionError,
        EncodeError,
        OrchestraError,
        OutcomeUnknownError,
        PermanentError,
        SettingsError,
        TopicError,
        TransientError,
        TransportError,
        UnreachableError,
    )
    from orchestra.events.envelope import Envelope
    from orchestra.events.message import Command, Done, Event, Key, StepFailed, StepRefused, Undo
    from orchestra.flows.failure import Failure
    from orchestra.flows.saga import Flow, Saga, definition_of, on_compensated, on_completed, pivot, starts_on, step
    from orchestra.retry import Retry
    from orchestra.settings import Security, Settings

__all__ = [
    "AccessDeniedError",
    "Command",
    "DecodeError",
    "DefinitionError",
    "Done",
    "EncodeError",
    "Envelope",
    "Event",
    "Failure",
    "Flow",
    "Key",
    "OrchestraError",
    "OutcomeUnknownError",
    "PermanentError",
    "Retry",
    "Saga",
    "Security",
    "Settings",
    "SettingsError",
    "StepFailed",
    "StepRefused",
    "TopicError",
    "TransientError",
    "TransportError",
    "Undo",
    "UnreachableError",
    "definition_of",
    "on_compensated",
    "on_completed",
    "pivot",
    "starts_on",
    "step",
]

_HOMES = {
    "errors": (
        "AccessDeniedError",
        "DecodeError",
        "DefinitionError",
        "EncodeError",
        "OrchestraError",
        "OutcomeUnknownError",
        "PermanentError",
        "SettingsError",
        "TopicError",
        "TransientError",
        "TransportError",
        "UnreachableError",
    ),
    "events.envelope": ("Envelope",),
    "events.message": ("Command", "Done", "Event", "Key", "StepFailed", "StepRefused", "Undo"),
    "flows.failure": ("Failure",),
    "flows.saga": (
        "Flow",
        "Saga",
        "definition_of",
        "on_compensated",
        "on_completed",
        "pivot",
        "starts_on",
        "step",
    ),
    "retry": ("Retry",),
    "settings": ("Security", "Settings"),
}
_HOME_OF = {name: f"orchestra.{module}" for module, names in _HOMES.items() for name in names}

if not TYPE_CHECKING:  # a checker would take any name at all for granted

    def __getattr__(name: str) -> object:
        if (home := _HOME_OF.get(name)) is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        globals()[name] = value = getattr(import_module(home), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
