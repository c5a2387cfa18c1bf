"""How does a record look in a retry topic, and when is it due? Pure.

It is the record, byte for byte (key, value, headers), with plain ``orchestra-retry-*`` headers behind, which say for
which handler it waits, where it came from, and which try comes next. The broker sets the timestamp as it appends, so
"due" is that time and the topic's delay: no producer's clock has a say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from orchestra.errors import DecodeError
from orchestra.transport.port import Headers, Outgoing, Record

PREFIX = "orchestra-retry-"

CONFIG = {
    "cleanup.policy": "delete",
    "message.timestamp.type": "LogAppendTime",
    "retention.ms": str(14 * 24 * 3600 * 1000),
}
"""Of a retry topic. What waits there must outlive the longest stop of its service, not only its delay."""


def topic_of(service: str, tier: str) -> str:
    """The declared name of a service's retry topic."""
    return f"{service}.retry.{tier}"


class Source(NamedTuple):
    """Where a record was read first."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


def source_of(record: Record) -> Source:
    """Where a record was read first: also one that comes from a retry topic."""
    told = _told(record.headers)
    if "source-topic" in told:
        try:
            return _source(told)
        except (KeyError, ValueError):  # not written by us: then it came from here
            pass
    return Source(record.topic, record.partition, record.offset, record.timestamp_ms)


@dataclass(frozen=True, slots=True)
class Detoured:
    """What a record of a retry topic says of itself.

    Attributes:
        handler: the one that it waits for; no other is called.
        attempt: the try that comes next.
        hop: how often it was put on a retry topic; of two copies, the one with more hops is the newer.
        first_failure: None for one that only follows another of its key.
        not_before: not to be tried before that time, in seconds since 1970; 0 where nobody asked for that.
        error_class: of the last failure, or "".
    """

    handler: str
    attempt: int
    hop: int
    source: Source
    first_failure: datetime | None = None
    not_before: float = 0.0
    error_class: str = ""


def put(record: Record, about: Detoured, *, topic: str, tier: str) -> Outgoing:
    """The record to put on a retry topic. Same key, same partition number."""
    told: dict[str, object] = {
        "handler": about.handler,
        "attempt": about.attempt,
        "hop": about.hop,
        "tier": tier,
        "source-topic": about.source.topic,
        "source-partition": about.source.partition,
        "source-offset": about.source.offset,
        "source-timestamp": about.source.timestamp_ms,
    }
    if about.first_failure is not None:
        told["first-failure"] = about.first_failure.isoformat()
    if about.error_class:
        told["error-class"] = about.error_class
    if about.not_before:
        told["not-before"] = int(about.not_before * 1000)
    added = [(PREFIX + name, str(value).encode()) for name, value in told.items()]
    headers = [*plain(record.headers), *added]
    return Outgoing(topic, record.key, record.value, headers, partition=record.partition)


def read(record: Record) -> Detoured:
    """What a record of a retry topic says of itself.

    Raises:
        DecodeError: it was not put there by us.
    """
    told = _told(record.headers)
    if not told.get("handler"):
        raise DecodeError(f"{PREFIX}handler", "missing on a record of a retry topic")
    first = told.get("first-failure")
    try:
        return Detoured(
            handler=told["handler"],
            attempt=int(told["attempt"]),
            hop=int(told["hop"]),
            source=_source(told),
            first_failure=datetime.fromisoformat(first) if first else None,
            not_before=int(told.get("not-before", "0")) / 1000,
            error_class=told.get("error-class", ""),
        )
    except (KeyError, ValueError) as error:
        raise DecodeError(f"{PREFIX}*", f"headers of a retry topic that make no sense: {error}") from error


def due(record: Record, delay: float, about: Detoured) -> float:
    """When the record is to be tried, in seconds since 1970: never before its append time and the delay."""
    return max(record.timestamp_ms / 1000 + delay, about.not_before)


def plain(headers: Headers) -> list[tuple[str, bytes | None]]:
    """The headers without ours."""
    return [(name, value) for name, value in headers if not name.startswith(PREFIX)]


def _told(headers: Headers) -> dict[str, str]:
    return {
        name.removeprefix(PREFIX): (value or b"").decode("utf-8", "replace")
        for name, value in headers
        if name.startswith(PREFIX)
    }


def _source(told: Mapping[str, str]) -> Source:
    return Source(
        told["source-topic"],
        int(told["source-partition"]),
        int(told["source-offset"]),
        int(told["source-timestamp"]),
    )
