"""How do orchestra's events meet the ``CloudEvent`` of the cloudevents SDK (``pip install orchestra[sdk]``)?

The SDK is for the edge, where other code already speaks it. Records are read and written by our own codec: the SDK's
Kafka binding is several times slower, and changes events on the way.
"""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from orchestra.errors import DecodeError, EncodeError
from orchestra.events.attributes import CORE, Value, attribute_name, format_time, is_json, plain
from orchestra.events.envelope import Envelope

if TYPE_CHECKING:
    from cloudevents.core.v1.event import CloudEvent


def is_sdk_event(thing: object) -> bool:
    """Whether this is a ``CloudEvent`` of the SDK. Does not import the SDK: whoever made one has."""
    module = sys.modules.get("cloudevents.core.v1.event")
    return module is not None and isinstance(thing, module.CloudEvent)


def to_sdk(envelope: Envelope) -> CloudEvent:
    """The event as the SDK's. JSON data is parsed, any other stays bytes. The time loses digits beyond microseconds.

    Raises:
        EncodeError: the SDK does not take it.
        DecodeError: the data is announced as JSON and is not.
        ModuleNotFoundError: the SDK is not installed.
    """
    from cloudevents.core.exceptions import CloudEventValidationError
    from cloudevents.core.v1.event import CloudEvent

    attributes: dict[str, Any] = {name: getattr(envelope, name) for name in CORE if name != "specversion"}
    attributes |= {"specversion": "1.0", **envelope.extensions}
    try:
        event = CloudEvent({name: value for name, value in attributes.items() if value is not None}, _parsed(envelope))
    except CloudEventValidationError as error:
        raise EncodeError(f"the SDK does not take the event: {error.errors}") from error
    if envelope.time_text is None:
        del event.get_attributes()["time"]  # the SDK puts the time of the call where there is none
    return event


def from_sdk(event: CloudEvent) -> Envelope:
    """The SDK's event as an envelope: only what it says, nothing filled in.

    Raises:
        EncodeError: its data has no form under its content type.
    """
    attributes = dict(event.get_attributes())
    core = {name: attributes.pop(name, None) for name in CORE}
    content_type: str | None = core["datacontenttype"]
    time: datetime | None = core["time"]
    return Envelope(
        id=str(core["id"]),
        source=str(core["source"]),
        type=str(core["type"]),
        subject=core["subject"],
        time_text=None if time is None else format_time(time),
        datacontenttype=content_type,
        dataschema=core["dataschema"],
        extensions=_extensions(attributes),
        data=_written(event.get_data(), content_type),
    )


def _parsed(envelope: Envelope) -> Any:
    if envelope.data is None or envelope.datacontenttype is None or not is_json(envelope.datacontenttype):
        return envelope.data
    try:
        return from_json(envelope.data)
    except ValueError as error:
        raise DecodeError("data", f"is not JSON: {error}") from None


def _extensions(attributes: dict[str, Any]) -> dict[str, Value]:
    return {attribute_name(name): plain(name, value) for name, value in attributes.items() if value is not None}


def _written(data: object, content_type: str | None) -> bytes | None:
    if data is None or isinstance(data, bytes):
        return data
    if isinstance(data, str) and not is_json(content_type):
        return data.encode()
    if not is_json(content_type):
        raise EncodeError(f"data: a {type(data).__name__} has no form as {content_type!r}")
    try:
        return to_json(data)
    except PydanticSerializationError as error:
        raise EncodeError(f"data: has no JSON form: {error}") from error
