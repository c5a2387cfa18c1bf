"""How far is an event from what began it all? A count in the envelope, by which storms are stopped.

``hopcount`` is how many events led to this one, each the cause of the next. What comes from outside has none. What a
handler emits, or a flow sends, has one more than its cause; an answer has as many as the command that it answers, for
question and answer are one hop. When two services set each other off for ever, the count reaches the limit.
"""

from __future__ import annotations

from orchestra.errors import HopLimitError
from orchestra.events.envelope import Envelope

HOPS = "hopcount"


def hops_of(event: Envelope) -> int:
    """0 where there is no count, or one that is no number: somebody else may use the name for something else."""
    return hops_in(event.get(HOPS))


def hops_in(text: str | None) -> int:
    """Likewise, of the extension's text."""
    return int(text) if text is not None and len(text) < 10 and text.isascii() and text.isdigit() else 0


def next_hop(cause: Envelope, limit: int) -> int:
    """The count of what follows from an event.

    Raises:
        HopLimitError: it would be beyond the limit.
    """
    hops = hops_of(cause) + 1
    if hops > limit:
        raise HopLimitError(
            f"{cause.type} is {hops - 1} events away from what began it, and the limit is {limit}: do two handlers set "
            "each other off for ever? `orchestra graph` shows such circles. A chain that is meant to be so long needs "
            "a higher ORCHESTRA_HOP_LIMIT"
        )
    return hops
