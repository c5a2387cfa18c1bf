"""What does a record become when nobody could handle it? Pure.

A dead letter is the record, byte for byte (key, value, timestamp, headers), with ``orchestra-dlq-*`` headers behind.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from orchestra.service.retry_topic import plain, source_of
from orchestra.transport.port import Headers, Outgoing, Record

PREFIX = "orchestra-dlq-"
_KEPT = ("source-topic", "source-partition", "source-offset", "source-timestamp", "first-failure")
_FRAMES = 5


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a record became a dead letter.

    Attributes:
        reason: upper case and stable: DECODE, CONTRACT, PERMANENT, TRANSIENT, TIMEOUT, UNKNOWN_TYPE, UNDELIVERABLE, ...
        handler: its name, "" where none was chosen.
        attempts: tries, the last included; 0 where none was begun.
    """

    reason: str
    error_class: str
    message: str
    stack: str
    fingerprint: str
    handler: str
    attempts: int
    first: datetime
    last: datetime


def failure_of(
    error: BaseException, reason: str, *, handler: str, attempts: int, first: datetime, last: datetime
) -> Failure:
    """The failure that an exception means."""
    kind = type(error)
    name = f"{kind.__module__}.{kind.__qualname__}"
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    # No line numbers: the same failure has the same fingerprint in the next release.
    places = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.name}" for frame in frames]
    fingerprint = sha256("|".join((name, *places)).encode("utf-8", "replace")).hexdigest()[:16]
    stack = "".join(traceback.format_exception(error))
    return Failure(reason, name, str(error), stack, fingerprint, handler, attempts, first, last)


def dead_letter_id(record: Record, group: str) -> str:
    """``<group>/<topic>/<partition>/<offset>``; of a record from a retry topic, where it was read first: so it is the
    same for a second copy there."""
    source = source_of(record)
    return f"{group}/{source.topic}/{source.partition}/{source.offset}"


def dead_letter(record: Record, failure: Failure, *, topic: str, group: str, version: str = "") -> Outgoing:
    """The record to put on the dead-letter topic.

    A record that was a dead letter before keeps its first source and first failure, and loses its other old headers;
    one from a retry topic keeps its source, and loses what it was given there.
    """
    source = source_of(record)
    before = {name.removeprefix(PREFIX): value for name, value in record.headers if name.startswith(PREFIX)}
    told = {
        "id": dead_letter_id(record, group),
        "reason": failure.reason,
        "error-class": failure.error_class,
        "error-message": _head(failure.message, 1024),
        "error-stack": _tail(failure.stack, 4096),
        "fingerprint": failure.fingerprint,
        "group": group,
        "handler": failure.handler,
        "service-version": version,
        "source-topic": source.topic,
        "source-partition": source.partition,
        "source-offset": source.offset,
        "source-timestamp": source.timestamp_ms,
        "attempts": failure.attempts,
        "first-failure": failure.first.isoformat(),
        "last-failure": failure.last.isoformat(),
        "redrive-count": _redrives(record),
    }
    added = {name: value if isinstance(value, bytes) else str(value).encode() for name, value in told.items()}
    added |= {name: kept for name in _KEPT if (kept := before.get(name)) is not None}
    own = [(name, value) for name, value in plain(record.headers) if not name.startswith(PREFIX)]
    headers = [*own, *((PREFIX + name, value) for name, value in added.items())]
    return Outgoing(topic, record.key, record.value, headers, timestamp_ms=source.timestamp_ms)


def without_payload(letter: Outgoing) -> Outgoing:
    """The dead letter for a topic that does not take its value: a pointer to the source, which still holds it."""
    return _reduced(letter, [*letter.headers, (f"{PREFIX}payload", b"omitted")])


def bare(letter: Outgoing) -> Outgoing:
    """The dead letter for a topic that does not take its headers either: only the reasons are left."""
    reasons = [(name, value) for name, value in letter.headers if name.startswith(PREFIX)]
    return _reduced(letter, [*reasons, (f"{PREFIX}payload", b"omitted with its headers")])


def _reduced(letter: Outgoing, headers: Headers) -> Outgoing:
    return Outgoing(letter.topic, letter.key, None, headers, timestamp_ms=letter.timestamp_ms)


def _redrives(record: Record) -> int:
    text = record.header("orchestra-redrive-count")
    return int(text) if text is not None and text.isdigit() and len(text) < 10 else 0


def _head(text: str, limit: int) -> bytes:
    return _whole(text.encode("utf-8", "replace")[:limit])


def _tail(text: str, limit: int) -> bytes:
    """The end says what happened."""
    return _whole(text.encode("utf-8", "replace")[-limit:])


def _whole(cut: bytes) -> bytes:
    return cut.decode("utf-8", "ignore").encode()
