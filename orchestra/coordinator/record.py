"""What stands in a record of the state topic?

The value is an envelope around the flow's state that any process can read and carry on, also one that lacks the
flow's version: one line of JSON for the instance, and one for its outbox, which is needed once and not kept in memory.
The headers hold what a restore needs without parsing a value: where the shard stood when it wrote.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from pydantic_core import from_json, to_json

from orchestra.events.cloudevents import decode
from orchestra.events.envelope import Envelope
from orchestra.flows.decision import EmissionKind, Json, StepView, Timer
from orchestra.transport.port import Headers

FORMAT = 1

RESERVED = "!"
"""Keys of the state topic that begin so are the shard's own and no instance's."""
POSITION = "!position"
VERSIONS = "!versions"
CLAIM = "!claim/"
"""Before a producer id. A key for each, so that compaction keeps the trace of an id that was not shut out yet."""

VALUE = "!value/"
"""Before ``<instance>/<run>/<name>``: a value that stands beside its instance's record."""

QUEUED = "queued"
PARKED = "parked"
EARLY = "early"
"""Events for it came before its start, and are kept for a while."""
EXPIRED = "expired"
"""They were, and no start came: it never was an instance, and is forgotten as soon as it can be."""

Why = Literal["version", "raised", "too_large"]


InputKind = Literal["start", "outcome", "event", "operator", "timer"]


class Ref(NamedTuple):
    """What a message is known by in its shard: the instance, the version that introduced it, its place in there."""

    instance: str
    n: int
    place: int


class OutboxMessage(NamedTuple):
    """A message as it will be sent, byte for byte the same whenever and by whomever.

    ``first``: the offset of the record that introduced it, where that is an earlier one than it stands in.
    """

    ref: Ref
    id: str
    kind: EmissionKind | Literal["journal", "alert", "dead-letter"]
    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    partition: int | None = None
    timestamp_ms: int | None = None
    first: int | None = None


class Given(NamedTuple):
    """One input of an instance, as it came: kept with the instance where it must wait.

    ``offset``: of the inbox record; None for a timer. ``omitted``: too large to be kept; the inbox still has it.
    """

    kind: InputKind
    offset: int | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    value: bytes | None = None
    key: bytes | None = None
    time_ms: int = 0
    timer: tuple[str, int] | None = None
    omitted: bool = False
    event_: Envelope | None = None

    @property
    def event(self) -> Envelope:
        """Raises DecodeError where the bytes are no event."""
        return self.event_ if self.event_ is not None else decode(self.headers, self.value)

    @property
    def size(self) -> int:
        value = len(self.value) if self.value is not None else 0
        return value + sum(len(name) + len(text or b"") for name, text in self.headers)


@dataclass(frozen=True, slots=True)
class Parked:
    """Why an instance's inputs wait for somebody."""

    why: Why
    note: str
    since: datetime


class Caller(NamedTuple):
    """A program that waits for the instance's end: ``bus.run``. Its answer carries ``effect_id``."""

    effect_id: str
    topic: str
    partition: int


@dataclass(slots=True)
class Instance:
    """An instance as the coordinator knows it, decoded for one decision. ``state`` is the flow's own, and opaque here.

    ``n`` counts its records. ``version`` None: no process that knows the flow has seen it yet. ``inputs`` wait, in
    order: for a free place (queued), for their start (early), or for a version or an operator (parked). A finished one
    has no state any more, unless a flow called it and may want it undone. ``called``: the effect id of the flow's step
    that called it. ``began``: the id of its start event, where its flow listens to events of that type as well.
    ``failed``: why it failed, if it did. ``callers``: programs that wait for its end.
    ``values`` are what the run has stored beside the record; they are no part of it.
    """

    id: str
    flow: str
    version: int | None
    run: int
    n: int
    status: str
    start: str
    begun: datetime
    digest: str = ""
    state: Json | None = None
    timers: tuple[Timer, ...] = ()
    inputs: tuple[Given, ...] = ()
    parked: Parked | None = None
    finished: datetime | None = None
    result: Json | None = None
    values: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    called: str = ""
    began: str = ""
    failed: str = ""
    callers: tuple[Caller, ...] = ()

    @property
    def is_unborn(self) -> bool:
        """Whether no start has come for it."""
        return self.status in (EARLY, EXPIRED) and self.parked is None

    @property
    def label(self) -> str:
        """Its status for lists: ``parked`` and ``queued`` beside those of the flow."""
        return PARKED if self.parked is not None else self.status


def finished_steps(instance: Instance) -> list[StepView]:
    """The steps of a finished instance, as it is remembered."""
    steps: list[dict[str, Any]] = (instance.result or {}).get("steps", [])  # type: ignore[assignment]  # as we wrote it
    return [StepView(**step) for step in steps]


class Marks(NamedTuple):
    """What the headers of a record say about its shard, when the record was decided."""

    position: int
    emitted: int
    producer_id: int
    claim: int
    now: datetime
    due: datetime | None = None
    status: str | None = None
    flow: str | None = None


def value_key(instance: str, run: int, name: str) -> str:
    """The key of a value's record."""
    return f"{VALUE}{instance}/{run}/{name}"


def split_value_key(key: str) -> tuple[str, int, str]:
    """Instance, run and name of a value. Raises ValueError."""
    flow, business_key, run, name = key.removeprefix(VALUE).split("/", 3)
    return f"{flow}/{business_key}", int(run), name


# ---- headers


def to_headers(marks: Marks) -> list[tuple[str, bytes]]:
    """The headers of a record of the state topic."""
    headers = [
        ("orchestra-position", b"%d" % marks.position),
        ("orchestra-emitted", b"%d" % marks.emitted),
        ("orchestra-claim", b"%d/%d" % (marks.producer_id, marks.claim)),
        ("orchestra-now", marks.now.isoformat().encode()),
    ]
    if marks.due is not None:
        headers.append(("orchestra-due", marks.due.isoformat().encode()))
    if marks.status is not None:
        headers.append(("orchestra-status", marks.status.encode()))
    if marks.flow is not None:
        headers.append(("orchestra-flow", marks.flow.encode()))
    return headers


def from_headers(headers: Headers) -> Marks:
    """The marks of a record. Raises ValueError where they are not all there: no owner wrote that record."""
    raw = dict(headers)
    try:
        producer_id, _, claim = _text(raw, "claim").partition("/")
        return Marks(
            position=int(_text(raw, "position")),
            emitted=int(_text(raw, "emitted")),
            producer_id=int(producer_id),
            claim=int(claim),
            now=datetime.fromisoformat(_text(raw, "now")),
            due=datetime.fromisoformat(_text(raw, "due")) if "orchestra-due" in raw else None,
            status=_text(raw, "status") if "orchestra-status" in raw else None,
            flow=_text(raw, "flow") if "orchestra-flow" in raw else None,
        )
    except KeyError as error:
        raise ValueError(f"the header {error} is missing") from None


def _text(raw: dict[str, bytes | None], name: str) -> str:
    return (raw[f"orchestra-{name}"] or b"").decode()


# ---- values


def encode_instance(instance: Instance) -> bytes:
    """The first line of the instance's record."""
    value: dict[str, object] = {
        "format": FORMAT,
        "flow": instance.flow,
        "version": instance.version,
        "run": instance.run,
        "n": instance.n,
        "status": instance.status,
        "start": instance.start,
        "begun": instance.begun.isoformat(),
    }
    for name in ("digest", "result", "called", "began", "failed"):
        if (told := getattr(instance, name)) not in ("", None):
            value[name] = told
    if instance.state is not None:
        value["state"] = instance.state
    if instance.timers:
        value["timers"] = [_from_timer(timer) for timer in instance.timers]
    if instance.inputs:
        value["inputs"] = [from_given(given) for given in instance.inputs]
    if instance.parked is not None:
        value["parked"] = {
            "why": instance.parked.why,
            "note": instance.parked.note,
            "since": instance.parked.since.isoformat(),
        }
    if instance.finished is not None:
        value["finished"] = instance.finished.isoformat()
    if instance.callers:
        value["callers"] = [list(caller) for caller in instance.callers]
    return to_json(value)


def with_outbox(instance: bytes, outbox: Iterable[OutboxMessage]) -> bytes:
    """The whole value of the record, with the messages that are decided and not yet known to be sent."""
    messages = [_from_message(message) for message in outbox]
    return b"%b\n%b" % (instance, to_json(messages)) if messages else instance


def without_outbox(value: bytes) -> bytes:
    """The first line of a record."""
    return value.partition(b"\n")[0]


def decode_instance(key: str, value: bytes) -> Instance:
    """The instance in a record, without its outbox. Raises ValueError for what is none, or of a later format."""
    raw: Any = from_json(without_outbox(value))
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise ValueError(f"not a state record of format {FORMAT}; a newer orchestra may have written it")
    parked = raw.get("parked")
    finished = raw.get("finished")
    return Instance(
        id=key,
        flow=raw["flow"],
        version=raw["version"],
        run=raw["run"],
        n=raw["n"],
        status=raw["status"],
        start=raw["start"],
        begun=datetime.fromisoformat(raw["begun"]),
        digest=raw.get("digest", ""),
        state=raw.get("state"),
        timers=tuple(_to_timer(timer) for timer in raw.get("timers", ())),
        inputs=tuple(to_given(given) for given in raw.get("inputs", ())),
        parked=parked and Parked(parked["why"], parked["note"], datetime.fromisoformat(parked["since"])),
        finished=finished and datetime.fromisoformat(finished),
        result=raw.get("result"),
        called=raw.get("called", ""),
        began=raw.get("began", ""),
        failed=raw.get("failed", ""),
        callers=tuple(Caller(*caller) for caller in raw.get("callers", ())),
    )


def decode_outbox(key: str, value: bytes) -> tuple[OutboxMessage, ...]:
    """The messages that were not known to be sent when the record was written, in order."""
    outbox = value.partition(b"\n")[2]
    return tuple(_to_message(key, message) for message in from_json(outbox)) if outbox else ()


def _from_timer(timer: Timer) -> dict[str, object]:
    due = timer.due.isoformat() if timer.due is not None else None
    return {"name": timer.name, "generation": timer.generation, "due": due, "after": timer.after, "delay": timer.delay}


def _to_timer(raw: dict[str, Any]) -> Timer:
    due = datetime.fromisoformat(raw["due"]) if raw["due"] else None
    return Timer(raw["name"], raw["generation"], due, raw["after"], raw["delay"])


def _from_message(message: OutboxMessage) -> dict[str, object]:
    return {
        "n": message.ref.n,
        "place": message.ref.place,
        "first": message.first,
        "id": message.id,
        "kind": message.kind,
        "topic": message.topic,
        "partition": message.partition,
        "timestamp_ms": message.timestamp_ms,
        "key": from_bytes(message.key),
        "headers": _from_pairs(message.headers),
        "value": from_bytes(message.value),
    }


def _to_message(key: str, raw: dict[str, Any]) -> OutboxMessage:
    return OutboxMessage(
        ref=Ref(key, raw["n"], raw["place"]),
        id=raw["id"],
        kind=raw["kind"],
        topic=raw["topic"],
        key=to_bytes(raw["key"]),
        value=to_bytes(raw["value"]),
        headers=_to_pairs(raw["headers"]),
        partition=raw["partition"],
        timestamp_ms=raw["timestamp_ms"],
        first=raw["first"],
    )


def from_given(given: Given) -> dict[str, object]:
    """An input as JSON: in an instance's record, and in the journal."""
    if given.timer is not None:
        return {"kind": given.kind, "timer": list(given.timer)}
    if given.omitted:
        return {"kind": given.kind, "offset": given.offset, "time_ms": given.time_ms, "omitted": True}
    return {
        "kind": given.kind,
        "offset": given.offset,
        "time_ms": given.time_ms,
        "key": from_bytes(given.key),
        "headers": _from_pairs(given.headers),
        "value": from_bytes(given.value),
    }


def to_given(raw: dict[str, Any]) -> Given:
    """The input that :func:`from_given` wrote."""
    if "timer" in raw:
        name, generation = raw["timer"]
        return Given(raw["kind"], timer=(name, generation))
    if raw.get("omitted"):
        return Given(raw["kind"], raw["offset"], time_ms=raw["time_ms"], omitted=True)
    return Given(
        raw["kind"],
        raw["offset"],
        _to_pairs(raw["headers"]),
        to_bytes(raw["value"]),
        to_bytes(raw["key"]),
        raw["time_ms"],
    )


# ---- bytes within JSON: as text where they are text, so that a person can read a record


def from_bytes(raw: bytes | None) -> str | list[str] | None:
    """Bytes as a JSON value: text, or a list of one text in base64 where they are not UTF-8."""
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return [b64encode(raw).decode()]


def to_bytes(value: str | list[str] | None) -> bytes | None:
    """The bytes that :func:`from_bytes` wrote."""
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else b64decode(value[0])


def _from_pairs(headers: Sequence[tuple[str, bytes | None]]) -> list[list[object]]:
    try:  # nearly always: a dozen headers, three times for every input
        return [[name, None if value is None else value.decode()] for name, value in headers]
    except UnicodeDecodeError:
        return [[name, from_bytes(value)] for name, value in headers]


def _to_pairs(raw: list[Any]) -> tuple[tuple[str, bytes | None], ...]:
    return tuple((name, to_bytes(value)) for name, value in raw)
