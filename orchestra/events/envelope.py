"""What is an event, apart from its bytes on the wire?

The envelope holds the attributes and the raw data. Data is decoded when somebody asks for it, once: routing, filters,
dead letters and replay never do.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from orchestra.errors import DecodeError, EncodeError
from orchestra.events.message import Message, decode_data, encode_data, spec_of

Value = str | int | bool | bytes | datetime
"""The value of an extension attribute. In binary mode every extension but the known typed ones comes back as text."""

M = TypeVar("M", bound=Message)

JSON = "application/json"
INTEGERS = frozenset({"replypartition"})
TIMESTAMPS = frozenset({"expirytime"})


class Envelope:
    """A CloudEvent: attributes, extensions and raw data. Treat it as immutable: ``evolve`` makes a changed copy.

    ``time_text`` is the time as it came, digit for digit; ``data`` is None where the event has no data, which is not
    the same as ``b""`` or JSON null. Two envelopes are equal when their attributes (in canonical text form) and data are.
    """

    __slots__ = (
        "_time",
        "_value",
        "data",
        "datacontenttype",
        "dataschema",
        "extensions",
        "id",
        "source",
        "subject",
        "time_text",
        "type",
    )

    def __init__(  # noqa: PLR0913  the attributes of CloudEvents
        self,
        id: str,  # noqa: A002  the CloudEvents names
        source: str,
        type: str,  # noqa: A002
        subject: str | None = None,
        time_text: str | None = None,
        datacontenttype: str | None = None,
        dataschema: str | None = None,
        extensions: Mapping[str, Value] | None = None,
        data: bytes | None = None,
    ) -> None:
        self.id = id
        self.source = source
        self.type = type
        self.subject = subject
        self.time_text = time_text
        self.datacontenttype = datacontenttype
        self.dataschema = dataschema
        self.extensions: Mapping[str, Value] = {} if extensions is None else extensions
        self.data = data
        self._time: datetime | None = None
        self._value: Message | None = None

    @property
    def time(self) -> datetime | None:
        """When it happened, with its offset, to the microsecond. Raises DecodeError for a text that is no time."""
        if self._time is None and self.time_text is not None:
            self._time = parse_time("time", self.time_text)
        return self._time

    def get(self, name: str) -> str | None:
        """An extension in its canonical text form, or None."""
        value = self.extensions.get(name)
        return value if value is None or isinstance(value, str) else canonical(value)

    def moment(self, name: str) -> datetime | None:
        """An extension of type Timestamp, such as ``expirytime``. Raises DecodeError for a text that is no time."""
        value = self.extensions.get(name)
        if value is None or isinstance(value, datetime):
            return value
        return parse_time(name, canonical(value))

    def value(self, cls: type[M]) -> M:
        """The typed data: decoded on the first call, remembered after that.

        Raises:
            DecodeError: the data is not JSON, or not of this class.
        """
        if type(known := self._value) is cls:
            return known
        if not is_json(self.datacontenttype):
            raise DecodeError("datacontenttype", f"{self.datacontenttype!r} is not JSON, as {cls.__qualname__} needs")
        self._value = made = decode_data(cls, self.data)
        return made

    def evolve(self, *, extensions: Mapping[str, Value | None] | None = None, **attributes: Any) -> Envelope:
        """A copy with other attributes. ``extensions`` are added to the present ones; None removes one."""
        merged = dict(self.extensions)
        for name, value in (extensions or {}).items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = plain(value)
        kept = {name: getattr(self, name) for name in _ATTRIBUTES}
        copy = Envelope(**(kept | attributes), extensions=merged)
        if copy.data is self.data:
            copy._value = self._value
        return copy

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Envelope):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((self.source, self.id))

    def __repr__(self) -> str:
        return f"Envelope(type={self.type!r}, id={self.id!r}, source={self.source!r})"

    def _identity(self) -> tuple[object, ...]:
        extensions = {name: canonical(value) for name, value in self.extensions.items()}
        return (*(getattr(self, name) for name in _ATTRIBUTES), extensions)


_ATTRIBUTES = ("id", "source", "type", "subject", "time_text", "datacontenttype", "dataschema", "data")


def compose(
    message: Message,
    *,
    id: str,  # noqa: A002
    source: str,
    time: datetime,
    extensions: Mapping[str, Value] | None = None,
    subject: str | None = None,
) -> Envelope:
    """The event that carries this message.

    Raises:
        EncodeError: the message has no JSON form, or a time has no offset.
        DefinitionError: the message's class is abstract.
    """
    kept = {name: plain(value) for name, value in extensions.items()} if extensions else {}
    envelope = Envelope(
        id, source, spec_of(type(message)).type, subject, format_time(time), JSON, None, kept, encode_data(message)
    )
    envelope._value = message
    return envelope


# ---- values


def plain(value: Value) -> Value:
    """A value as an envelope keeps it: a timestamp as its text, so that nothing is lost when it is sent on."""
    return format_time(value) if isinstance(value, datetime) else value


def canonical(value: Value) -> str:
    """The canonical text form (CloudEvents section 2.4)."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        return format_time(value)
    return b64encode(value).decode()


def format_time(time: datetime) -> str:
    """RFC 3339, in UTC. Raises EncodeError for a time without offset."""
    offset = time.utcoffset()
    if offset is None:
        raise EncodeError(f"time: {time!r} has no offset: use an aware datetime")
    text = (time if not offset else time.astimezone(UTC)).isoformat()
    return f"{text[:-6]}Z"


# fromisoformat takes more than RFC 3339 (week dates, "18:31Z", "+01") and less ("z"): the pattern decides, it reads.
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:([0-9]{2})(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def parse_time(attribute: str, text: str) -> datetime:
    """The time that an RFC 3339 text names; digits beyond microseconds are cut. Raises DecodeError."""
    match = _RFC3339.fullmatch(text)
    if match is not None:
        try:
            if match[1] != "60":
                return datetime.fromisoformat(text.upper())
            # A leap second is valid RFC 3339; Python's clock has none.
            return datetime.fromisoformat(f"{text[:17]}59{text[19:]}".upper()) + timedelta(seconds=1)
        except (ValueError, OverflowError):
            pass
    raise DecodeError(attribute, f"{text[:64]!r} is not an RFC 3339 time")


def is_json(content_type: str | None) -> bool:
    """Whether data of this content type is JSON: ``*/json``, ``*/*+json``, or nothing said."""
    if content_type is None or content_type == JSON:
        return True
    media = content_type.partition(";")[0].strip().lower()
    return media.endswith(("/json", "+json"))
