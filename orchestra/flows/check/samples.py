"""What does a valid message look like, made of nothing but its class? The same on every machine and in every run.

The class's JSON Schema says what is allowed; its examples win. A key is always the same text, so that messages about
one thing agree; a text field is named after itself, so that equal names agree.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from orchestra.errors import DefinitionError
from orchestra.events.message import Message, spec_of

M = TypeVar("M", bound=Message)

KEY = "key-1"
_DEEPEST = 6
_FORMATS: Mapping[str, str] = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00",
    "duration": "PT1S",
    "uuid": "00000000-0000-4000-8000-000000000001",
    "uuid4": "00000000-0000-4000-8000-000000000001",
    "email": "ann@example.org",
    "uri": "https://example.org/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "base64url": "",
    "binary": "",
    "json-string": "null",
}
_GUESSES = ("1", "12", "123", "1234", "12345", "1234567890", "a", "A", "AA", "AAA", "abc", "a-1", "A1", "a@example.org")


class NoSampleError(DefinitionError):
    """A value could not be made from its class alone: an example is needed."""


def sample(cls: type[M]) -> M:
    """A valid message of this class.

    Raises:
        NoSampleError: none can be made; names the field and what to write.
    """
    spec = spec_of(cls)
    field = spec.key_field and cls.model_fields[spec.key_field]
    key = (field.alias or spec.key_field) if field else None
    made = _made(cls.__qualname__, _schema(cls.__qualname__, TypeAdapter(cls)), key)
    try:
        return cls.model_validate_json(json.dumps(made))
    except ValidationError as error:
        raise _refused(cls.__qualname__, error) from None


def sample_of(annotation: Any, place: str) -> Any:
    """A value of any type that pydantic knows, or of a message class.

    Raises:
        NoSampleError: none can be made.
    """
    if isinstance(annotation, type) and issubclass(annotation, Message):
        return sample(annotation)
    adapter = TypeAdapter[Any](annotation)
    made = _made(place, _schema(place, adapter), None)
    try:
        return adapter.validate_json(json.dumps(made))
    except ValidationError as error:
        raise _refused(place, error) from None


def _schema(place: str, adapter: TypeAdapter[Any]) -> Mapping[str, Any]:
    try:
        return adapter.json_schema()
    except PydanticInvalidForJsonSchema as error:
        raise NoSampleError(f"{place}: no sample can be made of it: {error.message}. {_remedy()}") from None


def _refused(place: str, error: ValidationError) -> NoSampleError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return NoSampleError(f"{place}{f'.{where}' if where else ''}: the sample is not valid: {first['msg']}. {_remedy()}")


def _remedy() -> str:
    return "Give one: Field(examples=[...]) on the field, or json_schema_extra={'examples': [{...}]} on the class"


def _made(place: str, schema: Mapping[str, Any], key: str | None) -> Any:
    return _Maker(schema.get("$defs", {})).make(place, schema, "value", 0, key)


class _Maker:
    """Values for the parts of one JSON Schema."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def make(self, place: str, schema: Mapping[str, Any], name: str, depth: int, key: str | None = None) -> Any:
        if "$ref" in schema:
            target = self._definitions[schema["$ref"].rsplit("/", 1)[1]]
            schema = {**target, **{part: value for part, value in schema.items() if part != "$ref"}}
        for known in ("examples", "enum"):
            if schema.get(known):
                return schema[known][0]
        for known in ("example", "const", "default"):
            if known in schema:
                return schema[known]
        if alternatives := schema.get("anyOf") or schema.get("oneOf"):
            return self._one_of(place, alternatives, name, depth)
        if parts := schema.get("allOf"):
            return self.make(place, {**schema, **parts[0], "allOf": None}, name, depth)
        return self._of_type(place, schema, name, depth, key)

    def _one_of(self, place: str, alternatives: list[Mapping[str, Any]], name: str, depth: int) -> Any:
        problem: NoSampleError | None = None
        if depth >= _DEEPEST and any(one.get("type") == "null" for one in alternatives):
            return None
        for one in alternatives:
            try:
                return self.make(place, one, name, depth)
            except NoSampleError as error:
                problem = problem or error
        raise problem or NoSampleError(f"{place}: nothing is allowed there")

    def _of_type(self, place: str, schema: Mapping[str, Any], name: str, depth: int, key: str | None) -> Any:
        match schema.get("type"):
            case "object":
                return self._object(place, schema, depth, key)
            case "array":
                return self._array(place, schema, name, depth)
            case "string":
                return _text(place, schema, name)
            case "integer" | "number":
                return _number(place, schema)
            case "boolean":
                return False
            case _:
                return None

    def _object(self, place: str, schema: Mapping[str, Any], depth: int, key: str | None) -> dict[str, Any]:
        if depth > _DEEPEST:
            raise NoSampleError(f"{place}: it holds itself, without end. {_remedy()}")
        required = schema.get("required", ())
        made: dict[str, Any] = {}
        for name, part in schema.get("properties", {}).items():
            if name == key and not part.get("examples"):
                made[name] = 1 if part.get("type") == "integer" else KEY
            elif name in required or part.get("examples"):
                made[name] = self.make(f"{place}.{name}", part, name, depth + 1)
        return made

    def _array(self, place: str, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        if "prefixItems" in schema:
            return [self.make(place, part, name, depth + 1) for part in schema["prefixItems"]]
        least = schema.get("minItems", 0)
        if depth >= _DEEPEST and not least:
            return []
        count = max(least, min(1, schema.get("maxItems", 1)))
        return [self.make(place, schema.get("items", {}), name, depth + 1) for _ in range(count)]


def _text(place: str, schema: Mapping[str, Any], name: str) -> str:
    if (known := _FORMATS.get(schema.get("format", ""))) is not None:
        return known
    least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
    guesses = [text for text in (f"{name}-1", *_GUESSES) if least <= len(text) <= most]
    if not (pattern := schema.get("pattern")):
        return guesses[0] if guesses else "x" * least
    for guess in guesses:
        if re.search(pattern, guess):
            return guess
    raise NoSampleError(f"{place}: no text can be guessed that matches {pattern!r}. {_remedy()}")


def _number(place: str, schema: Mapping[str, Any]) -> float:
    """The allowed number nearest to one, where whole numbers will do."""
    step: float = schema.get("multipleOf", 1)
    low: float = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf))
    high: float = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf))
    start = min(max(1, low), high)
    nearest = step * round(start / step)
    guesses = [nearest, nearest + step, nearest - step]
    if schema["type"] == "number" and math.isfinite(low) and math.isfinite(high):
        guesses.append((low + high) / 2)
    for number in guesses:
        if _allowed(number, schema):
            return number
    raise NoSampleError(f"{place}: no number can be guessed. {_remedy()}")


def _allowed(number: float, schema: Mapping[str, Any]) -> bool:
    return (
        schema.get("minimum", -math.inf) <= number <= schema.get("maximum", math.inf)
        and schema.get("exclusiveMinimum", -math.inf) < number < schema.get("exclusiveMaximum", math.inf)
        and (schema["type"] != "integer" or number == int(number))
    )
