"""What follows from one input to a machine? A pure function of chart, state, input and recorded time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from orchestra.errors import DecodeError
from orchestra.events.envelope import Envelope
from orchestra.events.message import Done, Event, FlowFailed, decode_data, encode_data, record_key, spec_of
from orchestra.flows.approval import Approval
from orchestra.flows.behaviour import Address
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
from orchestra.flows.machine_chart import Ask, Chart, Send
from orchestra.flows.machine_doing import send_again, undo_of
from orchestra.flows.machine_instance import MachineInstance, load_machine
from orchestra.flows.machine_outcome import answer_command, answer_flow, command_timer
from orchestra.flows.machine_picture import picture_of_machine
from orchestra.flows.machine_turn import Turn
from orchestra.flows.machine_view import is_idle, steps, timers, waits_for
from orchestra.flows.machine_walk import Walk
from orchestra.flows.picture import Picture
from orchestra.flows.timer import from_micros, to_micros


class CompiledMachine:
    """A machine's chart, ready to be advanced. Implements :class:`orchestra.flows.decision.Definition`."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
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
        key = record_key(self._start_value(event))
        assert key is not None  # checked when the machine was compiled
        return key.decode()

    def start_digest(self, event: Envelope) -> str:
        value = self._start_value(event)
        return hashlib.sha256(event.type.encode() + b"\0" + encode_data(value)).hexdigest()[:32]

    def start_event(self, state: Json, *, values: ReadValue = no_values) -> Envelope:
        return load_start(state)

    def _start_value(self, event: Envelope) -> Event:
        cls = self.chart.starts.get(event.type)
        if cls is None:
            known = ", ".join(self.chart.starts)
            raise DecodeError("type", f"{event.type!r} does not start {self.name}, which starts on {known}")
        return event.value(cls)

    # ---- deciding

    def start(self, event: Envelope, *, instance_id: str, run: int, now: datetime) -> Decision:
        self._start_value(event)
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
                self._take_request(given, walk, turn)
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

    # ---- people

    def _take_request(self, request: OperatorRequest, walk: Walk, turn: Turn) -> None:
        match request.action:
            case "cancel":
                refusal = self._cancel(request, walk, turn)
            case "approve" | "reject":
                refusal = self._decide(request, walk, turn)
            case "retry" | "skip" | "resolve":
                refusal = self._operate(request, turn)
            case _:
                refusal = "a machine cannot do that"
        who = f"{request.action} by {request.by}: {request.reason}"
        if refusal is None:
            turn.note(f"operator.{request.action}", request.step, note=who)
        else:
            turn.ignore("operator.refused", request.step, None, "action", f"{who}; not done, because {refusal}")

    def _cancel(self, request: OperatorRequest, walk: Walk, turn: Turn) -> str | None:
        machine = turn.machine
        if machine.is_over:
            return f"it is over: {machine.final or machine.cancelled}"
        if walk.fire("cancel"):
            return None
        walk.leave_all()
        machine.cancelled = f"cancelled by {request.by}: {request.reason}"
        machine.status = Status.COMPENSATING
        turn.note("flow.failed", note=machine.cancelled)
        return None

    def _decide(self, request: OperatorRequest, walk: Walk, turn: Turn) -> str | None:
        asks = self._asked(request, turn.machine)
        if isinstance(asks, str):
            return asks
        node = turn.machine.nodes[asks.name]
        if node["s"] != "waiting":
            said = {"done": "approved", "rejected": "rejected"}.get(str(node["s"]), "no longer wanted")
            return f"{asks.name!r} is {said} already" + (f", by {node['by']}" if "by" in node else "")
        if asks.requester is not None and asks.requester(turn.me()) == request.by:
            return f"{request.by} asked for it, and does not decide"
        if asks.role not in request.roles:
            return f"{request.by} is not known as {asks.role}"
        yes = request.action == "approve"
        turn.machine.nodes[asks.name] = {
            **node,
            "s": "done" if yes else "rejected",
            "e": turn.now,
            "by": request.by,
            "w": request.reason,
        }
        turn.note(f"approval.{'approved' if yes else 'rejected'}", asks.name, note=f"by {request.by}: {request.reason}")
        decision = Approval(yes, request.by, request.reason, from_micros(turn.now))
        if not walk.fire(f"{'done' if yes else 'rejected'}:{asks.name}", decision):
            turn.alert("approval.unused", asks.name, f"{request.action}d by {request.by}, and no transition takes that")
        return None

    def _asked(self, request: OperatorRequest, machine: MachineInstance) -> Ask | str:
        if request.step is not None:
            one = self.chart.asks.get(request.step)
            if one is None:
                return f"the machine asks nobody under {request.step!r}"
            return one if one.name in machine.nodes else f"{request.step!r} has not begun"
        begun = [one for one in self.chart.asks.values() if one.name in machine.nodes]
        waiting = [one for one in begun if machine.nodes[one.name]["s"] == "waiting"]
        if len(waiting) > 1:
            return f"several decisions are waited for: say which of {', '.join(one.name for one in waiting)}"
        found = waiting or begun
        return found[0] if found else "no decision is waited for"

    def _operate(self, request: OperatorRequest, turn: Turn) -> str | None:
        if request.step is None and request.action != "retry":
            return "it does not say which command"
        names = (
            [request.step]
            if request.step is not None
            else [name for name in self.chart.sends if self._failed(name, turn)]
        )
        if not names:
            return "no command waits for an operator"
        refusals = [self._operate_one(name, request, turn) for name in names]
        return None if None in refusals else "; ".join(one for one in refusals if one)

    def _failed(self, name: str, turn: Turn) -> bool:
        effect = turn.effect(name)
        return effect is not None and effect.command is not None and not effect.status.is_open

    def _operate_one(self, name: str, request: OperatorRequest, turn: Turn) -> str | None:
        one = self.chart.sends.get(name)
        if one is None:
            return f"the machine sends nothing under {name!r}"
        if (effect := turn.effect(name)) is None:
            return f"{name!r} was not sent yet"
        if request.action == "retry" and self._can_retry(one, effect, turn):
            effect.before = effect.attempts
            effect.note = ""
            send_again(one, effect, turn)
            return None
        if request.action in ("skip", "resolve") and effect.status is EffectStatus.STUCK:
            status = EffectStatus.SKIPPED if request.action == "skip" else EffectStatus.RESOLVED
            effect.settle(status, turn.now, f"{status} by {request.by}: {request.reason}")
            turn.keep(name, effect)
            turn.note(f"command.{status}", name, effect, note=effect.note)
            return None
        return f"{name!r} is {effect.status}"

    def _can_retry(self, one: Send, effect: Effect, turn: Turn) -> bool:
        if effect.command is None or effect.status is EffectStatus.RUNNING:
            return False
        return one.is_owed or turn.machine.is_active(one.state)

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
