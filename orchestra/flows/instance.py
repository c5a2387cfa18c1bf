"""What does one run of a flow know about itself? Its state, to and from compact JSON.

The state is appended at every step, so keys are short, and what can be derived from the definition or the instance id
is left out. Times are microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeVar, cast

from orchestra.errors import DecodeError
from orchestra.events.attributes import canonical
from orchestra.events.envelope import Envelope
from orchestra.events.message import Message, decode_data
from orchestra.flows.decision import Json, Status
from orchestra.flows.failure import Cause

M = TypeVar("M", bound=Message)

FORMAT = 1
"""Of the state. A reader of a newer orchestra must still take it."""


class Progress(StrEnum):
    """How far a node is, whatever kind of node it is."""

    ACTIVE = "active"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Undoing(StrEnum):
    """How far the undoing of a node is."""

    NONE = "none"
    PLANNED = "planned"
    ACTIVE = "active"
    STUCK = "stuck"
    FINISHED = "finished"


class NodeState(Protocol):
    """The state of a node that has begun. Each behaviour has its own class."""

    @property
    def progress(self) -> Progress: ...
    @property
    def undoing(self) -> Undoing: ...
    def dump(self) -> Json: ...


class Recorded:
    """A message that came in, as its text came: the type, and the data as JSON text."""

    __slots__ = ("_value", "data", "type")

    def __init__(self, type: str, data: str | None, value: Message | None = None) -> None:  # noqa: A002
        self.type = type
        self.data = data
        self._value = value

    @classmethod
    def of(cls, event: Envelope, value: Message | None = None) -> Recorded:
        return cls(event.type, text_of(event.data), value)

    def value(self, cls: type[M]) -> M:
        """The typed message, decoded once. Raises DecodeError where the class has changed beyond it."""
        if not isinstance(self._value, cls):
            self._value = decode_data(cls, None if self.data is None else self.data.encode())
        return self._value

    def dump(self) -> list[object]:
        return [self.type, self.data]

    @classmethod
    def load(cls, raw: object) -> Recorded:
        kind, data = cast("list[Any]", raw)
        return cls(kind, data)


def text_of(data: bytes | None) -> str | None:
    """JSON data as text. Raises DecodeError where it is not UTF-8."""
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        raise DecodeError("data", "is not UTF-8") from None


@dataclass(slots=True)
class FailureState:
    """Why the flow fails: of the step that failed first, or of whoever cancelled."""

    step: str | None
    cause: Cause
    reason: str
    dead_letter_id: str | None = None

    def dump(self) -> Json:
        raw: Json = {"n": self.step, "c": self.cause.value, "r": self.reason}
        if self.dead_letter_id:
            raw["d"] = self.dead_letter_id
        return raw

    @classmethod
    def load(cls, raw: Mapping[str, Any]) -> FailureState:
        return cls(raw["n"], Cause(raw["c"]), raw["r"], raw.get("d"))


@dataclass(slots=True)
class Instance:
    """One run of a flow."""

    id: str
    run: int
    started: int
    start: Envelope
    status: Status = Status.RUNNING
    generation: int = 0
    """Of the newest timer."""
    nodes: dict[str, NodeState] = field(default_factory=dict[str, NodeState])
    failure: FailureState | None = None
    frozen: bool = False
    """The compensation plan is made: it holds the nodes whose undoing is not NONE."""
    announced: bool = False
    """What the flow publishes when it is over is decided."""
    ended: int | None = None

    def progress(self, name: str) -> Progress | None:
        """None for a node that has not begun."""
        state = self.nodes.get(name)
        return None if state is None else state.progress

    def undoing(self, name: str) -> Undoing:
        state = self.nodes.get(name)
        return Undoing.NONE if state is None else state.undoing

    def is_draining(self) -> bool:
        """It fails, and what is under way is awaited before anything is undone."""
        return self.status is Status.COMPENSATING and not self.frozen

    def next_generation(self) -> int:
        self.generation += 1
        return self.generation

    def dump(self) -> Json:
        raw: Json = {
            "format": FORMAT,
            "id": self.id,
            "run": self.run,
            "at": self.started,
            "status": self.status.value,
            "gen": self.generation,
            "event": _dump_event(self.start),
            "nodes": {name: state.dump() for name, state in self.nodes.items()},
        }
        if self.failure:
            raw["failure"] = self.failure.dump()
        for name, value in (("frozen", self.frozen), ("announced", self.announced), ("end", self.ended)):
            if value:
                raw[name] = value
        return raw


def load_instance(state: Mapping[str, Any], load_node: Callable[[str, Mapping[str, Any]], NodeState]) -> Instance:
    """The instance that ``dump`` made this state of."""
    return Instance(
        id=state["id"],
        run=state["run"],
        started=state["at"],
        start=_load_event(state["event"]),
        status=Status(state["status"]),
        generation=state["gen"],
        nodes={name: load_node(name, raw) for name, raw in state["nodes"].items()},
        failure=FailureState.load(state["failure"]) if "failure" in state else None,
        frozen=state.get("frozen", False),
        announced=state.get("announced", False),
        ended=state.get("end"),
    )


def load_start(state: Mapping[str, Any]) -> Envelope:
    """The start event alone."""
    return _load_event(state["event"])


_ATTRIBUTES = ("id", "source", "type", "subject", "time_text", "datacontenttype", "dataschema")


def _dump_event(event: Envelope) -> Json:
    raw: Json = {name: value for name in _ATTRIBUTES if (value := getattr(event, name)) is not None}
    if event.extensions:
        raw["extensions"] = {name: canonical(value) for name, value in event.extensions.items()}
    if event.data is not None:
        raw["data"] = text_of(event.data)
    return raw


def _load_event(raw: Mapping[str, Any]) -> Envelope:
    data = raw.get("data")
    attributes = {name: value for name, value in raw.items() if name != "data"}
    return Envelope(**attributes, data=None if data is None else data.encode())


def names(instance: Instance, *wanted: Progress) -> Iterable[str]:
    """The nodes that are this far."""
    return [name for name, state in instance.nodes.items() if state.progress in wanted]
