"""What may an attribute of a CloudEvent be called, and what may it hold?

CloudEvents 1.0.2, section "Type System". Readers raise DecodeError, writers EncodeError; both name the attribute.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from orchestra.errors import DecodeError, EncodeError

Value = str | int | bool | bytes | datetime
"""The value of an extension. In binary mode every extension comes back as text, except those of known type."""

CORE = ("specversion", "id", "source", "type", "subject", "time", "dataschema", "datacontenttype")
INTEGERS = frozenset({"replypartition"})
TIMESTAMPS = frozenset({"expirytime"})
TYPED = INTEGERS | TIMESTAMPS

JSON = "application/json"

_EXTENSIONS = (
    *("correlationid", "causationid", "traceparent", "tracestate", "expirytime", "effectid", "replyto"),
    *("replypartition", "flowid", "flowname", "flowversion", "flowstep", "flowphase", "partitionkey", "sequence"),
    "hopcount",
)
USUAL = (*CORE, *_EXTENSIONS)
"""Names that need no look at how they are written."""

V = TypeVar("V")

_NAME = re.compile(r"[a-z0-9]+")
_RESERVED = frozenset({*CORE, "data"})
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,9}")
_NONCHARACTERS = "".join(chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(17))
_FORBIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_NONCHARACTERS}]")


def string(name: str, text: Any) -> str:
    """The text, if it is one that CloudEvents allows. Raises DecodeError."""
    if not isinstance(text, str):
        raise DecodeError(name[:64], "is not a string")
    # isprintable is quick, and false for all that is forbidden and a little more: then the pattern decides.
    if not text.isprintable() and _FORBIDDEN.search(text):
        raise DecodeError(name[:64], "holds a control character, or another that CloudEvents forbids")
    return text


_CONTROLS = bytes(range(32)) + b"\x7f"


def is_clean(texts: bytes) -> bool:
    """Whether ``string`` would surely find nothing wrong in these texts (joined, as UTF-8). Quick."""
    if texts.isascii():
        return len(texts.translate(None, _CONTROLS)) == len(texts)
    try:
        return texts.decode().isprintable()
    except UnicodeDecodeError:
        return False


def integer(name: str, value: int) -> int:
    """The number, if it has 32 bits. Raises DecodeError."""
    if not -(1 << 31) <= value < 1 << 31:
        raise DecodeError(name[:64], "is outside the 32 bits of an Integer")
    return value


def typed(name: str, value: Any) -> Value:
    """The value of an extension of known type (``TYPED``). Raises DecodeError.

    A timestamp is checked, and stays the text that it is: digits and offset are sent on as they came.
    """
    if name in TIMESTAMPS:
        parse_time(name, string(name, value))
        return str(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return integer(name, int(value))
    if type(value) is not int:
        raise DecodeError(name, "is not an Integer")
    return integer(name, value)


def is_attribute_name(name: str) -> bool:
    """Whether an attribute may have this name."""
    return name != "data" and _NAME.fullmatch(name) is not None


def attribute_name(name: str) -> str:
    """The name, if it may be an attribute's. Raises DecodeError."""
    if not is_attribute_name(name):
        raise DecodeError(name[:64], "is not a name of an attribute: a-z and 0-9 only")
    return name


def extension_name(name: str) -> str:
    """The name, if it may be an extension's. Raises EncodeError."""
    if name in _RESERVED or not _NAME.fullmatch(name):
        raise EncodeError(f"{name[:64]}: is not a name of an extension: a-z and 0-9 only, and no core attribute")
    return name


def plain(name: str, value: Value) -> Value:
    """The value as an envelope keeps it: a timestamp as its text. Raises EncodeError for what could not be sent."""
    if isinstance(value, datetime):
        return format_time(value)
    return sendable(typed, name, value) if name in TYPED else value


def sendable(check: Callable[[str, Any], V], name: str, value: object) -> V:
    """What a reader's check makes of a value that is to be sent: what no reader would accept is an EncodeError."""
    try:
        return check(name, value)
    except DecodeError as error:
        raise EncodeError(str(error)) from None


def canonical(value: Value) -> str:
    """The value's canonical text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return format_time(value) if isinstance(value, datetime) else b64encode(value).decode()


def format_time(time: datetime) -> str:
    """RFC 3339, in UTC. Raises EncodeError for a time without offset."""
    if time.tzinfo is not UTC:
        if time.utcoffset() is None:
            raise EncodeError(f"time: {time!r} has no offset: use an aware datetime")
        time = time.astimezone(UTC)
    return f"{time.isoformat()[:-6]}Z"


# fromisoformat takes more than RFC 3339 (week dates, "18:31Z", "+01") and less ("z"): the pattern decides, it reads.
_is_rfc3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
).fullmatch


def parse_time(name: str, text: str) -> datetime:
    """The time that an RFC 3339 text names; digits beyond microseconds are cut. Raises DecodeError."""
    if _is_rfc3339(text):
        try:
            if text[17:19] != "60":
                return datetime.fromisoformat(text if text[-1] == "Z" and text[10] == "T" else text.upper())
            # A leap second is valid RFC 3339; Python's clock has none.
            return datetime.fromisoformat(f"{text[:17]}59{text[19:]}".upper()) + timedelta(seconds=1)
        except (ValueError, OverflowError):
            pass
    raise DecodeError(name, f"{text[:64]!r} is not an RFC 3339 time")


_USUAL_TIME = (
    r"[1-9][0-9]{3}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?Z"
)
is_usual_time = re.compile(_USUAL_TIME).fullmatch
"""Whether this text is a time in UTC that ``parse_time`` reads, in a form that nearly all are in: no second look."""
is_usual_time_utf8 = re.compile(_USUAL_TIME.encode()).fullmatch


def is_json(content_type: str | None) -> bool:
    """Whether data of this content type is JSON: ``*/json``, ``*/*+json``, or nothing said."""
    if content_type is None or content_type == JSON:
        return True
    media = content_type.partition(";")[0].strip().lower()
    return media.endswith(("/json", "+json"))
