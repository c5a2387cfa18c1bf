"""How does a record that belongs to nobody become a dead letter? Pure; the headers are those of every dead letter."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

from orchestra.coordinator.names import Names
from orchestra.errors import OrchestraError
from orchestra.transport.port import Outgoing, Record


def dead_letter(names: Names, record: Record, *, reason: str, error: OrchestraError, now: datetime) -> Outgoing:
    """The record byte for byte, with the reason in headers."""
    place = f"{record.topic}/{record.partition}/{record.offset}"
    fingerprint = sha256(f"{reason}/{error.code}/{type(error).__name__}".encode()).hexdigest()[:16]
    added = {
        "id": f"{names.group}/{place}",
        "reason": reason,
        "error-class": type(error).__name__,
        "error-message": str(error)[:1024],
        "fingerprint": fingerprint,
        "group": names.group,
        "handler": "coordinator",
        "source-topic": record.topic,
        "source-partition": str(record.partition),
        "source-offset": str(record.offset),
        "source-timestamp": str(record.timestamp_ms),
        "attempts": "1",
        "first-failure": now.isoformat(),
        "last-failure": now.isoformat(),
        "redrive-count": "0",
    }
    headers = [*record.headers, *((f"orchestra-dlq-{name}", text.encode()) for name, text in added.items())]
    return Outgoing(names.dead_letters, record.key, record.value, headers, timestamp_ms=record.timestamp_ms)
