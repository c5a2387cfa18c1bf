"""How does a CloudEvent travel in a Kafka record? CloudEvents 1.0.2, Kafka binding, binary and structured mode."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from json import JSONDecoder
from typing import Any, Literal

from pydantic_core import from_json, to_json

from orchestra.errors import DecodeError, EncodeError
from orchestra.events.envelope import INTEGERS, JSON, TIMESTAMPS, Envelope, Value, canonical, is_json, parse_time

Headers = Sequence[tuple[str, bytes | None]]
Mode = Literal["binary", "structured"]

_STRUCTURED = "application/cloudevents"
_STRUCTURED_JSON = "application/cloudevents+json"
_NAME = re.compile(r"[a-z0-9]+")
_NOT_IN_STRINGS = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17))
    + "]"
)
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,9}")


def decode(headers: Headers, value: bytes | None) -> Envelope:
    """The event in a record.

    Raises:
        DecodeError: and nothing else, whatever the bytes are; names the attribute that is wrong.
    """
    raw: dict[str, bytes | None] = {}
    content_type: bytes | None = None
    for name, header in headers:
        if name.startswith("ce_"):
            raw[name] = header
        elif name == "content-type":
            content_type = header
    media = None if content_type is None else _text("content-type", content_type)
    if media is not None and media.lstrip().lower().startswith(_STRUCTURED):
        return _decode_structured(media, value)
    return _decode_binary(raw, media, value)


def peek_type(headers: Headers, value: bytes | None) -> str | None:
    """The event's type, for routing; None where it cannot be told. Never raises."""
    try:
        return decode(headers, value).type
    except DecodeError:
        return None


def encode(envelope: Envelope, mode: Mode = "binary") -> tuple[list[tuple[str, bytes]], bytes | None]:
    """Headers and value of the record that carries this event. An event without data has a null value in binary mode.

    Raises:
        EncodeError: an attribute cannot be put on the wire; names it.
    """
    attributes = _attributes(envelope)
    if mode == "structured":
        return [("content-type", _STRUCTURED_JSON.encode())], _structured_value(envelope, attributes)
    headers = [(f"ce_{name}", canonical(value).encode()) for name, value in attributes.items()]
    if envelope.datacontenttype is not None:
        _check_text("datacontenttype", envelope.datacontenttype)
        if envelope.datacontenttype.lstrip().lower().startswith(_STRUCTURED):
            raise EncodeError(f"datacontenttype: {envelope.datacontenttype!r} would announce a structured record")
        headers.append(("content-type", envelope.datacontenttype.encode()))
    return headers, envelope.data


# ---- binary


def _decode_binary(raw: dict[str, bytes | None], media: str | None, value: bytes | None) -> Envelope:
    attributes: dict[str, Any] = {}
    for name, header in raw.items():
        if header is not None:
            attributes[name[3:]] = _text(name[3:], header)
    declared = attributes.pop("datacontenttype", None)
    if media is None:
        media = declared
    if media is not None and media.lstrip().lower().startswith(_STRUCTURED):
        raise DecodeError("datacontenttype", f"{media[:64]!r} belongs in content-type: that header says the mode")
    return _envelope(attributes, media, value)


def _text(attribute: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise DecodeError(attribute, "is not UTF-8") from None


# ---- structured


def _decode_structured(media: str, value: bytes | None) -> Envelope:
    form = media.partition(";")[0].strip().lower()
    if form.startswith("application/cloudevents-batch"):
        raise DecodeError("content-type", f"{media[:64]!r}: batches do not exist on Kafka; send one event per record")
    if form != _STRUCTURED_JSON:
        raise DecodeError("content-type", f"{media[:64]!r}: only {_STRUCTURED_JSON} is read")
    if value is None:
        raise DecodeError("value", "is null, where a structured event was announced")
    try:
        event: Any = from_json(value, allow_inf_nan=False)
    except ValueError as error:
        raise DecodeError("value", f"is not JSON: {error}") from None
    if not isinstance(event, dict):
        raise DecodeError("value", "is JSON, but not an object")
    content_type, data = _structured_data(event, value)
    return _envelope({name: item for name, item in event.items() if item is not None}, content_type, data)


def _structured_data(event: dict[str, Any], value: bytes) -> tuple[str | None, bytes | None]:
    content_type = event.pop("datacontenttype", None)
    if content_type is not None and not isinstance(content_type, str):
        raise DecodeError("datacontenttype", "is not a string")
    encoded = event.pop("data_base64", None)
    if "data" not in event:
        return content_type, None if encoded is None else _base64(encoded)
    data = event.pop("data")
    if encoded is not None:
        raise DecodeError("data_base64", "is there beside data: only one may be")
    if is_json(content_type):
        return content_type or JSON, _member(value.decode(), "data").encode()
    if not isinstance(data, str):
        raise DecodeError("data", f"is neither a string nor data_base64, where {str(content_type)[:64]!r} is announced")
    return content_type, data.encode()


def _base64(text: object) -> bytes:
    try:
        if isinstance(text, str):
            return b64decode(text, validate=True)
    except ValueError:
        pass
    raise DecodeError("data_base64", "is not base64")


# Numbers stay text: only the end of a value is wanted, and int() of a long text is slow.
_scan = JSONDecoder(parse_int=str, parse_float=str).raw_decode
_SPACE = re.compile(r"[ \t\n\r]*")


def _member(text: str, wanted: str) -> str:
    """The text of one member of a JSON object that is known to be valid: floats keep their digits."""
    found = ""
    at = _SPACE.match(text, text.index("{") + 1).end()  # type: ignore[union-attr]
    while text[at] != "}":
        name, at = _scan(text, at)
        at = _SPACE.match(text, _SPACE.match(text, at).end() + 1).end()  # type: ignore[union-attr]
        _, end = _scan(text, at)
        if name == wanted:
            found = text[at:end]
        at = _SPACE.match(text, end).end()  # type: ignore[union-attr]
        if text[at] == ",":
            at = _SPACE.match(text, at + 1).end()  # type: ignore[union-attr]
    return found


def _structured_value(envelope: Envelope, attributes: dict[str, Value]) -> bytes:
    members: dict[str, object] = {
        name: value if isinstance(value, bool | int) else canonical(value) for name, value in attributes.items()
    }
    if envelope.datacontenttype is not None:
        _check_text("datacontenttype", envelope.datacontenttype)
        members["datacontenttype"] = envelope.datacontenttype
    data = envelope.data
    if data is None:
        return to_json(members)
    if envelope.datacontenttype is not None and is_json(envelope.datacontenttype) and _embeddable(data):
        return b'%b,"data":%b}' % (to_json(members)[:-1], data)
    members["data_base64"] = b64encode(data).decode()
    return to_json(members)


def _embeddable(data: bytes) -> bool:
    """Whether the bytes are one JSON value that a reader of the whole will find unchanged."""
    if data.strip(b" \t\n\r") != data:
        return False
    try:
        from_json(b"[%b]" % data, allow_inf_nan=False)
    except ValueError:
        return False
    return True


# ---- attributes


def _envelope(attributes: dict[str, Any], content_type: str | None, data: bytes | None) -> Envelope:
    version = attributes.pop("specversion", None)
    if version != "1.0":
        reason = "is missing: no CloudEvent" if version is None else f"is {str(version)[:64]!r}, only '1.0' is read"
        raise DecodeError("specversion", reason)
    for required in ("id", "source", "type"):
        if required not in attributes:
            raise DecodeError(required, "is missing")
    if content_type is not None:
        _check_string("datacontenttype", content_type)
    take = attributes.pop
    for name in ("id", "source", "type", "subject", "time", "dataschema"):
        if name in attributes:
            _check_string(name, attributes[name])
    time_text = take("time", None)
    time = None if time_text is None else parse_time("time", time_text)
    envelope = Envelope(
        take("id"), take("source"), take("type"), take("subject", None), time_text, content_type,
        take("dataschema", None), attributes, data,
    )  # fmt: skip
    envelope._time = time
    for name, value in attributes.items():
        attributes[name] = _extension(name, value)
    return envelope


def _check_string(attribute: str, value: Any) -> None:
    if not isinstance(value, str):
        raise DecodeError(attribute, "is not a string")
    if not value:
        raise DecodeError(attribute, "is empty")
    if not value.isprintable() and _NOT_IN_STRINGS.search(value):
        raise DecodeError(attribute, "holds a control character, or another that is not allowed")


def _extension(name: str, value: Any) -> Value:
    if not _NAME.fullmatch(name) or name == "data":
        raise DecodeError(name, "is not a name of an attribute: a-z and 0-9 only")
    if name in INTEGERS and isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            raise DecodeError(name, f"{value[:64]!r} is not an Integer")
        value = int(value)
    if isinstance(value, str):
        if not value.isprintable() and _NOT_IN_STRINGS.search(value):
            raise DecodeError(name, "holds a control character, or another that is not allowed")
        if name in TIMESTAMPS:
            parse_time(name, value)
        return value
    if not isinstance(value, int):
        raise DecodeError(name, "is neither string, integer nor boolean")
    if not -(1 << 31) <= value < 1 << 31:
        raise DecodeError(name, "is outside the 32 bits of an Integer")
    return value


def _attributes(envelope: Envelope) -> dict[str, Value]:
    attributes: dict[str, Value] = {"specversion": "1.0"}
    for name in ("id", "source", "type"):
        attributes[name] = getattr(envelope, name)
    for name, value in (
        ("subject", envelope.subject),
        ("time", envelope.time_text),
        ("dataschema", envelope.dataschema),
    ):
        if value is not None:
            attributes[name] = value
    for name, text in attributes.items():
        if not text:
            raise EncodeError(f"{name}: is empty")
    for name, item in envelope.extensions.items():
        if name in attributes or name in ("data", "datacontenttype") or not _NAME.fullmatch(name):
            raise EncodeError(f"{name}: is not a name of an extension: a-z and 0-9 only, no core attribute")
        attributes[name] = item
    for name, item in attributes.items():
        if isinstance(item, str):
            _check_text(name, item)
        elif isinstance(item, int) and not -(1 << 31) <= item < 1 << 31:
            raise EncodeError(f"{name}: {item} is outside the 32 bits of an Integer: send it as text")
    return attributes


def _check_text(name: str, text: str) -> None:
    if not text.isprintable() and _NOT_IN_STRINGS.search(text):
        raise EncodeError(f"{name}: holds a control character, or another that is not allowed")
