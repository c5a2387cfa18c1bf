"""What has one decision done so far? A draft collects messages, journal lines and alerts while nodes advance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, Protocol, TypeVar

from orchestra.errors import DefinitionError
from orchestra.events.attributes import JSON, Value, format_time
from orchestra.events.envelope import Envelope, enclose
from orchestra.events.hops import HOPS, hops_in, hops_of
from orchestra.events.message import Command, Event, Message, StepCancel, record_key, spec_of
from orchestra.flows.decision import (
    OPERATOR_REQUEST,
    Alert,
    Emission,
    Input,
    JournalLine,
    Json,
    Occurred,
    Outcome,
    Status,
    effect_id,
    instance_id,
    undo_of_effect,
)
from orchestra.flows.effect import Effect, Phase, message_id
from orchestra.flows.failure import Cause
from orchestra.flows.graph import EndPart, Graph
from orchestra.flows.instance import FailureState, Instance, Recorded
from orchestra.flows.stored import LARGE_BYTES
from orchestra.flows.timer import from_micros, to_micros
from orchestra.ids import derived_id


def hops_after(given: Input, otherwise: int) -> int:
    """The hop count of what a flow sends because of an input; ``otherwise``: where an answer brings none.

    A flow is one hop, however many steps it has: an answer brings back its command's count. An event from outside is
    one more. A timer or a person begins to count anew: what waits for time, or for people, is no storm.
    """
    match given:
        case Outcome():
            return hops_of(given.event) or otherwise
        case Occurred():
            return hops_of(given.event) + 1
        case _:
            return 1


class Defined(Protocol):
    """What a draft must know about a definition."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def label(self) -> str: ...
    @property
    def owner(self) -> type: ...
    @property
    def starts(self) -> Mapping[str, type[Event]]: ...


class Begun(Protocol):
    """What a draft must know about an instance."""

    @property
    def id(self) -> str: ...
    @property
    def run(self) -> int: ...
    @property
    def start_raw(self) -> Json: ...
    def started_with(self, extension: str) -> str | None: ...
    def start_value(self, cls: type[M]) -> M: ...


M = TypeVar("M", bound=Message)
D = TypeVar("D", bound=Defined)
B = TypeVar("B", bound=Begun)


class AnyDraft(Generic[D, B]):
    """A decision in the making, about a flow of steps or a state machine. Lives for one call, in one thread."""

    def __init__(self, graph: D, instance: B, now: datetime) -> None:
        self.graph = graph
        self.instance = instance
        self.now = to_micros(now)
        self.moment = now
        self._moment: str | None = None
        self.cause: str | None = None
        """The id of the event, or of the unanswered message, that made this decision."""
        self.trace: Mapping[str, Value] | None = None
        """Extensions of the event that made this decision, where it is traced; None: the start event's count."""
        self.hops = hops_in(instance.started_with(HOPS)) + 1
        """How far what it sends is from what began it all."""
        self.messages: list[Emission] = []
        self.journal: list[JournalLine] = []
        self.alerts: list[Alert] = []
        self.changed = False

    def follow_trace(self, event: Envelope) -> None:
        """What follows belongs to the trace of this event, if it has one."""
        parent = event.get("traceparent")
        if parent is not None:
            state = event.get("tracestate")
            self.trace = {"traceparent": parent} if state is None else {"traceparent": parent, "tracestate": state}

    # ---- what it says

    def note(
        self, what: str, step: str | None = None, effect: Effect | None = None, phase: Phase = "action", note: str = ""
    ) -> None:
        """Something was done: the instance has changed, and the journal says how."""
        self.changed = True
        self._line(what, step, effect, phase, note)

    def ignore(self, what: str, step: str | None, effect: Effect | None, phase: Phase, note: str) -> None:
        """Something came and changed nothing; the journal says why."""
        self._line(what, step, effect, phase, note)

    def alert(self, code: str, step: str | None, note: str) -> None:
        self.alerts.append(Alert(code, step, note))

    def _line(self, what: str, step: str | None, effect: Effect | None, phase: Phase, note: str) -> None:
        of = None if effect is None or step is None else self.effect_id(step, phase, effect.iteration)
        attempt = effect.attempts if effect is not None and effect.attempts else None
        self.journal.append(JournalLine(what, step, of, attempt, note))

    # ---- the flow's own methods

    def flow(self, at: int | None) -> object:
        """An object of the flow's class for one call: it knows the recorded time and the start event."""
        instance, starts = self.instance, self.graph.starts

        def start() -> Event:
            return instance.start_value(starts[str(instance.start_raw["type"])])

        flow: object = object.__new__(self.graph.owner)
        flow.__dict__.update(now=self.moment if at is None else from_micros(at), _start=start)
        return flow

    # ---- messages

    def effect_id(self, step: str, phase: Phase, iteration: int) -> str:
        return effect_id(self.instance.id, self.instance.run, step, phase, iteration)

    def command(
        self, step: str, phase: Phase, effect: Effect, message: Command[Any, Any], *, expires_in: float | None
    ) -> None:
        """Send a command as try ``effect.attempts`` of an effect."""
        of, extensions = self._effect(step, phase, effect)
        if expires_in is not None:
            extensions["expirytime"] = format_time(self.moment + timedelta(seconds=expires_in))
        self._emit("command", message, message_id(of, effect.attempts), extensions)

    def cancel(self, step: str, effect: Effect, command: type[Message]) -> None:
        """Say that a command under way need not be done any more, if it has not been begun."""
        of, extensions = self._effect(step, "action", effect)
        spec = spec_of(command)
        event = self._composed(StepCancel(command=spec.type), derived_id(of, effect.attempts, "cancel"), extensions)
        assert spec.topic is not None  # the command has gone there
        assert effect.key is not None
        self.messages.append(Emission("cancel", spec.topic, effect.key.encode(), event))

    def call(self, step: str, effect: Effect, flow: str, start: Message) -> str:
        """Start another flow as try ``effect.attempts`` of an effect. Returns the id of its instance."""
        of, extensions = self._effect(step, "action", effect)
        child = instance_id(flow, (record_key(start) or b"").decode())
        event = self._composed(start, message_id(of, effect.attempts), extensions)
        self.messages.append(Emission("start", "", child.encode(), event))
        return child

    def ask(
        self, step: str, phase: Phase, effect: Effect, child: str, action: Literal["cancel", "undo"], why: str
    ) -> None:
        """Ask a flow that was called to stop, or to be undone."""
        of, extensions = self._effect(step, phase, effect)
        request = {"action": action, "by": f"flow {self.instance.id}", "reason": why}
        event = Envelope(
            id=derived_id(of, effect.attempts, action),
            source=self._source,
            type=OPERATOR_REQUEST,
            time_text=self._moment_text,
            datacontenttype=JSON,
            extensions=extensions,
            data=json.dumps(request).encode(),
        )
        self.messages.append(Emission("request", "", child.encode(), event))

    def answer(self, event: Event, phase: Phase = "action") -> None:
        """Tell whoever called this flow, if somebody did. ``phase``: "undo" answers that they asked for its undoing."""
        caller = self.caller
        if caller is None:
            return
        effect, topic, partition = caller
        of = undo_of_effect(effect) if phase == "undo" else effect
        extensions = self._extensions() | {"effectid": of, HOPS: hops_in(self.instance.started_with(HOPS))}
        if (theirs := self.instance.started_with("flowid")) is not None:
            extensions["flowid"] = theirs
        made = self._composed(event, derived_id(self.instance.id, self.instance.run, of), extensions)
        key = None if theirs is None else theirs.encode()
        self.messages.append(Emission("outcome", topic, key, made, partition))

    @property
    def caller(self) -> tuple[str, str, int] | None:
        """Effect id, topic and partition of whoever called this flow and waits for its end."""
        started_with = self.instance.started_with
        effect, topic, partition = started_with("effectid"), started_with("replyto"), started_with("replypartition")
        if effect is None or topic is None or partition is None or not partition.isdecimal():
            return None
        return effect, topic, int(partition)

    def _effect(self, step: str, phase: Phase, effect: Effect) -> tuple[str, dict[str, Value]]:
        of = self.effect_id(step, phase, effect.iteration)
        extensions = self._extensions()
        extensions |= {"flowstep": step, "flowphase": phase, "effectid": of}
        return of, extensions

    def _extensions(self) -> dict[str, Value]:
        start, started_with = str(self.instance.start_raw["id"]), self.instance.started_with
        extensions: dict[str, Value] = {
            "correlationid": started_with("correlationid") or start,
            "causationid": self.cause or start,
            "flowid": self.instance.id,
            "flowname": self.graph.name,
            "flowversion": str(self.graph.version),
            HOPS: self.hops,
        }
        for name in ("traceparent", "tracestate"):
            value = started_with(name) if self.trace is None else self.trace.get(name)
            if value is not None:
                extensions[name] = value
        return extensions

    def _emit(self, kind: Any, message: Message, id: str, extensions: Mapping[str, Value]) -> None:  # noqa: A002
        topic = spec_of(type(message)).topic
        if topic is None:
            raise DefinitionError(f"{type(message).__name__}: it has no topic, where would it go? Add topic=... to it")
        event = self._composed(message, id, extensions)
        self.messages.append(Emission(kind, topic, record_key(message), event))

    @property
    def _source(self) -> str:
        return f"/flows/{self.graph.name}"

    def _composed(self, message: Message, id: str, extensions: Mapping[str, Value]) -> Envelope:  # noqa: A002
        return enclose(message, id, self._source, self._moment_text, extensions)

    @property
    def _moment_text(self) -> str:
        if self._moment is None:
            self._moment = format_time(self.moment)
        return self._moment


def _no_needs(names: Sequence[str]) -> Callable[[], list[object]]:
    return list


class Draft(AnyDraft[Graph, Instance]):
    """A decision about a flow of steps in the making."""

    def __init__(self, graph: Graph, instance: Instance, now: datetime) -> None:
        super().__init__(graph, instance, now)
        self.touched: list[str] = []
        """Nodes that something was done to: what may follow, follows them."""
        self.is_busy = False
        """A node has begun in this decision that is not over at once."""
        self.is_retried = False
        """An operator wants the flow to go on."""
        self.rescan = False
        """Any node may follow."""
        self.values: Callable[[Sequence[str]], Callable[[], list[object]]] = _no_needs
        """What the named nodes have yielded, when somebody asks."""
        self.bears: Callable[[Cause, str, str | None], None] | None = None
        """Who takes a failure upon itself, while something is done for a part of a node."""

    def fail(self, step: str | None, cause: Cause, reason: str, dead_letter_id: str | None = None) -> None:
        """A node failed, or somebody cancelled. A join may take it upon itself; else the first failure is the flow's,
        and a flow that is no saga halts."""
        if self.bears is not None:
            self.bears(cause, reason, dead_letter_id)
            return
        if self.instance.failure is not None:
            return
        if step is not None and step in self.graph.guards:
            self.note("branch.failed", step, note=reason)
            return
        self.instance.failure = FailureState(step, cause, reason, dead_letter_id)
        undo = self.graph.saga or cause is Cause.CANCELLED
        self.instance.status = Status.COMPENSATING if undo else Status.HALTED
        self.note("flow.failed", step, note=reason)
        if not undo:
            self.alert("flow.halted", step, f"{reason}; an operator must retry it, or cancel the flow")

    def record(self, name: str, event: Envelope, value: Message) -> Recorded:
        """What came in, for the state. Large data goes beside the record, under a name that is used once; that of one
        of many items goes there with all else about the item."""
        recorded = Recorded.of(event, value)
        if self.bears is None and event.data is not None and len(event.data) > LARGE_BYTES:
            recorded.put_aside(self.instance.stored, name)
        return recorded

    def ending(self, name: str, end: EndPart, given: Sequence[object]) -> Sequence[Event]:
        """Publish what the flow says when it is over. Returns it."""
        made = end.make(self.flow(None), *given)
        events: Sequence[Event] = () if made is None else (made,) if isinstance(made, Event) else tuple(made)
        for position, event in enumerate(events):
            if type(event) not in end.events:
                raise _wrong(f"{self.graph.label}.{end.label}", event, end.events)
            extensions = self._extensions() | {"flowstep": name}
            of = self.effect_id(name, "action", position)
            self._emit("event", event, derived_id(of, 1), extensions)
        return events


def checked(place: str, made: object, wanted: type[M]) -> M:
    """What a flow's method returned. Raises DefinitionError where it is not what the method says it returns."""
    if type(made) is not wanted:
        raise _wrong(place, made, (wanted,))
    return made


def _wrong(place: str, made: object, wanted: Sequence[type]) -> DefinitionError:
    names = " or ".join(one.__name__ for one in wanted)
    return DefinitionError(f"{place}: it returned {type(made).__name__}, and says that it returns {names}")
