"""How does a message that nobody caused become a record? Pure: id and time come in as values.

What is the same for every message of a class is encoded once: its headers but two, its topic, its key's field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pydantic import PydanticUserError
from pydantic_core import PydanticSerializationError

from orchestra.errors import DefinitionError, OrchestraError
from orchestra.events.attributes import JSON, Value, format_time
from orchestra.events.cloudevents import encode
from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Message, record_key, spec_of
from orchestra.events.sdk import from_sdk
from orchestra.transport.port import Outgoing

if TYPE_CHECKING:
    from cloudevents.core.v1.event import CloudEvent

Header = tuple[str, bytes | None]


class Stamp:
    """Makes records of messages for one source.

    Args:
        source: the CloudEvents source of everything that is stamped.
        topics: declared topic -> topic on this cluster.

    Raises:
        EncodeError: the source cannot be put on the wire.
    """

    def __init__(self, source: str, topics: Callable[[str], str]) -> None:
        self.source = source
        self._topics = topics
        self._forms: dict[type[Message], _Form] = {}
        self._headers(source, "x", {})  # a source that cannot be written is said now

    def record(
        self,
        message: Message,
        *,
        id: str,  # noqa: A002  the CloudEvents name
        time: datetime,
        source: str | None = None,
        extensions: Mapping[str, Value] | None = None,
    ) -> Outgoing:
        """One message with everything that can be said about it.

        Raises:
            DefinitionError: its class has no topic.
            EncodeError: it, or an attribute, cannot be put on the wire.
        """
        topic = self.topic_of(message)
        envelope = compose(message, id=id, source=source or self.source, time=time, extensions=extensions)
        headers, value = encode(envelope)
        return Outgoing(topic, record_key(message), value, list[Header](headers))

    def records(
        self,
        messages: Sequence[Message],
        ids: Sequence[str],
        time: datetime,
        extensions: Mapping[str, Value],
        most: int,
    ) -> list[Outgoing]:
        """As many of the messages as ``most`` bytes of data take, at least one, each as :meth:`record` would make it.

        Ends before a message that cannot be a record: :meth:`record` says why. The ids are not checked.

        Raises:
            EncodeError: an extension cannot be put on the wire.
        """
        time_header: Header = ("ce_time", format_time(time).encode())
        extra = self._headers(self.source, "x", extensions)[4:] if extensions else []
        made: list[Outgoing] = []
        form: _Form | None = None
        try:
            for message, event_id in zip(messages, ids, strict=True):
                cls = type(message)
                if form is None or cls is not form.cls:
                    form = self._form(cls)
                value = form.to_json(message)
                name = ("ce_id", event_id.encode())
                headers = [form.version, name, form.source, form.type, time_header, _CONTENT, *extra]
                made.append(Outgoing(form.topic, form.key_of(message), value, headers))
                most -= len(value)
                if most <= 0:
                    break
        except _UNWRITABLE:
            pass
        return made

    def whole(self, event: CloudEvent, topic: str, key: str | None) -> Outgoing:
        """An event of the cloudevents SDK, in structured mode, with the id, source and attributes that it has.

        Raises:
            EncodeError: it cannot be put on the wire.
        """
        headers, value = encode(from_sdk(event), "structured")
        return Outgoing(self._topics(topic), None if key is None else key.encode(), value, list[Header](headers))

    def topic_of(self, message: object) -> str:
        """Where a message goes. Raises DefinitionError: it is none, or its class has no topic."""
        return self._form(type(message)).topic

    def _form(self, cls: type[Any]) -> _Form:
        if (form := self._forms.get(cls)) is None:
            if not issubclass(cls, Message):
                raise DefinitionError(f"bus.publish(): {cls.__qualname__} is no Event")
            spec = spec_of(cls)
            if spec.topic is None:
                name = cls.__qualname__
                raise DefinitionError(f"bus.publish({name}): {name} has no topic; give the class topic='...'")
            version, _, source, type_ = self._headers(self.source, spec.type, {})
            form = self._forms[cls] = _Form(cls, self._topics(spec.topic), version, source, type_)
        return form

    @staticmethod
    def _headers(source: str, type_: str, extensions: Mapping[str, Value]) -> list[Header]:
        """specversion, id, source, type and the extensions, checked."""
        headers, _ = encode(Envelope("x", source, type_, extensions=extensions))
        return list[Header](headers)


_CONTENT: Header = ("content-type", JSON.encode())
_UNWRITABLE = (OrchestraError, PydanticSerializationError, PydanticUserError, ValueError, RecursionError)


class _Form:
    """What the records of one class have in common."""

    __slots__ = ("cls", "key_of", "source", "to_json", "topic", "type", "version")

    def __init__(self, cls: type[Message], topic: str, version: Header, source: Header, type_: Header) -> None:
        self.cls = cls
        self.topic = topic
        self.version = version
        self.source = source
        self.type = type_
        self.to_json: Callable[[Message], bytes] = cls.__pydantic_serializer__.to_json
        self.key_of = _key_reader(spec_of(cls).key_field)


def _key_reader(field: str | None) -> Callable[[Message], bytes | None]:
    """``record_key``, for one class."""
    if field is None:
        return lambda message: None
    value_of: Callable[[Message], Any] = attrgetter(field)

    def key_of(message: Message) -> bytes | None:
        value = value_of(message)
        return value.encode() if type(value) is str and value else record_key(message)

    return key_of
