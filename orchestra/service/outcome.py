"""Which records answer a command, and which does a handler emit? Pure.

Ids are derived from the effect, the handler and the position, so a repeated handler emits the same ids and whoever gets
them twice can drop the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

from pydantic import BaseModel

from orchestra.errors import DefinitionError
from orchestra.events.attributes import JSON, Value, format_time
from orchestra.events.cloudevents import STRUCTURED_HEADER, encode
from orchestra.events.envelope import Envelope
from orchestra.events.hops import HOPS, hops_of, next_hop
from orchestra.events.message import Event, Message, StepFailed, StepRefused, encode_data, record_key, spec_of
from orchestra.events.topic import Topic
from orchestra.ids import derived_id
from orchestra.transport.port import Outgoing

Topics = Callable[[str], str]
"""Declared topic -> topic on this cluster."""

M = TypeVar("M", bound=BaseModel)

_COPIED = ("flowid", "effectid")
_PLAIN_HEADER = ("content-type", JSON.encode())


@dataclass(frozen=True, slots=True)
class Emitted:
    """A message that left a handler, in the form that the effect ledger keeps: what is sent again is the same, byte for
    byte. ``topic`` is as declared; None for a reply that goes nowhere but to ``replyto``. ``is_whole``: ``data`` is a
    whole event in structured mode, which travels as it is, with its own id and source. ``is_plain``: it is for a topic
    that holds no CloudEvents."""

    type: str
    topic: str | None
    key: bytes | None
    data: bytes
    is_whole: bool = False
    is_plain: bool = False


def emitted(message: Message) -> Emitted:
    """The message in that form.

    Raises:
        EncodeError: it has no JSON form.
    """
    spec = spec_of(type(message))
    return Emitted(spec.type, spec.topic, record_key(message), encode_data(message))


def emitted_whole(event: Envelope, topic: str, key: str | None) -> Emitted:
    """Somebody else's event in that form.

    Raises:
        EncodeError: an attribute cannot be put on the wire.
    """
    _, value = encode(event, "structured")
    assert value is not None  # structured mode always has one
    return Emitted(event.type, topic, None if key is None else key.encode(), value, is_whole=True)


def emitted_plain(value: M, topic: Topic[M]) -> Emitted:
    """A value for a topic that holds no CloudEvents, in that form.

    Raises:
        DefinitionError: it is not of the topic's class.
        EncodeError: it has no JSON form.
    """
    model = topic.codec.model
    if not isinstance(value, model):
        raise DefinitionError(f"a {type(value).__qualname__} for {topic!r}, which holds {model.__qualname__}")
    return Emitted(topic.type, topic.name, topic.key_of(value), topic.codec.encode(value), is_plain=True)


@dataclass(frozen=True, slots=True)
class Cause:
    """What a handler's messages follow from.

    Attributes:
        event: the handled event.
        effect_id: of the handling.
        handler: its name.
        source: the CloudEvents source of what it emits.
        at: when the effect happened; the same when it is sent again.
        hop_limit: of what follows from the event.
    """

    event: Envelope
    effect_id: str
    handler: str
    source: str
    at: datetime
    hop_limit: int


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a handler: its outcome, if it answers a command, and what else it emitted, in order."""

    outcome: Emitted | None = None
    messages: Sequence[Emitted] = ()
    at: datetime | None = None
    """When, if that was before now: the ledger knows."""


def records(cause: Cause, result: Result, topics: Topics) -> list[Outgoing]:
    """Everything to publish for a result: the messages, then the answer.

    Raises:
        HopLimitError: they would be too far from what began it all.
    """
    out = [_message(cause, message, position, topics) for position, message in enumerate(result.messages)]
    if result.outcome is not None:
        # The type too: a rejection that was not kept and the reply of a later try are different messages.
        reply_id = derived_id(cause.effect_id, cause.handler, "reply", result.outcome.type)
        out.extend(_answer(cause, result.outcome, reply_id, topics))
    return out


def failed(cause: Cause, dead_letter_id: str, reason: str, error: str) -> list[Outgoing]:
    """The answer for a dead-lettered command: unknown whether done. Empty where nobody waits for one."""
    event = StepFailed(dead_letter_id=dead_letter_id, reason=reason, error=error[:1024])
    return _own_answer(cause, event, derived_id(cause.effect_id, cause.handler, "failed", dead_letter_id))


def refused(cause: Cause, reason: Literal["expired", "barred"]) -> list[Outgoing]:
    """The answer for a command that was not begun and never will be. Empty where nobody waits for one."""
    event = StepRefused(reason=reason, note=_NOTES[reason])
    return _own_answer(cause, event, derived_id(cause.effect_id, cause.handler, "refused"))


_NOTES = {"expired": "it came after its expirytime and was not begun", "barred": "its compensation came first"}


def _own_answer(cause: Cause, event: Event, answer_id: str) -> list[Outgoing]:
    extensions = cause.event.extensions
    if "replyto" not in extensions or "effectid" not in extensions:
        return []
    return _answer(cause, emitted(event), answer_id, str)


def _message(cause: Cause, message: Emitted, position: int, topics: Topics) -> Outgoing:
    assert message.topic is not None  # Context.publish and the return check saw to it
    hops = next_hop(cause.event, cause.hop_limit)
    if message.is_whole:
        return Outgoing(topics(message.topic), message.key, message.data, [STRUCTURED_HEADER])
    if message.is_plain:
        return Outgoing(topics(message.topic), message.key, message.data, [_PLAIN_HEADER])
    event_id = derived_id(cause.effect_id, cause.handler, position)
    return _record(cause, message, event_id, {HOPS: hops}, topics(message.topic), message.key, None)


def _answer(cause: Cause, answer: Emitted, answer_id: str, topics: Topics) -> list[Outgoing]:
    """A reply goes to ``replyto`` alone; without it to the reply's own topic; without that, nobody wants it."""
    command = cause.event
    reply_to = command.get("replyto")
    if reply_to is not None:
        copied = {name: value for name in _COPIED if (value := command.extensions.get(name)) is not None}
        if hops := hops_of(command):
            copied[HOPS] = hops
        flow = command.get("flowid")
        key = answer.key if flow is None else flow.encode()
        partition = command.extensions.get("replypartition")
        number = partition if isinstance(partition, int) and partition >= 0 else None
        return [_record(cause, answer, answer_id, copied, reply_to, key, number)]
    if answer.topic is not None:
        further: dict[str, Value] = {HOPS: next_hop(command, cause.hop_limit)}
        return [_record(cause, answer, answer_id, further, topics(answer.topic), answer.key, None)]
    return []


def _record(
    cause: Cause,
    message: Emitted,
    event_id: str,
    extensions: dict[str, Value],
    topic: str,
    key: bytes | None,
    partition: int | None,
) -> Outgoing:
    event = cause.event
    extensions["correlationid"] = event.extensions.get("correlationid", event.id)
    extensions["causationid"] = event.id
    for name in ("traceparent", "tracestate"):
        if (value := event.extensions.get(name)) is not None:
            extensions[name] = value
    envelope = Envelope(
        event_id, cause.source, message.type, None, format_time(cause.at), JSON, None, extensions, message.data
    )
    headers, value = encode(envelope)
    return Outgoing(topic, key, value, headers, partition)
