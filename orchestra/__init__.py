"""The public names, and nothing else. Each is loaded when it is first asked for, so ``import orchestra`` costs nothing.

Inside the package, import the module that defines a name, never this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestra.app import App
    from orchestra.bus.bus import Bus, connect
    from orchestra.coordinator.coordinator import Coordinator
    from orchestra.errors import (
        AccessDeniedError,
        AskError,
        AskFailedError,
        AskRefusedError,
        AskTimeoutError,
        DecodeError,
        DefinitionError,
        EncodeError,
        FlowError,
        FlowFailedError,
        FlowQueryError,
        FlowRefusedError,
        FlowTimeoutError,
        InstanceUnknownError,
        OrchestraError,
        OutcomeUnknownError,
        PermanentError,
        PublishError,
        RetryAfter,
        SettingsError,
        TopicError,
        TransientError,
        TransportError,
        UnreachableError,
    )
    from orchestra.events.envelope import Envelope
    from orchestra.events.message import Command, Done, Event, FlowFailed, Key, StepFailed, StepRefused, Undo
    from orchestra.events.topic import Json, Topic
    from orchestra.flows.approval import Approval
    from orchestra.flows.declare import any_of, approval, call, delay, optional, settled, wait_for
    from orchestra.flows.declare_loop import for_each, repeat
    from orchestra.flows.failure import Failure
    from orchestra.flows.machine.declare import StateMachine, on_started, state
    from orchestra.flows.machine.state import Data, State
    from orchestra.flows.query import FlowView, query
    from orchestra.flows.saga import Flow, Saga, on_compensated, on_completed, pivot, starts_on, step
    from orchestra.outbox.outbox import Outbox
    from orchestra.outbox.table import create_tables as create_outbox_tables
    from orchestra.retry import Retry
    from orchestra.service.batch import Batch
    from orchestra.service.batch_context import BatchContext
    from orchestra.service.budget import DeadLetterBudget
    from orchestra.service.context import Context
    from orchestra.service.ledger import create_tables as create_ledger_tables
    from orchestra.service.ledger_upkeep import prune as prune_ledger
    from orchestra.service.middleware import Call
    from orchestra.service.service import Service
    from orchestra.service.sqlite import sqlite_engine
    from orchestra.settings import Security, Settings

__all__ = [
    "AccessDeniedError",
    "App",
    "Approval",
    "AskError",
    "AskFailedError",
    "AskRefusedError",
    "AskTimeoutError",
    "Batch",
    "BatchContext",
    "Bus",
    "Call",
    "Command",
    "Context",
    "Coordinator",
    "Data",
    "DeadLetterBudget",
    "DecodeError",
    "DefinitionError",
    "Done",
    "EncodeError",
    "Envelope",
    "Event",
    "Failure",
    "Flow",
    "FlowError",
    "FlowFailed",
    "FlowFailedError",
    "FlowQueryError",
    "FlowRefusedError",
    "FlowTimeoutError",
    "FlowView",
    "InstanceUnknownError",
    "Json",
    "Key",
    "OrchestraError",
    "Outbox",
    "OutcomeUnknownError",
    "PermanentError",
    "PublishError",
    "Retry",
    "RetryAfter",
    "Saga",
    "Security",
    "Service",
    "Settings",
    "SettingsError",
    "State",
    "StateMachine",
    "StepFailed",
    "StepRefused",
    "Topic",
    "TopicError",
    "TransientError",
    "TransportError",
    "Undo",
    "UnreachableError",
    "any_of",
    "approval",
    "call",
    "connect",
    "create_ledger_tables",
    "create_outbox_tables",
    "delay",
    "for_each",
    "on_compensated",
    "on_completed",
    "on_started",
    "optional",
    "pivot",
    "prune_ledger",
    "query",
    "repeat",
    "settled",
    "sqlite_engine",
    "starts_on",
    "state",
    "step",
    "wait_for",
]

_HOMES = {
    "orchestra.app": ("App",),
    "orchestra.bus.bus": (
        "Bus",
        "connect",
    ),
    "orchestra.coordinator.coordinator": ("Coordinator",),
    "orchestra.errors": (
        "AccessDeniedError",
        "AskError",
        "AskFailedError",
        "AskRefusedError",
        "AskTimeoutError",
        "DecodeError",
        "DefinitionError",
        "EncodeError",
        "FlowError",
        "FlowFailedError",
        "FlowQueryError",
        "FlowRefusedError",
        "FlowTimeoutError",
        "InstanceUnknownError",
        "OrchestraError",
        "OutcomeUnknownError",
        "PermanentError",
        "PublishError",
        "RetryAfter",
        "SettingsError",
        "TopicError",
        "TransientError",
        "TransportError",
        "UnreachableError",
    ),
    "orchestra.events.envelope": ("Envelope",),
    "orchestra.events.topic": (
        "Json",
        "Topic",
    ),
    "orchestra.events.message": (
        "Command",
        "Done",
        "Event",
        "FlowFailed",
        "Key",
        "StepFailed",
        "StepRefused",
        "Undo",
    ),
    "orchestra.flows.approval": ("Approval",),
    "orchestra.flows.declare_loop": ("for_each", "repeat"),
    "orchestra.flows.declare": (
        "any_of",
        "approval",
        "call",
        "delay",
        "optional",
        "settled",
        "wait_for",
    ),
    "orchestra.flows.failure": ("Failure",),
    "orchestra.flows.machine.declare": (
        "StateMachine",
        "on_started",
        "state",
    ),
    "orchestra.flows.machine.state": (
        "Data",
        "State",
    ),
    "orchestra.flows.query": ("FlowView", "query"),
    "orchestra.flows.saga": (
        "Flow",
        "Saga",
        "on_compensated",
        "on_completed",
        "pivot",
        "starts_on",
        "step",
    ),
    "orchestra.outbox.outbox": ("Outbox",),
    "orchestra.outbox.table": ("create_outbox_tables",),
    "orchestra.retry": ("Retry",),
    "orchestra.service.batch": ("Batch",),
    "orchestra.service.batch_context": ("BatchContext",),
    "orchestra.service.budget": ("DeadLetterBudget",),
    "orchestra.service.context": ("Context",),
    "orchestra.service.ledger": ("create_ledger_tables",),
    "orchestra.service.ledger_upkeep": ("prune_ledger",),
    "orchestra.service.middleware": ("Call",),
    "orchestra.service.service": ("Service",),
    "orchestra.service.sqlite": ("sqlite_engine",),
    "orchestra.settings": (
        "Security",
        "Settings",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_NAMES_AT_HOME = {
    "create_ledger_tables": "create_tables",
    "create_outbox_tables": "create_tables",
    "prune_ledger": "prune",
}
"""Where they are defined, the module's name says what is said here."""

if not TYPE_CHECKING:  # a checker would take any name at all for granted

    def __getattr__(name: str) -> object:
        if (home := _HOME_OF.get(name)) is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        globals()[name] = value = getattr(import_module(home), _NAMES_AT_HOME.get(name, name))
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
