"""What does a message class say about itself, and how does its data become bytes?

A message is an immutable pydantic model. Its class keywords name the CloudEvents type and the default topic; its key
field names the record's key. Readers are tolerant: unknown fields of the data are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from types import GenericAlias, NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    Never,
    NoReturn,
    TypeAlias,
    TypeVar,
    Union,
    Unpack,
    get_args,
    get_origin,
)

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, SerializeAsAny, ValidationError, create_model
from pydantic_core import CoreSchema, PydanticSerializationError

from orchestra.errors import DecodeError, DefinitionError, EncodeError

MAX_DATA_BYTES = 16 * 1024 * 1024
"""Larger data is refused before it is parsed."""

_TYPE = re.compile(r"[!-~]{1,200}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_RESERVED = "orchestra."


class _KeyMarker:
    """Marks the field whose value is the record's key; an empty text is refused."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: Any = handler(source)
        if schema["type"] == "str":
            schema["min_length"] = max(1, schema.get("min_length") or 0)
        made: CoreSchema = schema
        return made

    def __repr__(self) -> str:
        return "Key"


_KEY = _KeyMarker()
K = TypeVar("K", str, int)
Key = Annotated[K, _KEY]
"""``order_id: Key[str]``: this field, as UTF-8 text, is the record's key. At most one field; str or int; not empty."""


EventClass: TypeAlias = "type[Event]"
CommandClass: TypeAlias = "type[Command[Any, Any]]"


@dataclass(frozen=True, slots=True)
class MessageSpec:
    """What a message class declares. ``replies`` and ``rejections`` are empty for an event."""

    type: str
    topic: str | None
    key_field: str | None
    replies: tuple[EventClass, ...]
    rejections: tuple[EventClass, ...]
    is_command: bool
    undoes: CommandClass | None


# ---- the checks at class creation


def _specify(cls: type[Message], type_: str | None, topic: str | None, abstract: bool) -> MessageSpec | None:
    topic = topic if topic is not None else _inherited_topic(cls)
    key_field = _key_field(cls)
    if abstract:
        return None
    _check_names(cls, type_, topic)
    assert type_ is not None
    if not issubclass(cls, Command):
        return MessageSpec(type_, topic, key_field, (), (), False, None)
    replies, rejections = _answers(cls)
    if topic is None:
        raise _mistake(cls, "a command needs a topic", "add topic='<service>.commands'")
    if key_field is None:
        raise _mistake(cls, "a command needs a key", "mark one field, such as order_id: Key[str]")
    undone: Any = cls.model_fields["command"].annotation if issubclass(cls, Undo) else None
    return MessageSpec(type_, topic, key_field, replies, rejections, True, undone)


def _inherited_topic(cls: type[Message]) -> str | None:
    for parent in cls.__mro__[1:]:
        spec: MessageSpec | None = parent.__dict__.get("__orchestra_spec__")
        if spec is not None:
            return spec.topic
    return None


def _check_names(cls: type[Message], type_: str | None, topic: str | None) -> None:
    if type_ is None:
        raise _mistake(
            cls, "the CloudEvents type is missing", "add type='<context>.<entity>.<what>.v1', or abstract=True"
        )
    if not _TYPE.fullmatch(type_):
        raise _mistake(cls, f"type {type_!r} is not a CloudEvents type", "use 1 to 200 visible ASCII characters")
    if type_.startswith(_RESERVED) and not cls.__module__.startswith(_RESERVED):
        raise _mistake(cls, f"type {type_!r}: {_RESERVED}* is orchestra's own", "choose another name")
    if topic is not None and (not _TOPIC.fullmatch(topic) or topic in (".", "..")):
        raise _mistake(cls, f"topic {topic!r} is not a Kafka topic", "use 1 to 249 of a-z A-Z 0-9 . _ -")


def _key_field(cls: type[Message]) -> str | None:
    keys: list[str] = []
    for name, field in cls.model_fields.items():
        if any(isinstance(mark, _KeyMarker) for mark in field.metadata):
            keys.append(name)
            if field.annotation not in (str, int):
                raise _mistake(cls, f"key {name} is a {_name(field.annotation)}", "write Key[str] or Key[int]")
        elif _holds_marker(field.annotation):
            raise _mistake(cls, f"key {name} is not always there", "a key is Key[str] or Key[int], not optional")
    if len(keys) > 1:
        raise _mistake(cls, f"two keys: {' and '.join(keys)}", "mark one field as Key")
    return keys[0] if keys else None


def _holds_marker(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return any(isinstance(mark, _KeyMarker) for mark in annotation.__metadata__)
    return any(_holds_marker(part) for part in get_args(annotation))


def _answers(cls: type[Message]) -> tuple[tuple[type[Event], ...], tuple[type[Event], ...]]:
    reply, rejection = _parameters(cls)
    replies, rejections = tuple(_events(cls, "reply", reply)), tuple(_events(cls, "rejection", rejection))
    if not replies:
        raise _mistake(cls, "it has no reply", "write Command[Done, ...] where there is nothing to say")
    seen: dict[str, type[Event]] = {}
    for answer in (*replies, *rejections):
        if (other := seen.setdefault(spec_of(answer).type, answer)) is not answer or (
            answer in replies and answer in rejections
        ):
            names = f"{_name(other)} and {_name(answer)}"
            raise _mistake(cls, f"{names} have the same type", "the type tells the answers apart: use different events")
    return replies, rejections


def _parameters(cls: type[Message]) -> tuple[Any, Any]:
    for parent in cls.__mro__:
        for base in parent.__dict__.get("__orig_bases__", ()):
            if get_origin(base) is Command:
                if len(arguments := get_args(base)) == 2:
                    return arguments[0], arguments[1]
                raise _mistake(cls, "Command takes two parameters", "write Command[Reply, Rejection], or Never")
    raise _mistake(
        cls, "it does not say how it is answered", "write Command[Reply, Rejection], or Command[Reply, Never]"
    )


def _events(cls: type[Message], role: str, parameter: Any) -> Iterator[type[Event]]:
    if parameter in (Never, NoReturn):
        return
    for answer in get_args(parameter) if get_origin(parameter) in (Union, UnionType) else (parameter,):
        if answer is NoneType or answer is None:
            raise _mistake(
                cls, f"its {role} may not be None", "write Never for 'cannot happen', Done for 'nothing to say'"
            )
        if not (isinstance(answer, type) and issubclass(answer, Event)):
            raise _mistake(
                cls, f"its {role} {_name(answer)} is not an Event", f"define the {role} as an Event, before it"
            )
        if answer.__orchestra_spec__ is None:
            raise _mistake(
                cls, f"its {role} {_name(answer)} is abstract", f"name an Event that has a type as its {role}"
            )
        yield answer


def _mistake(cls: type[Message], what: str, remedy: str) -> DefinitionError:
    return DefinitionError(f"{cls.__module__}.{cls.__qualname__}: {what}; {remedy}")


def _name(thing: object) -> str:
    return getattr(thing, "__qualname__", None) or repr(thing)


# ---- the classes


class Message(BaseModel):
    """Base of :class:`Event` and :class:`Command`. Not subclassed by users directly."""

    # allow_inf_nan: JSON has no NaN, and pydantic would write it as null. Aliases are for fields such as "json", whose
    # plain name would hide a method of pydantic.
    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        ser_json_bytes="base64",
        val_json_bytes="base64",
    )

    # The one attribute that orchestra adds: any other name could meet a field of the user's.
    __orchestra_spec__: ClassVar[MessageSpec | None] = None

    def __init_subclass__(
        cls,
        *,
        type: str | None = None,  # noqa: A002  the class keyword that users write
        topic: str | None = None,
        abstract: bool = False,
        **config: Unpack[ConfigDict],
    ) -> None:
        """Class keywords.

        Args:
            type: the CloudEvents type, such as ``shop.order.placed.v1``.
            topic: the default topic; inherited. Commands need one, replies do not.
            abstract: True for a class that only shares fields and is never sent.
        """
        super().__init_subclass__(**config)

    @classmethod
    def __pydantic_init_subclass__(
        cls,
        *,
        type: str | None = None,
        topic: str | None = None,
        abstract: bool = False,
        **_: Any,  # noqa: A002
    ) -> None:
        # Fields are known here, and not yet in __init_subclass__.
        cls.__orchestra_spec__ = _specify(cls, type, topic, abstract)


class Event(Message, abstract=True):
    """Something that happened: ``class OrderPlaced(Event, type="shop.order.placed.v1", topic="shop.orders")``.

    Raises:
        DefinitionError: at class creation, where the declaration cannot work.
    """


R_co = TypeVar("R_co", bound=Event, covariant=True)
J_co = TypeVar("J_co", bound=Event, covariant=True)

if TYPE_CHECKING:

    class _Answers(Generic[R_co, J_co]): ...
else:

    class _Answers:
        # No generic to pydantic: Command[X, Y] is an alias that only __orig_bases__ remembers, not one more model a pair.
        def __class_getitem__(cls, answers):
            return cls if answers == (Any, Any) else GenericAlias(cls, answers)


class Command(_Answers[R_co, J_co], Message, abstract=True):
    """Asks one service to do something: ``class Reserve(Command[Reserved, OutOfStock], type=..., topic=...)``.

    The parameters are its reply (done) and its rejection (proven not done); unions of events where there are several;
    ``Command[Released, Never]`` cannot be rejected. A command has a topic and a key.

    Raises:
        DefinitionError: at class creation, where the declaration cannot work.
    """


C_co = TypeVar("C_co", bound=Command[Any, Any], covariant=True)
C = TypeVar("C", bound=Command[Any, Any])


class Done(Event, type="orchestra.done.v1"):
    """The built-in empty reply."""


class StepFailed(Event, type="orchestra.step.failed.v1"):
    """The runtime's answer for a command that was dead-lettered: whether it was done is unknown; do not wait longer."""

    dead_letter_id: str
    reason: str
    error: str = ""


class StepRefused(Event, type="orchestra.step.refused.v1"):
    """The runtime's answer for a command that it did not begin, and never will: proven not done."""

    reason: Literal["expired", "barred"]
    note: str = ""


if TYPE_CHECKING:

    class _Undoes(Generic[C_co]): ...
else:

    class _Undoes:
        def __class_getitem__(cls, command):
            if isinstance(command, TypeVar) or command is Any:
                return GenericAlias(cls, command)
            return cls if cls is _Undoes else _undo_class(command)


class Undo(_Undoes[C_co], Command[Done, Never], abstract=True):
    """The built-in compensation: ``Undo[ReserveItems]`` has the type ``<type of ReserveItems>.undo``, its topic and key."""

    key: Key[str]
    """The record key of the action."""
    effect_id: str
    """Of the action that is to be undone."""
    command: C_co
    """The action, as it was sent."""
    reply: SerializeAsAny[Event] | None = None
    """What the action was answered; None where nobody knows whether it was done."""

    @classmethod
    def of(cls, command: C, *, effect_id: str, reply: Event | None = None) -> Undo[C]:
        """The undo of a command that was sent under ``effect_id``."""
        key = record_key(command)
        assert key is not None  # every command has one
        undo: type[Undo[C]] = _undo_class(type(command))
        return undo(key=key.decode(), effect_id=effect_id, command=command, reply=reply)

    def __reduce__(self) -> tuple[Any, ...]:
        # Undo[X] is no attribute of any module, so pickle cannot find it by name.
        return _blank_undo, (type(self.command),), self.__getstate__()


@cache
def _undo_class(command: Any) -> Any:
    if not (isinstance(command, type) and issubclass(command, Command)):
        raise DefinitionError(f"Undo[{_name(command)}]: {_name(command)} is not a command")
    spec = spec_of(command)
    reply: Any = reduce(or_, (*spec.replies, None))
    return create_model(
        f"Undo[{command.__name__}]",
        __base__=Undo,
        __module__=command.__module__,
        __doc__=f"Undo {command.__name__}.",
        __cls_kwargs__={"type": f"{spec.type}.undo", "topic": spec.topic},
        command=(command, ...),
        reply=(reply, None),
    )


def _blank_undo(command: type[Command[Any, Any]]) -> Any:
    cls = _undo_class(command)
    return cls.__new__(cls)


def spec_of(cls: type[Message]) -> MessageSpec:
    """What a message class declares.

    Raises:
        DefinitionError: the class is abstract, or names a type that does not exist.
    """
    spec = cls.__orchestra_spec__
    if spec is None:
        raise DefinitionError(f"{cls.__qualname__} is no message that can be sent: give it type='...'")
    return spec


def record_key(message: Message) -> bytes | None:
    """The record's key: the key field as UTF-8 text. None for an event that declares no key."""
    field = spec_of(type(message)).key_field
    return None if field is None else str(getattr(message, field)).encode()


def encode_data(message: Message) -> bytes:
    """The message as JSON.

    Raises:
        EncodeError: a value has no JSON form.
    """
    try:
        return message.__pydantic_serializer__.to_json(message)
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise EncodeError(f"data: {type(message).__qualname__} has no JSON form: {error}") from error


M = TypeVar("M", bound=Message)


def decode_data(cls: type[M], raw: bytes | None) -> M:
    """The message that these bytes of JSON hold. Absent data is an empty object.

    Raises:
        DecodeError: attribute ``data``; not JSON, nested deeper than 200, too large, or not of this class.
    """
    if raw is None:
        raw = b"{}"
    elif len(raw) > MAX_DATA_BYTES:
        raise DecodeError("data", f"{len(raw)} bytes, at most {MAX_DATA_BYTES} are read")
    try:
        # pydantic-core parses and validates in one pass, and stops at 200 levels: no RecursionError.
        message: M = cls.__pydantic_validator__.validate_json(raw)
    except ValidationError as error:
        raise DecodeError("data", _reason(cls, error)) from error
    return message


def _reason(cls: type[Message], error: ValidationError) -> str:
    """One sentence, without the input: it may be secret, and large."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"not a valid {cls.__qualname__}: {f'{place}: ' if place else ''}{first['msg']}{more}"
