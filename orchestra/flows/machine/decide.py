"""What follows from one input to a machine? A pure function of chart, state, input and recorded time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from orchestra.errors import DecodeError
from orchestra.events.envelope import Envelope
from orchestra.events.message import Done, Event, FlowFailed, decode_data, encode_data, record_key, spec_of
from orchestra.flows.behaviour import Address
from orchestra.flows.called import Called
from orchestra.flows.decision import (
    Answers,
    Decision,
    Input,
    Json,
    Occurred,
    OperatorRequest,
    Outcome,
    ReadValue,
    Status,
    StepView,
    TimerFired,
    no_values,
)
from orchestra.flows.draft import hops_after
from orchestra.flows.effect import Effect, EffectStatus
from orchestra.flows.failure import Cause
from orchestra.flows.instance import dump_event, load_start
from orchestra.flows.machine.chart import Chart
from orchestra.flows.machine.doing import undo_of
from orchestra.flows.machine.instance import MachineInstance, load_machine
from orchestra.flows.machine.outcome import answer_command, answer_flow, command_timer
from orchestra.flows.machine.picture import picture_of_machine
from orchestra.flows.machine.request import take_request
from orchestra.flows.machine.turn import Turn
from orchestra.flows.machine.view import is_idle, steps, timers, waits_for
from orchestra.flows.machine.walk import Walk
from orchestra.flows.picture import Picture
from orchestra.flows.starting import Starting
from orchestra.flows.timer import to_micros


class CompiledMachine:
    """A machine's chart, ready to be advanced. Implements :class:`orchestra.flows.decision.Definition`."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self._starting = Starting(chart.name, chart.starts)
        self._commands = {spec_of(one.command).type: one.answers for one in chart.sends.values()}

    @property
    def name(self) -> str:
        return self.chart.name

    @property
    def version(self) -> int:
        return self.chart.version

    @property
    def digest(self) -> str:
        return self.chart.digest

    @property
    def called(self) -> Called:
        """What a flow that calls it must know."""
        chart = self.chart
        return Called(
            name=chart.name, label=chart.label, starts=chart.starts, says=chart.says, saga=False, insists=False
        )

    @property
    def starts_on(self) -> Mapping[str, str]:
        return _topics(self.chart.starts.values())

    @property
    def topics(self) -> Sequence[str]:
        return self.chart.topics

    @property
    def listens_to(self) -> Mapping[str, str]:
        return _topics(self.chart.events.values())

    @property
    def calls(self) -> Sequence[str]:
        return list(dict.fromkeys(one.flow for one in self.chart.runs.values()))

    @property
    def parts(self) -> Mapping[str, Json]:
        return self.chart.parts

    def answers(self, command: str) -> Answers:
        return self._commands[command]

    def keys_of(self, event: Envelope) -> Sequence[str]:
        cls = self.chart.events.get(event.type)
        if cls is None:
            raise DecodeError("type", f"{event.type!r} is none of the events that {self.name} takes")
        value = event.value(cls)
        if (field := self.chart.keys.get(event.type)) is None:
            key = record_key(value)
            return [] if key is None else [key.decode()]
        named = getattr(value, field)
        several = named if isinstance(named, (list, tuple, set, frozenset)) else [named]
        return [str(one) for one in several if one is not None and str(one)]

    def key_of(self, event: Envelope) -> str:
        return self._starting.key(event)

    def start_digest(self, event: Envelope) -> str:
        return self._starting.digest(event)

    def start_event(self, state: Json, *, values: ReadValue = no_values) -> Envelope:
        return load_start(state)

    # ---- deciding

    def start(self, event: Envelope, *, instance_id: str, run: int, now: datetime) -> Decision:
        self._starting.value(event)
        machine = MachineInstance(id=instance_id, run=run, started=to_micros(now), start_raw=dump_event(event), data="")
        turn = Turn(self.chart, machine, now)
        turn.note("flow.started", note=event.type)
        machine.has_seen(event)
        turn.begin(self.chart.begin)
        Walk(turn).begin()
        return self._decided(turn, {})

    def advance(self, state: Json, given: Input, *, now: datetime, values: ReadValue = no_values) -> Decision:
        machine = load_machine(state)
        turn = Turn(self.chart, machine, now)
        if machine.status.is_final:
            turn.ignore("input.ignored", None, None, "action", f"the machine is {machine.status}")
            return self._decided(turn, state)
        turn.hops = hops_after(given, turn.hops)
        walk = Walk(turn)
        match given:
            case Occurred():
                self._take_event(given.event, walk, turn)
            case Outcome():
                self._take_outcome(given, walk, turn)
            case TimerFired():
                self._take_timer(given, walk, turn)
            case OperatorRequest():
                take_request(given, walk, turn)
        return self._decided(turn, state)

    def _decided(self, turn: Turn, before: Json) -> Decision:
        machine = turn.machine
        if turn.changed and machine.is_over:
            self._end(turn)
        elif turn.changed and is_idle(self.chart, machine):
            turn.alert("machine.idle", None, "nothing that it waits for can come any more; an operator may cancel it")
        return Decision(
            state=machine.dump() if turn.changed else before,
            status=machine.status,
            messages=turn.messages,
            timers=list(timers(self.chart, machine, turn.effect)),
            journal=turn.journal,
            alerts=turn.alerts,
            changed=turn.changed,
        )

    # ---- events

    def _take_event(self, event: Envelope, walk: Walk, turn: Turn) -> None:
        machine, cls = turn.machine, self.chart.events.get(event.type)
        if cls is None:
            turn.ignore("event.unknown", None, None, "action", f"{event.type} is none of the events that it takes")
            return
        value = event.value(cls)
        if machine.has_seen(event):
            turn.ignore("event.duplicate", None, None, "action", f"{event.type}, id {event.id}: it was taken already")
            return
        if machine.is_over:
            turn.note("event.ignored", note=f"{event.type}: the machine is over, {machine.final or machine.cancelled}")
            return
        turn.cause = event.id
        turn.trace = event.extensions if "traceparent" in event.extensions else None
        found = walk.select(f"event:{event.type}", value)
        if found.transitions:
            walk.take(found.transitions, value)
        else:
            walk.surplus(found, event.type, None if event.data is None else encode_data(value).decode())

    # ---- outcomes and timers

    def _take_outcome(self, given: Outcome, walk: Walk, turn: Turn) -> None:
        address = self._address(given.effect_id, turn.machine)
        if address is not None:
            turn.cause = given.event.id
            turn.trace = given.event.extensions if "traceparent" in given.event.extensions else None
            if (sent := self.chart.sends.get(address.step)) is not None:
                answer_command(sent, address, given.event, walk, turn)
                return
            if (called := self.chart.runs.get(address.step)) is not None:
                answer_flow(called, address, given.event, walk, turn)
                return
        turn.ignore("outcome.unknown", None, None, "action", f"nothing was sent under {given.effect_id!r}")

    def _address(self, effect: str, machine: MachineInstance) -> Address | None:
        prefix = f"{machine.id}/{machine.run}/"
        return Address.read(effect[len(prefix) :]) if effect.startswith(prefix) else None

    def _take_timer(self, given: TimerFired, walk: Walk, turn: Turn) -> None:
        state, _, place = given.name.rpartition("/after/")
        if state in self.chart.states:
            self._after(state, place, given.generation, walk, turn)
            return
        address = Address.read(given.name)
        if address is not None and (sent := self.chart.sends.get(address.step)) is not None:
            command_timer(sent, address, given.generation, walk, turn)
            return
        turn.ignore("timer.stale", None, None, "action", f"there is no timer {given.name!r}")

    def _after(self, state: str, place: str, generation: int, walk: Walk, turn: Turn) -> None:
        node = turn.machine.nodes.get(state, {"s": ""})
        dues: Any = node.get("d", {})
        if node["s"] != "active" or node.get("g") != generation or place not in dues or turn.machine.is_over:
            turn.ignore("timer.stale", state, None, "action", f"generation {generation} is not the pending one")
            return
        turn.machine.nodes[state] = {**node, "d": {name: due for name, due in dues.items() if name != place}}
        one = self.chart.states[state].timers[int(place)]
        turn.note("timer.fired", state, note=one.label)
        if not walk.fire(one.trigger):
            turn.note("event.ignored", state, note=f"{one.label}: its guard says no, or a state within goes first")

    # ---- the end

    def _end(self, turn: Turn) -> None:
        """No state is left to leave. It is over when what it owes, or what is under way, is done."""
        machine = turn.machine
        open_effects = [effect for effect in self._effects(turn) if effect.status.is_open]
        stuck = any(effect.status is EffectStatus.STUCK for effect in self._effects(turn))
        if open_effects or stuck:
            going = Status.COMPENSATING if machine.cancelled else Status.RUNNING
            machine.status = Status.STUCK if stuck and not open_effects else going
            return
        machine.status = Status.COMPENSATED if machine.cancelled else Status.COMPLETED
        machine.ended = turn.now
        turn.answer(self._answer(turn))
        turn.note(f"flow.{machine.status}", note=machine.final or machine.cancelled or "")

    def _effects(self, turn: Turn) -> Iterator[Effect]:
        for name in (*self.chart.sends, *self.chart.runs):
            if (effect := turn.effect(name)) is not None:
                yield effect
        for one in self.chart.runs.values():
            if (undoing := undo_of(one, turn)) is not None:
                yield undoing

    def _answer(self, turn: Turn) -> Event:
        """What whoever called it gets."""
        machine = turn.machine
        if machine.cancelled is not None:
            return FlowFailed(step=None, cause=Cause.CANCELLED, reason=machine.cancelled)
        assert machine.final is not None
        if self.chart.states[machine.final].failed:
            return FlowFailed(step=machine.final, cause=Cause.FAILED, reason=f"it ended in {machine.final}")
        if machine.answer is None:
            return Done()
        kind, text = machine.answer
        cls = next(one for one in self.chart.published if spec_of(one).type == kind)
        return decode_data(cls, None if text is None else text.encode())

    # ---- for people

    def picture(self) -> Picture:
        """Its states, what they do, and what leads from one to another."""
        return picture_of_machine(self.chart)

    def steps(self, state: Json) -> Sequence[StepView]:
        return list(steps(self.chart, load_machine(state)))

    def waits_for(self, state: Json) -> Sequence[str]:
        return list(waits_for(self.chart, load_machine(state)))


def _topics(events: Iterable[type[Event]]) -> Mapping[str, str]:
    return {spec_of(event).type: spec_of(event).topic or "" for event in events}
