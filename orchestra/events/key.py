"""Which field of a message is the record's key?"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema


class _KeyMarker:
    """An empty text is no key: everything without one would meet on one partition, in one lane."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: Any = handler(source)
        if schema["type"] == "str":
            schema["min_length"] = max(1, schema.get("min_length") or 0)
        made: CoreSchema = schema
        return made

    def __repr__(self) -> str:
        return "Key"


_K = TypeVar("_K", bound=str | int)
Key = Annotated[_K, _KeyMarker()]
"""``order_id: Key[str]``: this field, as UTF-8 text, is the record's key. At most one field; str or int; not empty."""


def is_key(field: FieldInfo) -> bool:
    """Whether the field as a whole is marked."""
    return any(isinstance(mark, _KeyMarker) for mark in field.metadata)


def holds_key(annotation: object) -> bool:
    """Whether a part of an annotation is marked, as in ``Key[str] | None``."""
    if get_origin(annotation) is Annotated and any(isinstance(mark, _KeyMarker) for mark in get_args(annotation)[1:]):
        return True
    return any(holds_key(part) for part in get_args(annotation))


def may_be_key(annotation: Any) -> bool:
    """Whether every value of this type has one plain text: str and int, and NewTypes of them."""
    while hasattr(annotation, "__supertype__"):
        annotation = annotation.__supertype__
    return annotation in (str, int)
