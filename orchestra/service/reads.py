"""Which events may a handler be declared for? Reads what ``handles(...)`` and ``on(...)`` are given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from orchestra.errors import DefinitionError
from orchestra.events.message import Command, Event, Message, spec_of
from orchestra.events.topic import Topic
from orchestra.service.handler import Reads
from orchestra.service.signature import name_of

_PATTERN = re.compile(r"[!-~]{1,200}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


def read_command(command: Any, service: str) -> Reads:
    """A command's class. Raises DefinitionError: it is none."""
    _check_class(command, Command, service)
    topic = spec_of(command).topic
    return Reads((command,), (), frozenset({topic} if topic else ()))


def read_events(events: Sequence[Any], topic: str | Sequence[str] | None, service: str) -> Reads:
    """Event classes, or patterns with the topics to read.

    Raises:
        DefinitionError: they are mixed, twice there, no events, or without a topic.
    """
    if not events:
        raise DefinitionError(f"{service}.on(): name an event's class, or a pattern such as 'shop.order.*'")
    if any(isinstance(event, Topic) for event in events):
        return _plain(events, topic, service)
    if any(isinstance(event, str) for event in events):
        return _patterns(events, topic, service)
    if topic is not None:
        raise DefinitionError(
            f"{service}.on({_listed(events)}, topic=...): a class names its topic itself; topic= is for patterns"
        )
    topics: set[str] = set()
    for event in events:
        _check_class(event, Event, service)
        if (own := spec_of(event).topic) is None:
            raise DefinitionError(
                f"{service}.on({_listed(events)}): {name_of(event)} has no topic; give it topic='...'"
            )
        topics.add(own)
    _check_once([spec_of(event).type for event in events], events, service)
    return Reads(tuple(events), (), frozenset(topics))


def _plain(events: Sequence[Any], topic: str | Sequence[str] | None, service: str) -> Reads:
    if len(events) > 1 or topic is not None:
        raise DefinitionError(f"{service}.on({_listed(events)}): a Topic stands alone: write a handler for each")
    plain: Topic[Any] = events[0]
    model: Any = plain.codec.model
    return Reads((model,), (), frozenset({plain.name}), plain)


def _patterns(patterns: Sequence[Any], topic: str | Sequence[str] | None, service: str) -> Reads:
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise DefinitionError(
                f"{service}.on({_listed(patterns)}): classes and patterns do not mix: write a handler for each"
            )
        if not _PATTERN.fullmatch(pattern):
            raise DefinitionError(
                f"{service}.on({pattern!r}): a type is 1 to 200 visible ASCII characters, '*' for any text"
            )
    topics: list[Any] = [topic] if isinstance(topic, str) else list(topic or ())
    if not topics:
        raise DefinitionError(
            f"{service}.on({_listed(patterns)}): a pattern does not say where its events are: add topic='...'"
        )
    for one in topics:
        if not isinstance(one, str) or not _TOPIC.fullmatch(one):
            raise DefinitionError(f"{service}.on({_listed(patterns)}, topic={one!r}): that is not a name of a topic")
    _check_once(patterns, patterns, service)
    return Reads((), tuple(patterns), frozenset(topics))


def _check_class(message: Any, kind: type[Message], service: str) -> None:
    if not (isinstance(message, type) and issubclass(message, kind)):
        raise DefinitionError(
            f"service {service}: {name_of(message)} is no class of {kind.__name__}: "
            "write handles(<Command>) for commands, on(<Event>) for events"
        )


def _check_once(names: Sequence[str], given: Sequence[Any], service: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise DefinitionError(f"{service}.on({_listed(given)}): {name} is there twice; name it once")


def _listed(events: Sequence[Any]) -> str:
    return ", ".join(repr(event) if isinstance(event, str | Topic) else name_of(event) for event in events)
