"""What has one decision done so far? A draft collects messages, journal lines and alerts while nodes advance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from orchestra.errors import DefinitionError
from orchestra.events.attributes import Value
from orchestra.events.envelope import compose
from orchestra.events.message import Command, Event, Message, record_key, spec_of
from orchestra.flows.decision import Alert, Emission, JournalLine, Status, effect_id
from orchestra.flows.effect import Effect, Phase
from orchestra.flows.failure import Cause
from orchestra.flows.graph import EndPart, Graph
from orchestra.flows.instance import FailureState, Instance
from orchestra.flows.timer import from_micros, to_micros
from orchestra.ids import derived_id


class Draft:
    """A decision in the making. Lives for one call, in one thread."""

    def __init__(self, graph: Graph, instance: Instance, now: datetime) -> None:
        self.graph = graph
        self.instance = instance
        self.now = to_micros(now)
        self.cause: str | None = None
        """The id of the event, or of the unanswered message, that made this decision."""
        self.trace: Mapping[str, Value] = instance.start.extensions
        self.messages: list[Emission] = []
        self.journal: list[JournalLine] = []
        self.alerts: list[Alert] = []
        self.changed = False

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

    def fail(self, step: str | None, cause: Cause, reason: str, dead_letter_id: str | None = None) -> None:
        """A step failed, or somebody cancelled. The first failure is the flow's; a flow that is no saga halts."""
        if self.instance.failure is not None:
            return
        self.instance.failure = FailureState(step, cause, reason, dead_letter_id)
        undo = self.graph.saga or cause is Cause.CANCELLED
        self.instance.status = Status.COMPENSATING if undo else Status.HALTED
        self.note("flow.failed", step, note=reason)
        if not undo:
            self.alert("flow.halted", step, f"{reason}; an operator must retry it, or cancel the flow")

    # ---- the flow's own methods

    def flow(self, at: int | None) -> object:
        """An object of the flow's class for one call: it knows the recorded time and the start event."""
        start = self.instance.start
        flow: object = object.__new__(self.graph.owner)
        flow.__dict__.update(
            now=from_micros(self.now if at is None else at),
            _start=lambda: start.value(self.graph.starts[start.type]),
        )
        return flow

    # ---- messages

    def effect_id(self, step: str, phase: Phase, iteration: int) -> str:
        return effect_id(self.instance.id, self.instance.run, step, phase, iteration)

    def command(
        self, step: str, phase: Phase, effect: Effect, message: Command[Any, Any], *, expires_in: float | None
    ) -> None:
        """Send a command as try ``effect.attempts`` of an effect."""
        of = self.effect_id(step, phase, effect.iteration)
        extensions = self._extensions()
        extensions |= {"flowstep": step, "flowphase": phase, "effectid": of}
        if expires_in is not None:
            extensions["expirytime"] = from_micros(self.now) + timedelta(seconds=expires_in)
        self._emit("command", message, derived_id(of, effect.attempts), extensions)

    def ending(self, name: str, end: EndPart, given: Sequence[object]) -> None:
        """Publish what the flow says when it is over."""
        made = end.make(self.flow(None), *given)
        events: Sequence[Event] = () if made is None else (made,) if isinstance(made, Event) else tuple(made)
        for position, event in enumerate(events):
            if type(event) not in end.events:
                raise _wrong(f"{self.graph.label}.{end.label}", event, end.events)
            extensions = self._extensions() | {"flowstep": name}
            of = self.effect_id(name, "action", position)
            self._emit("event", event, derived_id(of, 1), extensions)

    def _extensions(self) -> dict[str, Value]:
        start = self.instance.start
        extensions: dict[str, Value] = {
            "correlationid": start.get("correlationid") or start.id,
            "causationid": self.cause or start.id,
            "flowid": self.instance.id,
            "flowname": self.graph.name,
            "flowversion": str(self.graph.version),
        }
        for name in ("traceparent", "tracestate"):
            if (value := self.trace.get(name)) is not None:
                extensions[name] = value
        return extensions

    def _emit(self, kind: Any, message: Message, id: str, extensions: Mapping[str, Value]) -> None:  # noqa: A002
        topic = spec_of(type(message)).topic
        if topic is None:
            raise DefinitionError(f"{type(message).__name__}: it has no topic, where would it go? Add topic=... to it")
        source = f"/flows/{self.graph.name}"
        event = compose(message, id=id, source=source, time=from_micros(self.now), extensions=extensions)
        self.messages.append(Emission(kind, topic, record_key(message), event))


def checked(place: str, made: object, wanted: type[Command[Any, Any]]) -> Command[Any, Any]:
    """What a flow's method returned. Raises DefinitionError where it is not what the method says it returns."""
    if type(made) is not wanted:
        raise _wrong(place, made, (wanted,))
    assert isinstance(made, Command)
    return made


def _wrong(place: str, made: object, wanted: Sequence[type]) -> DefinitionError:
    names = " or ".join(one.__name__ for one in wanted)
    return DefinitionError(f"{place}: it returned {type(made).__name__}, and says that it returns {names}")
