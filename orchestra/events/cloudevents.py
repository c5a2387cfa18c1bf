"""How does a CloudEvent travel in a Kafka record? CloudEvents 1.0.2, Kafka binding, binary and structured mode.

What is decided here, where the specification leaves room or libraries differ:

- The mode is the ``content-type`` header's to say, and nothing else's. Beside a structured value, ``ce_`` headers are
  ignored. Batches do not exist on Kafka and are refused.
- Header names are matched byte for byte, ``ce_`` and ``content-type`` in lower case: Kafka's names are case-sensitive,
  and the binding has no rule that says otherwise.
- Header values are UTF-8 as they stand: percent-encoding belongs to HTTP. A header that appears twice counts as its
  last appearance; one whose value is null is not there. Headers that are not ours are never looked at.
- ``ce_datacontenttype`` is not of the binding, but some SDKs write it beside ``content-type``: it counts only where
  that header is missing.
- Nothing is invented: no id, no time, no ``partitionkey`` out of the record's key.

This is the hot path, and nearly all records are alike. So reading is one look at all headers together, which finds that
nothing can be wrong with any of them; only if it does not, each is looked at. For eight headers: 4.3 us before, 2.4
now, of which a quarter is making the dict. Writing them: 1.9.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, TypeGuard, cast

from orchestra.errors import DecodeError, EncodeError
from orchestra.events import json_format
from orchestra.events.attributes import (
    CORE,
    JSON,
    TYPED,
    USUAL,
    Value,
    attribute_name,
    canonical,
    extension_name,
    integer,
    is_attribute_name,
    is_clean,
    is_usual_time,
    is_usual_time_utf8,
    parse_time,
    sendable,
    string,
    typed,
)
from orchestra.events.envelope import Envelope

Headers = Sequence[tuple[str, bytes | None]]
Mode = Literal["binary", "structured"]

_CONTENT_TYPE = "content-type"
_JSON = JSON.encode()
_STRUCTURED = "application/cloudevents"
_STRUCTURED_JSON = "application/cloudevents+json"
STRUCTURED_HEADER = (_CONTENT_TYPE, b"application/cloudevents+json; charset=UTF-8")

_HEADER_OF = {name: f"ce_{name}" for name in USUAL}
_EXTENSION_HEADER = {name: header for name, header in _HEADER_OF.items() if name not in CORE}
_CORE_SLOT = {"time": "time_text"}
_VERSION = ("ce_specversion", b"1.0")
_REQUIRED = frozenset({"ce_specversion", "ce_id", "ce_source", "ce_type"})
_RARE = "ce_datacontenttype"
_USUAL = frozenset({*_HEADER_OF.values(), _CONTENT_TYPE}) - {_RARE}
_TYPED: dict[str, Callable[[bytes], object]] = {
    "ce_time": is_usual_time_utf8,
    "ce_expirytime": is_usual_time_utf8,
    "ce_replypartition": re.compile(rb"0|[1-9][0-9]{0,8}").fullmatch,
}
_LONGEST_REMEMBERED = 64
"""Longer names and content types are not remembered: how much memory they take is not the sender's to say."""


def decode(headers: Headers, value: bytes | None) -> Envelope:
    """The event in a record. The data of a binary record is not looked at.

    Raises:
        DecodeError: and nothing else, whatever the bytes are; ``attribute`` names what is wrong.
    """
    raw = dict(headers)
    media = raw.get(_CONTENT_TYPE)
    content_type = JSON if media == _JSON else None if media is None else _content_type(media)
    if content_type is _STRUCTURED_JSON:
        return _decode_structured(value)
    if _is_usual(raw):
        return Envelope.of_checked(raw["ce_type"].decode(), content_type, raw, value)
    return _decode_with_care(raw, content_type, value)


def encode(envelope: Envelope, mode: Mode = "binary") -> tuple[list[tuple[str, bytes]], bytes | None]:
    """Headers and value of the record that carries this event.

    In binary mode an event without data has a null value: on a compacted topic, that is a tombstone.

    Raises:
        EncodeError: an attribute cannot be put on the wire; the text names it.
    """
    content_type = envelope.datacontenttype
    headers = _headers(envelope)
    if mode == "structured":
        return [STRUCTURED_HEADER], json_format.write(envelope)
    if content_type is not None and content_type is not JSON and _is_structured(content_type):
        raise EncodeError(f"datacontenttype: {content_type[:64]!r} would announce a structured record")
    return headers, envelope.data


# ---- reading


def _content_type(media: bytes) -> str:
    """The content type; :data:`_STRUCTURED_JSON` itself for every way to write that."""
    return (_known_content_type if len(media) <= _LONGEST_REMEMBERED else _read_content_type)(media)


def _read_content_type(media: bytes) -> str:
    text = _text(_CONTENT_TYPE, media)
    if not _is_structured(text):
        return text
    form = text.partition(";")[0].strip().lower()
    if form.startswith("application/cloudevents-batch"):
        raise DecodeError(_CONTENT_TYPE, f"{form[:64]!r}: there are no batches on Kafka, send one event per record")
    if form != _STRUCTURED_JSON:
        raise DecodeError(_CONTENT_TYPE, f"{form[:64]!r} is not read, only {_STRUCTURED_JSON}")
    return _STRUCTURED_JSON


_known_content_type = lru_cache(maxsize=256)(_read_content_type)


def _is_usual(raw: dict[str, bytes | None]) -> TypeGuard[dict[str, bytes]]:
    """Whether one look at all headers shows that nothing can be wrong with any."""
    names = tuple(raw)
    checks = _checks_of_names.get(names)
    if checks is None:
        checks = _checks_of(names)
    values = cast("Collection[bytes]", raw.values())
    if checks is False or not all(values) or not is_clean(b" ".join(values)) or raw["ce_specversion"] != b"1.0":
        return False
    for name, check in checks:  # noqa: SIM110  all() would make a generator for each record
        if not check(cast("bytes", raw[name])):
            return False
    return True


_Checks = tuple[tuple[str, Callable[[bytes], object]], ...] | Literal[False]
_checks_of_names: dict[tuple[str, ...], _Checks] = {}
"""Names of a record's headers -> what is left to be looked at in their values; False: they need care. Most records of a
topic have the same names."""


def _checks_of(names: tuple[str, ...]) -> _Checks:
    there = set(names)
    checks: _Checks = False
    if there >= _REQUIRED and all(map(_is_usual_name, there - _USUAL)):
        checks = tuple((name, check) for name, check in _TYPED.items() if name in there)
    if len(_checks_of_names) < 1024 and len(names) <= 64 and max(map(len, names), default=0) <= _LONGEST_REMEMBERED:
        _checks_of_names[names] = checks
    return checks


def _is_usual_name(name: str) -> bool:
    return len(name) <= _LONGEST_REMEMBERED and _is_harmless_name(name)


@lru_cache(maxsize=1024)
def _is_harmless_name(name: str) -> bool:
    """Whether it is not ours, or an extension's."""
    return not name.startswith("ce_") or (name != _RARE and is_attribute_name(name[3:]))


def _decode_with_care(raw: Mapping[str, bytes | None], content_type: str | None, value: bytes | None) -> Envelope:
    texts = {name[3:]: _text(name[3:], text) for name, text in raw.items() if text is not None and name[:3] == "ce_"}
    for name in texts:
        attribute_name(name)
    announced = texts.pop("datacontenttype", None)
    if content_type is None and announced is not None:
        if _is_structured(announced):
            raise DecodeError("datacontenttype", f"{announced[:64]!r} belongs in content-type, which says the mode")
        content_type = announced
    return _envelope(texts, content_type, value)


def _text(attribute: str, raw: bytes) -> str:
    try:
        return string(attribute, raw.decode())
    except UnicodeDecodeError:
        raise DecodeError(attribute[:64], "is not UTF-8") from None


def _is_structured(media: str) -> bool:
    return media.lstrip()[: len(_STRUCTURED)].lower() == _STRUCTURED


def _decode_structured(value: bytes | None) -> Envelope:
    if value is None:
        raise DecodeError("value", "is null, where a structured event was announced")
    return _envelope(*json_format.read(value))


def _envelope(attributes: dict[str, Any], content_type: str | None, data: bytes | None) -> Envelope:
    """Takes the core attributes out; what is left are the extensions."""
    take = attributes.pop
    version, event_id, source = take("specversion", None), take("id", None), take("source", None)
    event_type, subject, time_text = take("type", None), take("subject", None), take("time", None)
    dataschema = take("dataschema", None)
    if version != "1.0":
        raise DecodeError("specversion", "is missing" if version is None else f"is {version[:64]!r}, not '1.0'")
    if not (event_id and source and event_type) or "" in (subject, dataschema, content_type):
        raise _absent(id=event_id, source=source, type=event_type, subject=subject, dataschema=dataschema)
    if not TYPED.isdisjoint(attributes):
        for name in TYPED.intersection(attributes):
            attributes[name] = typed(name, attributes[name])
    envelope = Envelope(event_id, source, event_type, subject, time_text, content_type, dataschema, attributes, data)
    if time_text is not None and not is_usual_time(time_text):
        envelope._time = parse_time("time", time_text)
    return envelope


def _absent(**attributes: str | None) -> DecodeError:
    for name in ("id", "source", "type"):
        if attributes[name] is None:
            return DecodeError(name, "is missing")
    return DecodeError(next((name for name, text in attributes.items() if text == ""), "datacontenttype"), "is empty")


# ---- writing


def _headers(envelope: Envelope) -> list[tuple[str, bytes]]:
    """The headers, checked as a reader would: all together, and one by one only if that finds something."""
    try:
        headers = [
            _VERSION,
            ("ce_id", envelope.id.encode()),
            ("ce_source", envelope.source.encode()),
            ("ce_type", envelope.type.encode()),
        ]
        for name, text in (
            ("ce_subject", envelope.subject),
            ("ce_time", envelope.time_text),
            ("ce_dataschema", envelope.dataschema),
            (_CONTENT_TYPE, envelope.datacontenttype),
        ):
            if text is not None:
                headers.append((name, text.encode()))
        for name, value in envelope.extensions.items():
            text = value if type(value) is str else _written(name, value)
            headers.append((_EXTENSION_HEADER.get(name) or f"ce_{extension_name(name)}", text.encode()))
    except UnicodeEncodeError:
        headers = []
    values = [value for _, value in headers]
    if not values or b"" in values or not is_clean(b" ".join(values)):
        _check_each(envelope)
    if (time := envelope.time_text) is not None and envelope._time is None and not is_usual_time(time):
        sendable(parse_time, "time", time)
    return headers


def _check_each(envelope: Envelope) -> None:
    for name in CORE:
        text = "1.0" if name == "specversion" else getattr(envelope, _CORE_SLOT.get(name, name))
        if text == "":
            raise EncodeError(f"{name}: is empty")
        if text is not None:
            sendable(string, name, text)
    for name, value in envelope.extensions.items():
        sendable(string, name, _written(name, value))


def _written(name: str, value: Value) -> str:
    return canonical(sendable(integer, name, value) if isinstance(value, int) else value)
