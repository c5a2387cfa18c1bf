"""What is on a topic that holds no CloudEvents? Its name, how values are read and written, their ids and keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from orchestra.errors import DecodeError, DefinitionError, EncodeError
from orchestra.events.attributes import JSON
from orchestra.events.envelope import Envelope
from orchestra.events.message import Message, decode_data

M = TypeVar("M", bound=BaseModel)

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")


class Json(Generic[M]):
    """Values are JSON of a pydantic model: ``Json(StockChanged)``.

    Raises:
        DefinitionError: it is no model, or one that is a CloudEvent's data already.
    """

    def __init__(self, model: type[M]) -> None:
        name = getattr(model, "__qualname__", repr(model))
        if not (isinstance(model, type) and issubclass(model, BaseModel)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(f"Json({name}): name a class of pydantic's BaseModel")
        if issubclass(model, Message):
            raise DefinitionError(f"Json({name}): {name} is an event or command and has its topic; use it by itself")
        self.model = model

    def decode(self, value: bytes | None) -> M:
        """Raises DecodeError: the value is null, no JSON, or not of the model."""
        if value is None:
            raise DecodeError("value", f"is null, where a {self.model.__qualname__} is to be")
        model: Any = self.model
        decoded: M = decode_data(model, value)
        return decoded

    def encode(self, value: M) -> bytes:
        """Raises EncodeError: the value has no JSON form."""
        try:
            return value.model_dump_json(by_alias=True).encode()
        except (PydanticSerializationError, ValueError) as error:
            raise EncodeError(f"data: {type(value).__qualname__} has no JSON form: {error}") from error


class Topic(Generic[M]):
    """A topic that others write or read without CloudEvents: ``stock = Topic("legacy.stock", Json(StockChanged))``.

    Read it with ``@inventory.on(stock)``, write to it with ``ctx.publish(StockChanged(...), to=stock)``.

    Args:
        name: as declared; settings map it as those of messages.
        codec: how values become objects, and the other way.
        id: what tells two records apart, such as ``lambda change: change.change_id``: effect ids follow from it.
            Without it, a record's place (topic, partition, offset) does, which is another in a copy of the topic.
        key: the record key of what is published. Without it, records have none.

    Raises:
        DefinitionError: the name is not one of a topic.
    """

    def __init__(
        self,
        name: str,
        codec: Json[M],
        *,
        id: Callable[[M], str] | None = None,  # noqa: A002  as CloudEvents calls it
        key: Callable[[M], str] | None = None,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise DefinitionError(f"Topic({name!r}): that is not a name of a topic; use 1 to 249 of a-z A-Z 0-9 . _ -")
        self.name = name
        self.codec = codec
        self._id = id
        self._key = key

    @property
    def type(self) -> str:
        """What stands for the CloudEvents type of its records: ``topic:<name>``."""
        return f"topic:{self.name}"

    def __repr__(self) -> str:
        return f"Topic({self.name!r})"

    def envelope(self, value: bytes | None, place: str) -> Envelope:
        """A record of it as an envelope. ``place``: where it stands, for all time.

        Raises:
            DecodeError: the id is to be taken out of the value, and that cannot be read.
        """
        event_id = place if self._id is None else self._checked_id(self.codec.decode(value))
        return Envelope(event_id, f"/topics/{self.name}", self.type, datacontenttype=JSON, data=value)

    def _checked_id(self, value: M) -> str:
        assert self._id is not None
        try:
            found: Any = self._id(value)
        except Exception as error:
            raise DecodeError("id", f"{self!r}: its id= raised {type(error).__name__}: {error}") from error
        if not found or not isinstance(found, str):
            raise DecodeError("id", f"{self!r}: its id= gave {found!r:.64}, which is no id")
        return found

    def key_of(self, value: M) -> bytes | None:
        """The record key of what is published."""
        return None if self._key is None else self._key(value).encode()
