"""How is a run told? What happened, when, to whom, and what went wrong: a line each, for a person to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

from pydantic_core import from_json

from orchestra.coordinator.journal import ADVANCED, ALERTED
from orchestra.coordinator.record import CLAIM, POSITION, RESERVED
from orchestra.testing.simulation_process import EPOCH
from orchestra.testing.simulation_watch import Event

_WIDTH: Final = 15


def digest_of(history: Sequence[Event]) -> str:
    """Equal for runs in which the same happened, byte for byte and in the same order."""
    digest = sha256()
    for event in history:
        digest.update(f"{event.at:.6f} {event.now.isoformat()} {event.who} {event.what}\n".encode())
        if event.record is not None:
            record = event.record
            # A claim names the machine and the process that made it.
            is_claim = (record.key or b"").startswith(CLAIM.encode())
            value = None if is_claim else record.value
            digest.update(repr((event.partition, event.offset, record.key, value, tuple(record.headers))).encode())
    return digest.hexdigest()


def tell(history: Sequence[Event]) -> str:
    """The history as text."""
    return "\n".join(line for event in history for line in _lines(event))


def _lines(event: Event) -> Iterator[str]:
    days = (event.now - EPOCH).days
    start = f"{f'day {days} ' if days else ''}{event.now:%H:%M:%S}.{event.now.microsecond // 1000:03d}"
    if event.record is None:
        yield f"{start}  {event.who:<{_WIDTH}} {event.what}"
        return
    for who, what in _told(event):
        yield f"{start}  {who:<{_WIDTH}} {what}"


def _told(event: Event) -> Iterator[tuple[str, str]]:
    assert event.record is not None
    assert event.partition is not None
    key = (event.record.key or b"").decode(errors="replace")
    headers = {name: (value or b"").decode(errors="replace") for name, value in event.record.headers}
    if "orchestra-claim" in headers or key.startswith(RESERVED):
        if key.startswith(CLAIM):
            yield event.partition.topic, f"shard {event.partition.number} is claimed"
        elif not key.startswith(RESERVED) and key != POSITION:
            status = headers.get("orchestra-status", "") if event.record.value is not None else "forgotten"
            yield event.partition.topic, f"{key} is {status}"
        return
    kind = headers.get("ce_type", "")
    if kind == ADVANCED.decode():
        yield from _journal(event.record.value or b"{}")
    elif kind == ALERTED.decode():
        raw = from_json(event.record.value or b"{}")
        yield "alert", f"{raw.get('instance', '')}: {raw['code']}: {_last_line(raw['note'])}"
    elif "orchestra-input" in headers:
        yield (
            event.partition.topic,
            f"{headers['orchestra-input']} for {headers.get('orchestra-instance', key)}: {kind}",
        )
    else:
        yield _sender(headers), f"{kind} {_about(headers, key)} -> {event.partition.topic}"


def _journal(value: bytes) -> Iterator[tuple[str, str]]:
    raw = from_json(value)
    for line in raw["lines"]:
        step = f" {line['step']}" if line.get("step") else ""
        note = f": {_last_line(line['note'])}" if line.get("note") else ""
        yield "journal", f"{raw['instance']}: {line['what']}{step}{note}"


def _last_line(note: str) -> str:
    """Of a traceback, what it ends with."""
    return next(reversed(note.strip().splitlines()), "")


def _sender(headers: dict[str, str]) -> str:
    return headers.get("ce_source", "").rpartition("/")[2] or "somebody"


def _about(headers: dict[str, str], key: str) -> str:
    if effect := headers.get("ce_effectid"):
        return f"for {effect}"
    return f"of {key}"
