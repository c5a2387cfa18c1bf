"""Can a message class work as it is declared? Checked once, when the class is made."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Never, NoReturn, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel

from orchestra.errors import DefinitionError
from orchestra.events.key import holds_key, is_key, may_be_key

if TYPE_CHECKING:
    from orchestra.events.message import Command, Event, Message

_TYPE = re.compile(r"[!-~]{1,200}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_OURS = "orchestra."
_PYDANTIC = frozenset(name for name in dir(BaseModel) if not name.startswith("_"))

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
    """For ``Undo[C]``: C."""

    @property
    def is_abstract(self) -> bool:
        return not self.type


ABSTRACT = MessageSpec("", None, None, (), (), is_command=False, undoes=None)


@dataclass(frozen=True, slots=True)
class Declared:
    """A class that was just made, and its keywords. The three kinds are None while they are being made themselves."""

    cls: type[Message]
    type: str | None
    topic: str | None
    abstract: bool
    event: Any
    command: Any
    undo: Any

    @property
    def is_command(self) -> bool:
        return self.command is not None and issubclass(self.cls, self.command)

    @property
    def is_event(self) -> bool:
        return self.event is not None and issubclass(self.cls, self.event)


def declare(given: Declared) -> MessageSpec:
    """The specification of a class; of an abstract one, no more than what its subclasses inherit.

    Raises:
        DefinitionError: it cannot work; names the class and the remedy.
    """
    cls = given.cls
    if (origin := cls.__pydantic_generic_metadata__["origin"]) is not None:
        generic: Any = origin
        spec: MessageSpec = generic.__orchestra_spec__  # Page[Item] is what Page is
        return spec
    topic = given.topic if given.topic is not None else cls.__orchestra_spec__.topic
    _check_topic(cls, topic)
    key_field = _key_field(cls)
    if given.abstract:
        return replace(ABSTRACT, topic=topic)
    type_ = _checked_type(given)
    if not given.is_command:
        return MessageSpec(type_, topic, key_field, (), (), is_command=False, undoes=None)
    replies, rejections = _answers(given)
    if topic is None:
        raise mistake(cls, "a command needs a topic", 'add topic="<service>.commands"')
    if key_field is None and cls.__pydantic_fields_complete__:
        raise mistake(cls, "a command needs a key", "mark one field, such as order_id: Key[str]")
    undoes: Any = None
    if given.undo is not None and issubclass(cls, given.undo):
        undoes = cls.model_fields["command"].annotation
    return MessageSpec(type_, topic, key_field, replies, rejections, is_command=True, undoes=undoes)


def mistake(cls: type, what: str, remedy: str) -> DefinitionError:
    return DefinitionError(f"{cls.__module__}.{cls.__qualname__}: {what}; {remedy}")


def hidden_names(cls: type) -> list[str]:
    """Fields that would hide a public name of pydantic's, which it only warns of."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format, get_annotations

        own: Any = get_annotations(cls, format=Format.FORWARDREF)
    else:
        own = inspect.get_annotations(cls)
    return [name for name in own if name in _PYDANTIC and not name.startswith("model_")]


def _check_topic(cls: type[Message], topic: str | None) -> None:
    if topic is not None and (not _TOPIC.fullmatch(topic) or topic in (".", "..")):
        raise mistake(cls, f"topic {topic!r} is not a name of a Kafka topic", "use 1 to 249 of a-z A-Z 0-9 . _ -")


def _checked_type(given: Declared) -> str:
    cls, type_ = given.cls, given.type
    if given.is_event == given.is_command:
        what = "both an event and a command" if given.is_event else "neither an event nor a command"
        raise mistake(cls, f"it is {what}", "subclass Event, or Command[Reply, Rejection]")
    if type_ is None:
        raise mistake(
            cls, "the CloudEvents type is missing", 'add type="<context>.<entity>.<what>.v1", or abstract=True'
        )
    if not _TYPE.fullmatch(type_):
        raise mistake(cls, f"type {type_!r} is not a CloudEvents type", "use 1 to 200 visible ASCII characters")
    if type_.startswith(_OURS) and not cls.__module__.startswith(_OURS):
        raise mistake(cls, f"type {type_!r}: {_OURS}* is orchestra's own", "begin it with a name of yours")
    if not cls.model_config.get("frozen"):
        raise mistake(cls, "a message cannot be changed once it is made", "remove frozen=False")
    return type_


def _key_field(cls: type[Message]) -> str | None:
    keys: list[str] = []
    for name, field in cls.model_fields.items():
        if is_key(field):
            keys.append(name)
            if not may_be_key(field.annotation):
                raise mistake(cls, f"key {name} is a {_name(field.annotation)}", "write Key[str] or Key[int]")
        elif holds_key(field.annotation):
            raise mistake(
                cls, f"key {name} is inside another type", "write Key[str] or Key[int]: a key is always there"
            )
    if len(keys) > 1:
        raise mistake(cls, f"it has two keys, {keys[0]} and {keys[1]}", "mark one field as Key")
    return keys[0] if keys else None


def _answers(given: Declared) -> tuple[tuple[EventClass, ...], tuple[EventClass, ...]]:
    cls = given.cls
    reply, rejection = _parameters(given)
    replies, rejections = tuple(_events(given, "reply", reply)), tuple(_events(given, "rejection", rejection))
    if not replies:
        raise mistake(cls, "it has no reply", "write Command[Done, ...] where there is nothing to say")
    seen: dict[str, EventClass] = {}
    for answer in (*replies, *rejections):
        other = seen.setdefault(answer.__orchestra_spec__.type, answer)
        if other is not answer:
            raise _alike(cls, other, answer)
    for answer in rejections:
        if answer in replies:
            raise _alike(cls, answer, answer)
    return replies, rejections


def _alike(cls: type, one: type, other: type) -> DefinitionError:
    names = f"{_name(one)} is its reply and its rejection" if one is other else f"{_name(one)} and {_name(other)}"
    return mistake(cls, f"{names}: the type tells answers apart", "use events of different types")


def _parameters(given: Declared) -> tuple[Any, Any]:
    for parent in given.cls.__mro__:
        for base in parent.__dict__.get("__orig_bases__", ()):
            if get_origin(base) is given.command:
                if len(arguments := get_args(base)) == 2:
                    return arguments[0], arguments[1]
                raise mistake(given.cls, "Command takes two parameters", "write Command[Reply, Rejection], or Never")
    raise mistake(given.cls, "it does not say how it is answered", "write Command[Reply, Rejection], or Never for none")


def _events(given: Declared, role: str, parameter: Any) -> Iterator[EventClass]:
    cls = given.cls
    if parameter in (Never, NoReturn):
        return
    for answer in get_args(parameter) if get_origin(parameter) in (Union, UnionType) else (parameter,):
        if answer in (None, NoneType):
            raise mistake(cls, f"its {role} may not be None", "write Never if there is none, Done if it is empty")
        if not (isinstance(answer, type) and issubclass(answer, given.event)):
            raise mistake(
                cls, f"its {role} {_name(answer)} is not an Event", "define it as an Event, before the command"
            )
        event: EventClass = answer
        if event.__orchestra_spec__.is_abstract:
            raise mistake(cls, f"its {role} {_name(answer)} is abstract", "name an Event that has a type")
        yield event


def _name(thing: object) -> str:
    return getattr(thing, "__qualname__", None) or repr(thing)
