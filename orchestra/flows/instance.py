"""What does one run of a flow know about itself? Its state, to and from compact JSON.

The state is appended at every step, so keys are short, and what can be derived from the definition or the instance id
is left out. Times are microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, cast

from orchestra.errors import DecodeError
from orchestra.events.attributes import canonical
from orchestra.events.envelope import Envelope
from orchestra.events.message import Message, decode_data
from orchestra.flows.decision import Json, Status
from orchestra.flows.failure import Cause
from orchestra.flows.progress import OVER, Progress, Undoing, is_under_way, progress_in, undoing_in
from orchestra.flows.stored import LARGE_BYTES, Stored, decode_parts

M = TypeVar("M", bound=Message)
S = TypeVar("S", bound="NodeState")

START = "start"
"""Where a large start event is stored; no node has this name."""
FORMAT = 1
"""Of the state. A reader of a newer orchestra must still take it."""


class NodeState(Protocol):
    """The state of a node that has begun. Each behaviour has its own class."""

    @property
    def progress(self) -> Progress: ...
    @property
    def undoing(self) -> Undoing: ...
    def dump(self) -> Json: ...


class Recorded:
    """A message that came in, as its text came: the type, and the data as JSON text, or where that is stored."""

    __slots__ = ("_value", "data", "place", "type")

    def __init__(self, type: str, data: str | None, value: Message | None = None) -> None:  # noqa: A002
        self.type = type
        self.data = data
        self.place: tuple[str, int] | None = None
        self._value = value

    @classmethod
    def of(cls, event: Envelope, value: Message | None = None) -> Recorded:
        return cls(event.type, text_of(event.data), value)

    def put_aside(self, stored: Stored, name: str) -> None:
        """Its data goes beside the record, under a name that is used once."""
        if self.data is not None:
            self.place = name, stored.put_parts(name, self.data.encode())
            self.data = None

    def value(self, cls: type[M], stored: Stored) -> M:
        """The typed message, decoded once. Raises DecodeError where the class has changed beyond it."""
        if isinstance(self._value, cls):
            return self._value
        if self.place is not None:
            self._value = decode_parts(cls, stored.parts(*self.place))
        else:
            self._value = decode_data(cls, None if self.data is None else self.data.encode())
        return self._value

    def dump(self) -> list[object]:
        return [self.type, self.data] if self.place is None else [self.type, None, *self.place]

    @classmethod
    def load(cls, raw: object) -> Recorded:
        kind, data, *place = cast("list[Any]", raw)
        recorded = cls(kind, data)
        if place:
            recorded.place = place[0], place[1]
        return recorded


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


class Nodes(Generic[S]):
    """The nodes that have begun, in the order in which they did. One is decoded when somebody asks for it: what a
    decision costs grows with what it touches."""

    __slots__ = ("_live", "_load", "_raw")

    def __init__(self, raw: Mapping[str, Json], load: Callable[[str, Mapping[str, Any]], S]) -> None:
        self._raw: dict[str, Json] = dict(raw)
        self._live: dict[str, S] = {}
        self._load = load

    def __contains__(self, name: object) -> bool:
        return name in self._raw

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._raw))

    def __getitem__(self, name: str) -> S:
        live = self._live.get(name)
        if live is None:
            live = self._live[name] = self._load(name, self._raw[name])
        return live

    def __len__(self) -> int:
        return len(self._raw)

    def __delitem__(self, name: str) -> None:
        del self._raw[name]
        self._live.pop(name, None)

    def __setitem__(self, name: str, state: S) -> None:
        self._raw.setdefault(name, {})
        self._live[name] = state

    def get(self, name: str) -> S | None:
        return self[name] if name in self._raw else None

    def progress(self, name: str) -> Progress | None:
        """None for a node that has not begun."""
        if (live := self._live.get(name)) is not None:
            return live.progress
        raw = self._raw.get(name)
        return None if raw is None else progress_in(raw)

    def undoing(self, name: str) -> Undoing:
        if (live := self._live.get(name)) is not None:
            return live.undoing
        raw = self._raw.get(name)
        return Undoing.NONE if raw is None else undoing_in(raw)

    def under_way(self) -> list[str]:
        """Those that are active, or whose undoing is."""
        live, found = self._live, list[str]()
        for name, raw in self._raw.items():
            if (state := live.get(name)) is None:
                if is_under_way(raw):
                    found.append(name)
            elif state.progress is Progress.ACTIVE or state.undoing not in OVER:
                found.append(name)
        return found

    def dump(self) -> dict[str, Json]:
        live = self._live
        return {name: live[name].dump() if name in live else raw for name, raw in self._raw.items()}


def _unborn(name: str, raw: Mapping[str, Any]) -> NodeState:
    raise KeyError(name)


@dataclass(slots=True)
class Started:
    """What every run has, of whatever definition. Times are microseconds since 1970."""

    id: str
    run: int
    started: int
    start_raw: Json
    """The start event as the state holds it."""

    @property
    def start(self) -> Envelope:
        """The event that started it. Made anew at each call."""
        return load_event(self.start_raw)

    def start_value(self, cls: type[M]) -> M:
        """Its typed data. Raises DecodeError."""
        data = self.start_raw.get("data")
        return decode_data(cls, data.encode() if isinstance(data, str) else None)

    def started_with(self, extension: str) -> str | None:
        """An extension of the event that started it."""
        found: Mapping[str, str] | None = self.start_raw.get("extensions")  # type: ignore[assignment]  # as dumped
        return None if found is None else found.get(extension)


@dataclass(slots=True)
class Instance(Started):
    """One run of a flow."""

    status: Status = Status.RUNNING
    generation: int = 0
    """Of the newest timer."""
    nodes: Nodes[NodeState] = field(default_factory=lambda: Nodes({}, _unborn))
    stored: Stored = field(default_factory=Stored)
    failing: set[str] = field(default_factory=set[str])
    """Nodes of which a part has failed, while other parts are awaited. Of this decision only: the nodes know it."""
    failure: FailureState | None = None
    frozen: bool = False
    """The compensation plan is made: it holds the nodes whose undoing is not NONE."""
    lost: list[str] = field(default_factory=list[str])
    """Nodes of branches that failed, or lost to another, while the flow goes on: let go of, and undone."""
    early: dict[str, list[Json]] = field(default_factory=dict[str, list[Json]])
    """Events that came before the wait that they are for."""
    overdue: bool = False
    """The flow's deadline has passed, and somebody was told."""
    recalled: bool = False
    """Whoever called the flow has asked for its undoing."""
    announced: bool = False
    """What the flow publishes when it is over is decided."""
    ended: int | None = None

    @property
    def start(self) -> Envelope:
        return load_event(self.start_raw, self.stored)

    def start_value(self, cls: type[M]) -> M:
        count = self.start_raw.get("parts")
        if not isinstance(count, int):
            return Started.start_value(self, cls)
        return decode_parts(cls, self.stored.parts(START, count))

    def progress(self, name: str) -> Progress | None:
        """None for a node that has not begun."""
        return self.nodes.progress(name)

    def undoing(self, name: str) -> Undoing:
        return self.nodes.undoing(name)

    def is_draining(self) -> bool:
        """It fails, and what is under way is awaited before anything is undone."""
        return self.status is Status.COMPENSATING and not self.frozen

    def lets_go(self, name: str) -> bool:
        """Whether nothing more is to be tried for this node: the flow fails, or the node's branch did."""
        return self.is_draining() or name in self.lost or name in self.failing

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
            "event": self.start_raw,
            "nodes": self.nodes.dump(),
        }
        if self.failure:
            raw["failure"] = self.failure.dump()
        for key, name in _OPTIONAL:
            if value := getattr(self, name):
                raw[key] = value
        return raw

    @classmethod
    def begun(cls, event: Envelope, *, id: str, run: int, now: int, load: Load) -> Instance:  # noqa: A002
        """A new one. A large start event stands beside its record."""
        instance = cls(id=id, run=run, started=now, start_raw={}, nodes=Nodes({}, load))
        is_large = event.data is not None and len(event.data) > LARGE_BYTES
        instance.start_raw = dump_event(event, instance.stored if is_large else None)
        return instance

    @classmethod
    def load(cls, state: Mapping[str, Any], load: Load) -> Instance:
        """The instance that ``dump`` made this state of."""
        instance = cls(
            id=state["id"],
            run=state["run"],
            started=state["at"],
            start_raw=state["event"],
            status=Status(state["status"]),
            generation=state["gen"],
            nodes=Nodes(state["nodes"], load),
            failure=FailureState.load(state["failure"]) if "failure" in state else None,
            frozen=state.get("frozen", False),
            overdue=state.get("overdue", False),
            recalled=state.get("recalled", False),
            announced=state.get("announced", False),
            ended=state.get("end"),
        )
        if "lost" in state:
            instance.lost = list(state["lost"])
        if "early" in state:
            instance.early = {name: list(events) for name, events in state["early"].items()}
        return instance


def load_start(state: Mapping[str, Any], stored: Stored | None = None) -> Envelope:
    """The start event alone."""
    return load_event(state["event"], stored)


Load = Callable[[str, Mapping[str, Any]], NodeState]
"""Decodes the state of a node by its name."""

_OPTIONAL = (
    ("frozen", "frozen"),
    ("lost", "lost"),
    ("early", "early"),
    ("overdue", "overdue"),
    ("recalled", "recalled"),
    ("announced", "announced"),
    ("end", "ended"),
)
_ATTRIBUTES = ("id", "source", "type", "subject", "time_text", "datacontenttype", "dataschema")


def dump_event(event: Envelope, stored: Stored | None = None) -> Json:
    """An event as JSON, within a state. Where ``stored`` is given, its data goes there."""
    raw: Json = {name: value for name in _ATTRIBUTES if (value := getattr(event, name)) is not None}
    if event.extensions:
        raw["extensions"] = {name: canonical(value) for name, value in event.extensions.items()}
    if event.data is not None and stored is not None:
        raw["parts"] = stored.put_parts(START, event.data)
    elif event.data is not None:
        raw["data"] = text_of(event.data)
    return raw


def load_event(raw: Mapping[str, Any], stored: Stored | None = None) -> Envelope:
    """The event that :func:`dump_event` wrote."""
    data = raw.get("data")
    attributes = {name: value for name, value in raw.items() if name not in ("data", "parts")}
    if stored is not None and "parts" in raw:
        return Envelope(**attributes, data=b"".join(stored.parts(START, raw["parts"])))
    return Envelope(**attributes, data=None if data is None else data.encode())


def names(instance: Instance, *wanted: Progress) -> list[str]:
    """The nodes that are this far."""
    return [name for name in instance.nodes if instance.nodes.progress(name) in wanted]
