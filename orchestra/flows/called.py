"""What must be known of a flow, or a machine, that another one calls?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestra.errors import DefinitionError
from orchestra.events.message import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A flow or machine, as its caller sees it."""

    name: str
    label: str
    """The class, for messages to people."""
    starts: Mapping[str, type[Event]]
    says: tuple[type[Event], ...]
    """The events that it may end with; none where it answers ``Done``."""
    saga: bool
    insists: bool
    """It has a point of no return: once done, it is never undone."""


def called_by(place: str, flow: object) -> Called:
    """Raises DefinitionError for what is neither."""
    called = getattr(getattr(flow, "_definition", None), "called", None)
    if isinstance(called, Called):
        return called
    raise DefinitionError(f"{place}: it calls {flow!r}, which is no Flow, Saga or StateMachine")
