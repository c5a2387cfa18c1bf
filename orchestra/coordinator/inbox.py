"""What is a record of the inbox, and whose is it?

The router, operators and flows that call flows mark what they write with two headers. Everything else must be an
outcome: a CloudEvent that carries the ``effectid`` of the command it answers, from whatever language.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from orchestra.coordinator.record import Caller, Given, InputKind
from orchestra.errors import DecodeError
from orchestra.events.cloudevents import decode
from orchestra.events.envelope import Envelope
from orchestra.flows.decision import OPERATOR_REQUEST, OperatorRequest, instance_of_effect, split_instance_id
from orchestra.transport.partitioner import partition_for
from orchestra.transport.port import Headers, Record

INPUT = "orchestra-input"
INSTANCE = "orchestra-instance"
CALLER = "orchestra-caller"
"""On a start event: a program waits for the end of the instance that it starts. See :func:`caller_of`."""
OPERATOR = OPERATOR_REQUEST

Reason = Literal["DECODE", "CONTRACT", "UNKNOWN_INSTANCE", "PARKED_FULL"]

_REQUEST = TypeAdapter(OperatorRequest)
_CALLER = TypeAdapter(tuple[str, str, str, int])


@dataclass(frozen=True, slots=True)
class Deflected:
    """An inbox record that becomes no instance's input here. It must be stored elsewhere before the position passes it.

    ``partition``: the shard that it belongs to; None: it belongs to nobody, and goes to the dead letters.
    """

    reason: Reason
    note: str
    partition: int | None = None


def classify(record: Record, *, partitions: int) -> tuple[str, Given] | Deflected:
    """The instance that a record of the inbox is for, and the input that it is."""
    try:
        instance, given = _read(record)
    except DecodeError as error:
        reason: Reason = "CONTRACT" if error.attribute in _OURS else "DECODE"
        return Deflected(reason, str(error))
    owner = _owner(instance, partitions)
    if owner != record.partition:
        return Deflected("CONTRACT", f"{instance} is of shard {owner}", partition=owner)
    return instance, given


@lru_cache(maxsize=8192)
def _owner(instance: str, partitions: int) -> int:
    return partition_for(instance.encode(), partitions)


_OURS = ("effectid", "data", INPUT, INSTANCE)


def _read(record: Record) -> tuple[str, Given]:
    kind = record.header(INPUT)
    event = decode(record.headers, record.value)
    if kind is None:
        return _instance_of_outcome(event), _given("outcome", record, event)
    if kind == b"start":
        return _instance(record), _given("start", record, event)
    if kind == b"event":
        return _instance(record), _given("event", record, event)
    if kind == b"operator":
        operator_request(event)
        return _instance(record), _given("operator", record, event)
    raise DecodeError(INPUT, f"{kind[:64]!r} is no kind of input")


def _given(kind: InputKind, record: Record, event: Envelope) -> Given:
    return Given(
        kind, record.offset, tuple(record.headers), record.value, record.key, record.timestamp_ms, event_=event
    )


def _instance(record: Record) -> str:
    raw = record.header(INSTANCE)
    try:
        instance = (raw or b"").decode()
        split_instance_id(instance)
    except ValueError:
        raise DecodeError(INSTANCE, f"{(raw or b'')[:64]!r} is not an instance id") from None
    return instance


def _instance_of_outcome(event: Envelope) -> str:
    effect = event.get("effectid")
    if effect is None:
        raise DecodeError("effectid", "is missing: this answers no command")
    try:
        instance = instance_of_effect(effect)
        split_instance_id(instance)
    except ValueError:
        raise DecodeError("effectid", f"{effect[:64]!r} is not an effect id") from None
    return instance


def caller_header(flow: str, caller: Caller) -> tuple[str, bytes]:
    """What a program puts on a start event, to be told how the instance of ``flow`` ends."""
    return CALLER, to_json([flow, *caller])


def caller_of(headers: Headers, flow: str) -> Caller | None:
    """Who waits for the end of this flow's instance. What cannot be read is nobody: the event itself is good."""
    raw = dict(headers).get(CALLER)
    if raw is None:
        return None
    try:
        wanted, effect_id, topic, partition = _CALLER.validate_json(raw)
    except ValidationError:
        return None
    return Caller(effect_id, topic, partition) if wanted == flow else None


def operator_request(event: Envelope) -> OperatorRequest:
    """What an operator asks for. Raises DecodeError."""
    try:
        return _REQUEST.validate_json(event.data or b"", strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DecodeError("data", f"not an operator's request: {place}: {first['msg']}") from error
