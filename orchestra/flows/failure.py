"""Why did a flow not complete?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestra.events.message import Message


class Cause(StrEnum):
    """What kind of failure it was."""

    REJECTED = "rejected"
    """The service proved that the step was not done, and said why."""
    REFUSED = "refused"
    """The runtime proved that the step was not done: its command had expired, or was barred."""
    UNKNOWN = "unknown"
    """Nobody knows whether the step was done: no answer within the tries allowed, or its command is a dead letter."""
    CANCELLED = "cancelled"
    """Somebody asked to cancel."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a flow was undone: what a method under ``@on_compensated`` gets.

    Attributes:
        step: the step that failed first; None when somebody cancelled the flow.
        cause: what kind of failure it was.
        reason: one sentence for a person.
        rejection: the rejection as the service sent it, where the cause is one.
        dead_letter_id: where the step's command is a dead letter, which one.
    """

    step: str | None
    cause: Cause
    reason: str
    rejection: Message | None = None
    dead_letter_id: str | None = None
