"""How is a whole event one JSON object? The CloudEvents JSON format, which structured mode carries."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from json import JSONDecoder
from typing import Any

from pydantic_core import SchemaValidator, core_schema, from_json, to_json

from orchestra.errors import DecodeError
from orchestra.events.attributes import (
    CORE,
    JSON,
    USUAL,
    Value,
    attribute_name,
    canonical,
    integer,
    is_clean,
    is_json,
    string,
)
from orchestra.events.envelope import Envelope
from orchestra.events.message import may_hold_nan

_USUAL = frozenset(USUAL)
_SPACES = b" \t\n\r"


def read(value: bytes) -> tuple[dict[str, Value], str | None, bytes | None]:
    """Attributes (core and extensions), content type, and data as bytes. Null attributes are not there.

    Raises:
        DecodeError: not such an object; names the attribute, or ``value`` where it is no JSON object at all.
    """
    members, data = _members(value)
    content_type, data = _data(members, data)
    if not _is_usual(members):
        members = {name: _attribute(name, item) for name, item in members.items() if item is not None}
    return members, content_type, data


def _is_usual(members: Mapping[str, Any]) -> bool:
    """Whether one look at all members shows that each is a text, and nothing can be wrong with any."""
    try:
        return members.keys() <= _USUAL and is_clean(" ".join(members.values()).encode())
    except TypeError:  # something else than a text
        return False


def write(envelope: Envelope) -> bytes:
    """The object. Its attributes must have been checked. Data that is JSON stands in it byte for byte."""
    members: dict[str, object] = {
        "specversion": "1.0",
        "id": envelope.id,
        "source": envelope.source,
        "type": envelope.type,
        "subject": envelope.subject,
        "time": envelope.time_text,
        "dataschema": envelope.dataschema,
        "datacontenttype": envelope.datacontenttype,
    }
    members = {name: member for name, member in members.items() if member is not None}
    for name, value in envelope.extensions.items():
        members[name] = value if isinstance(value, bool | int) else canonical(value)
    data = envelope.data
    if data is None:
        return to_json(members)
    # Without a content type, a member "data" would say that it is JSON; base64 says nothing.
    if envelope.datacontenttype is not None and is_json(envelope.datacontenttype) and _embeddable(data):
        return b'%b,"data":%b}' % (to_json(members)[:-1], data)
    members["data_base64"] = b64encode(data).decode()
    return to_json(members)


def _embeddable(data: bytes) -> bool:
    """Whether the bytes are one JSON value that the reader of the whole finds again unchanged."""
    if data.strip(_SPACES) != data:
        return False
    try:
        _check(data)
    except ValueError:
        return False
    return True


_read_object = SchemaValidator(core_schema.typed_dict_schema({}, extra_behavior="ignore")).validate_json


def _check(data: bytes) -> None:
    """Raise ValueError unless this is one JSON value. An object is parsed and nothing of it kept: half the cost."""
    if data[:1] == b"{" and not may_hold_nan(data):
        _read_object(data)
    else:
        from_json(data, allow_inf_nan=False)


def _members(value: bytes) -> tuple[dict[str, Any], bytes | None]:
    """The members of the object, and the text of ``data`` as it stands: digits and spaces are kept.

    Most writers put data last. So the object is first taken apart at ``"data":``, and both parts are parsed: if both
    are valid, so was the whole, and there is no other way to read it. Otherwise the whole is walked, at thrice the
    cost.
    """
    head, found, tail = value.partition(b'"data":')
    tail = tail.rstrip(_SPACES)
    if found and tail.endswith(b"}"):
        data = tail[:-1].strip(_SPACES)
        try:
            members: Any = from_json(head + b'"data":0}', allow_inf_nan=False)
            _check(data)
        except ValueError:
            pass
        else:
            return members, data
    try:
        members = from_json(value, allow_inf_nan=False)
        if not isinstance(members, dict):
            raise DecodeError("value", "is JSON, but not an object")
        return members, _walk(value.decode(), "data").encode() if "data" in members else None
    except (ValueError, RecursionError) as error:
        raise DecodeError("value", f"is not JSON: {str(error)[:200]}") from None


# Numbers stay text here: only the end of a value is wanted.
_scan = JSONDecoder(parse_int=str, parse_float=str).raw_decode
_SPACE = re.compile(r"[ \t\n\r]*")


def _walk(text: str, wanted: str) -> str:
    """The text of the last member of that name, in an object that is known to be valid."""
    found, at = "", _skip(text, text.index("{") + 1)
    while text[at] != "}":
        name, at = _scan(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, end = _scan(text, start)
        if name == wanted:
            found = text[start:end]
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()


def _data(members: dict[str, Any], data: bytes | None) -> tuple[str | None, bytes | None]:
    """Takes the members that are about data out of the rest."""
    take = members.pop
    content_type, encoded, _ = take("datacontenttype", None), take("data_base64", None), take("data", None)
    if content_type == JSON and data is not None and encoded is None:
        return JSON, data
    if content_type is not None:
        string("datacontenttype", content_type)
    if data is None:
        return content_type, None if encoded is None else _base64(encoded)
    if encoded is not None:
        raise DecodeError("data_base64", "is there beside data: only one may be")
    if is_json(content_type):
        return content_type or JSON, data
    text = from_json(data)
    if not isinstance(text, str):
        raise DecodeError("data", f"is not a string, as {str(content_type)[:64]!r} needs")
    return content_type, text.encode()


def _base64(text: object) -> bytes:
    try:
        if isinstance(text, str):
            return b64decode(text, validate=True)
    except ValueError:
        pass
    raise DecodeError("data_base64", "is not base64")


def _attribute(name: str, value: Any) -> Value:
    attribute_name(name)
    if isinstance(value, str):
        return string(name, value)
    if name in CORE:
        raise DecodeError(name, "is not a string")
    if not isinstance(value, int):
        raise DecodeError(name, "is neither string, integer nor boolean")
    return integer(name, value)
