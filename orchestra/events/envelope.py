"""What is an event, apart from its bytes on the wire?

The envelope holds the attributes and the raw data. Data is decoded when somebody asks for it, once: routing, filters,
dead letters and replay never do. An event that came in a record keeps its headers as they are, checked, until somebody
asks for more than its type: most handlers never do.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

from orchestra.errors import DecodeError
from orchestra.events.attributes import (
    CORE,
    JSON,
    TYPED,
    Value,
    canonical,
    format_time,
    is_json,
    parse_time,
    plain,
    typed,
)
from orchestra.events.message import Message, decode_data, encode_data, spec_of

M = TypeVar("M", bound=Message)


class Attributes(TypedDict, total=False):
    """What :meth:`Envelope.evolve` can change, extensions apart."""

    id: str
    source: str
    type: str
    subject: str | None
    time_text: str | None
    datacontenttype: str | None
    dataschema: str | None
    data: bytes | None


_ATTRIBUTES = tuple(Attributes.__annotations__)
_HEADER = {"time_text": "ce_time"} | {name: f"ce_{name}" for name in ("id", "source", "subject", "dataschema")}
_FILLED_LATER = frozenset({*_HEADER, "extensions", "_time"})
_CORE_HEADERS = frozenset(f"ce_{name}" for name in CORE)


class Envelope:
    """A CloudEvent: attributes, extensions and raw data. Treat it as immutable: ``evolve`` makes a changed copy.

    ``time_text`` is the time as it came, digit for digit; ``data`` is None where the event has no data, which is not
    the same as ``b""`` or JSON null. Two envelopes are equal when their attributes (as canonical text) and data are.
    """

    __slots__ = (
        "_headers",
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
        self._headers: Mapping[str, bytes] | None = None
        self._time: datetime | None = None
        self._value: Message | None = None

    @classmethod
    def of_checked(
        cls, type_: str, content_type: str | None, headers: Mapping[str, bytes], data: bytes | None
    ) -> Envelope:
        """The event of a record whose headers are known to be good: nothing is missing, nothing wrong.

        The codec calls it, for every record: so it goes no way through ``__init__``, and most slots stay empty.
        """
        envelope = cls.__new__(cls)
        envelope.type = type_
        envelope.datacontenttype = content_type
        envelope.data = data
        envelope._headers = headers
        envelope._value = None
        return envelope

    if not TYPE_CHECKING:  # or the type checkers would take misspelt attributes for good

        def __getattr__(self, name: str) -> Any:
            # Called for an empty slot only, which it fills.
            if name not in _FILLED_LATER:
                raise AttributeError(f"an Envelope has no attribute {name!r}")
            value = _read(self._headers, name)
            setattr(self, name, value)
            return value

    @property
    def time(self) -> datetime | None:
        """When it happened, with its offset, to the microsecond. Raises DecodeError for a text that is no time."""
        if self._time is None and self.time_text is not None:
            self._time = parse_time("time", self.time_text)
        return self._time

    def get(self, name: str) -> str | None:
        """An extension in its canonical text form, or None."""
        if (headers := self._headers) is not None and name not in CORE:
            raw = headers.get(f"ce_{name}")
            return None if raw is None else raw.decode()
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
        if self.datacontenttype is not JSON and not is_json(self.datacontenttype):
            raise DecodeError("datacontenttype", f"{self.datacontenttype!r} is not JSON, as {cls.__qualname__} needs")
        self._value = made = decode_data(cls, self.data)
        return made

    def evolve(
        self, *, extensions: Mapping[str, Value | None] | None = None, **attributes: Unpack[Attributes]
    ) -> Envelope:
        """A copy with other attributes. ``extensions`` are added to the present ones; None removes one.

        Raises:
            EncodeError: an extension of known type has a value of another.
        """
        merged = dict(self.extensions)
        for name, value in (extensions or {}).items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = plain(name, value)
        kept: dict[str, Any] = {name: getattr(self, name) for name in _ATTRIBUTES}
        kept.update(attributes)
        copy = Envelope(**kept, extensions=merged)
        if copy.data is self.data:
            copy._value = self._value
        if copy.time_text == self.time_text:
            copy._time = self._time
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


def _read(headers: Mapping[str, bytes], name: str) -> Any:
    """What stands in these headers, which are known to be good, for a slot of an envelope."""
    if (header := _HEADER.get(name)) is not None:
        return None if (raw := headers.get(header)) is None else raw.decode()
    if name == "_time":
        return None
    return {
        extension: typed(extension, raw.decode()) if extension in TYPED else raw.decode()
        for header, raw in headers.items()
        if header not in _CORE_HEADERS and header.startswith("ce_") and (extension := header[3:])
    }


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
    kept: dict[str, Value] = {}
    if extensions:
        kept = {
            name: value if type(value) is str and name not in TYPED else plain(name, value)
            for name, value in extensions.items()
        }
    envelope = enclose(message, id, source, format_time(time), kept, subject)
    envelope._time = time
    return envelope


def enclose(
    message: Message,
    id: str,  # noqa: A002
    source: str,
    time_text: str,
    extensions: Mapping[str, Value],
    subject: str | None = None,
) -> Envelope:
    """As :func:`compose`, for extensions and a time that are known to be good as they are: it looks at neither."""
    data = encode_data(message)
    envelope = Envelope(id, source, spec_of(type(message)).type, subject, time_text, JSON, None, extensions, data)
    envelope._value = message
    return envelope
