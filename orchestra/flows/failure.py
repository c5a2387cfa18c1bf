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
    TIMED_OUT = "timed-out"
    """Something did not come in time: an event, a decision, or the end of the flow itself."""
    DISAPPROVED = "disapproved"
    """A person said no."""
    FAILED = "failed"
    """A part of the flow that needs other parts did not get what it needs."""
    CANCELLED = "cancelled"
    """Somebody asked to cancel."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a flow was undone, or a branch of it failed: what a method under ``@on_compensated`` gets, and what
    ``settled`` yields in place of a value.

    Attributes:
        step: the step that failed first; None when somebody cancelled the flow, or its own time was up.
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
