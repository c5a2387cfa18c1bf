"""Which queued commands need not be done any more?

A flow that fails sends a cancel behind each command under way: same topic, same key, so it is queued behind the
command that it is for. If that one has not been begun, and its handler has a ledger, it is shut there and refused.
Otherwise the cancel changes nothing: the command is done, and answered.
"""

from __future__ import annotations

from orchestra.events.envelope import Envelope
from orchestra.events.message import StepCancel, spec_of
from orchestra.service.share import Share
from orchestra.transport.port import Record

CANCEL = spec_of(StepCancel).type
_TYPE = CANCEL.encode()


def mark(share: Share, record: Record) -> None:
    """A record was queued behind others of its key: if it cancels one of them, that is known before that one's turn."""
    if record.header("ce_type") == _TYPE and (effect := record.header("ce_effectid")) is not None:
        share.cancelled.add(effect)


def is_marked(share: Share, command: Envelope) -> bool:
    """Whether a cancel for this command is queued behind it."""
    effect = command.get("effectid")
    return effect is not None and effect.encode() in share.cancelled


def unmark(share: Share, cancel: Envelope) -> None:
    """The cancel's own turn has come: the command is done with."""
    if (effect := cancel.get("effectid")) is not None:
        share.cancelled.discard(effect.encode())
