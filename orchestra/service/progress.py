"""How far has a record come that is not done after one pass? Which handlers are left, after how many tries."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from orchestra.events.envelope import Envelope
from orchestra.service.binding import Binding
from orchestra.service.circuit import Circuit
from orchestra.service.retry_topic import Detoured


class Tries:
    """How it stands with one handler of one record."""

    __slots__ = (
        "attempt",
        "binding",
        "came",
        "due",
        "first_failure",
        "is_gated",
        "last_error",
        "not_before",
        "tickets",
        "waits",
        "why",
    )

    def __init__(self, binding: Binding) -> None:
        self.binding = binding
        self.attempt = 1
        """The try that is under way, or comes next."""
        self.came: Detoured | None = None
        """What its record says of itself, where it comes from a retry topic."""
        self.not_before = 0.0
        """When such a record is due, in seconds since 1970; 0 once it was."""
        self.waits = 0
        """Times that it waited for a dependency; no try was used up."""
        self.due = 0.0
        """When it goes on, in the loop's time."""
        self.why = ""
        """What it waits for."""
        self.is_gated = False
        """It may go on whenever what is down lets it, and asks at ``due`` at the latest."""
        self.tickets: dict[Circuit, int] = {}
        """Of the circuits that let the try under way through, where they are not closed."""
        self.first_failure: datetime | None = None
        self.last_error: Exception | None = None


class Progress:
    """A record that waits. Its lane keeps this; see :class:`orchestra.service.share.Waiting`."""

    __slots__ = ("event", "left", "until", "why")

    def __init__(self, event: Envelope, bindings: Iterable[Binding]) -> None:
        self.event = event
        self.left = [Tries(binding) for binding in bindings]
        """Handlers that are not done with it, in order."""
        self.until = 0.0
        self.why = ""

    def settle(self) -> bool:
        """Whether something is left; then ``until`` says when to go on with the first of it."""
        if not self.left:
            return False
        first = min(self.left, key=lambda tries: tries.due)
        self.until, self.why = first.due, first.why
        return True


class PutBack:
    """A record that waits and is then begun anew. See :class:`orchestra.service.share.Waiting`."""

    __slots__ = ("until", "why")

    def __init__(self, until: float, why: str) -> None:
        self.until = until
        self.why = why
