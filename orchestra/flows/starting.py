"""What is known of a start event before there is an instance? Its typed data, the business key, and its content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from orchestra.errors import DecodeError
from orchestra.events.envelope import Envelope
from orchestra.events.message import Event, encode_data, record_key


class Starting:
    """The events that start a flow or a machine. Each has a key: that was checked when it was compiled.

    Args:
        name: of the flow or machine.
        starts: CloudEvents type -> class.
    """

    def __init__(self, name: str, starts: Mapping[str, type[Event]]) -> None:
        self._name = name
        self._starts = starts

    def value(self, event: Envelope) -> Event:
        """Raises DecodeError for data that is not valid, and for an event of another type."""
        cls = self._starts.get(event.type)
        if cls is None:
            known = ", ".join(self._starts)
            raise DecodeError("type", f"{event.type!r} does not start {self._name}, which starts on {known}")
        return event.value(cls)

    def key(self, event: Envelope) -> str:
        """The business key. Raises DecodeError."""
        key = record_key(self.value(event))
        assert key is not None
        return key.decode()

    def digest(self, event: Envelope) -> str:
        """Of the validated, canonical data: equal for the same content. Raises DecodeError."""
        content = event.type.encode() + b"\0" + encode_data(self.value(event))
        return hashlib.sha256(content).hexdigest()[:32]
