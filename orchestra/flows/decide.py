"""What follows from one input? A pure function of definition, state, input and recorded time.

An input changes one node. Then the flow is advanced until nothing more follows: nodes begin whose predecessors are
done; a flow that fails is drained, its compensation planned and begun; a flow that is over says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from orchestra.errors import DecodeError
from orchestra.events.envelope import Envelope
from orchestra.events.message import Event, encode_data, record_key, spec_of
from orchestra.flows.behaviour import Address, Behaviour, Values
from orchestra.flows.compensation import ready_to_undo
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
    Timer,
    TimerFired,
    no_values,
)
from orchestra.flows.draft import Draft
from orchestra.flows.failure import Cause, Failure
from orchestra.flows.graph import Graph, GraphNode, StepNode
from orchestra.flows.instance import Instance, NodeState, Progress, Undoing, load_instance, load_start, names
from orchestra.flows.step import StepBehaviour
from orchestra.flows.timer import to_micros

BEHAVIOURS: Mapping[type[GraphNode], Behaviour[Any, Any]] = {StepNode: StepBehaviour()}
"""How each kind of node goes. A further kind is one more entry."""

_OVER = (Undoing.NONE, Undoing.FINISHED)


class CompiledFlow:
    """A flow's graph, ready to be advanced. Implements :class:`orchestra.flows.decision.Definition`."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._parts = {name: (node, BEHAVIOURS[type(node)]) for name, node in graph.nodes.items()}

    @property
    def name(self) -> str:
        return self.graph.name

    @property
    def version(self) -> int:
        return self.graph.version

    @property
    def digest(self) -> str:
        return self.graph.digest

    @property
    def starts_on(self) -> Mapping[str, str]:
        return {kind: spec_of(event).topic or "" for kind, event in self.graph.starts.items()}

    @property
    def topics(self) -> Sequence[str]:
        return self.graph.topics

    @property
    def listens_to(self) -> Mapping[str, str]:
        return {}

    @property
    def calls(self) -> Sequence[str]:
        return ()

    @property
    def parts(self) -> Mapping[str, Json]:
        return self.graph.parts

    def answers(self, command: str) -> Answers:
        return self.graph.answers[command]

    def keys_of(self, event: Envelope) -> Sequence[str]:
        return ()

    def key_of(self, event: Envelope) -> str:
        key = record_key(self._start_value(event))
        assert key is not None  # checked when the flow was compiled
        return key.decode()

    def start_event(self, state: Json) -> Envelope:
        return load_start(state)

    def start_digest(self, event: Envelope) -> str:
        value = self._start_value(event)
        content = event.type.encode() + b"\0" + encode_data(value)
        return hashlib.sha256(content).hexdigest()[:32]

    def _start_value(self, event: Envelope) -> Event:
        cls = self.graph.starts.get(event.type)
        if cls is None:
            known = ", ".join(self.graph.starts)
            raise DecodeError("type", f"{event.type!r} does not start {self.name}, which starts on {known}")
        return event.value(cls)

    # ---- deciding

    def start(self, event: Envelope, *, instance_id: str, run: int, now: datetime) -> Decision:
        self._start_value(event)
        instance = Instance(id=instance_id, run=run, started=to_micros(now), start=event)
        draft = Draft(self.graph, instance, now)
        draft.note("flow.started", note=event.type)
        return self._decided(draft, {})

    def advance(self, state: Json, given: Input, *, now: datetime, values: ReadValue = no_values) -> Decision:
        draft = Draft(self.graph, self._load(state), now)
        match given:
            case Outcome():
                self._take_outcome(given, draft)
            case TimerFired():
                self._take_timer(given, draft)
            case OperatorRequest():
                self._take_request(given, draft)
            case Occurred():
                draft.ignore("event.ignored", None, None, "action", f"nothing waits for {given.event.type}")
        return self._decided(draft, state)

    def _load(self, state: Json) -> Instance:
        return load_instance(state, lambda name, raw: self._parts[name][1].load(raw))

    def _decided(self, draft: Draft, before: Json) -> Decision:
        instance = draft.instance
        if draft.changed:
            while self._advance_once(draft):
                pass
        return Decision(
            state=instance.dump() if draft.changed else before,
            status=instance.status,
            messages=draft.messages,
            timers=list(self._timers(instance)),
            journal=draft.journal,
            alerts=draft.alerts,
            changed=draft.changed,
        )

    def _timers(self, instance: Instance) -> Iterator[Timer]:
        for node, behaviour, state in self._begun(instance):
            yield from behaviour.timers(node, state, instance)

    def _begun(self, instance: Instance) -> Iterator[tuple[GraphNode, Behaviour[Any, Any], NodeState]]:
        for name, state in instance.nodes.items():
            node, behaviour = self._parts[name]
            yield node, behaviour, state

    def _values(self, needs: Sequence[str], instance: Instance) -> Values:
        def values() -> list[object]:
            return [self._parts[name][1].value(self._parts[name][0], instance.nodes[name]) for name in needs]

        return values

    # ---- inputs

    def _take_outcome(self, given: Outcome, draft: Draft) -> None:
        address = self._address(given.effect_id, draft.instance)
        if address is None or (state := draft.instance.nodes.get(address.step)) is None:
            draft.ignore("outcome.unknown", None, None, "action", f"nothing was sent under {given.effect_id!r}")
            return
        draft.cause = given.event.id
        draft.trace = given.event.extensions if "traceparent" in given.event.extensions else draft.trace
        node, behaviour = self._parts[address.step]
        behaviour.outcome(node, state, address, given.event, draft)

    def _address(self, effect: str, instance: Instance) -> Address | None:
        prefix = f"{instance.id}/{instance.run}/"
        return Address.read(effect[len(prefix) :]) if effect.startswith(prefix) else None

    def _take_timer(self, given: TimerFired, draft: Draft) -> None:
        address = Address.read(given.name)
        if address is None or (state := draft.instance.nodes.get(address.step)) is None:
            draft.ignore("timer.stale", None, None, "action", f"there is no timer {given.name!r}")
            return
        node, behaviour = self._parts[address.step]
        values = self._values(node.needs, draft.instance)
        behaviour.timer(node, state, address, given.generation, values, draft)

    def _take_request(self, request: OperatorRequest, draft: Draft) -> None:
        refusal = self._cancel(request, draft) if request.action == "cancel" else self._operate(request, draft)
        who = f"{request.action} by {request.by}: {request.reason}"
        if refusal is None:
            draft.note(f"operator.{request.action}", request.step, note=who)
        else:
            draft.ignore("operator.refused", request.step, None, "action", f"{who}; not done, because {refusal}")

    def _cancel(self, request: OperatorRequest, draft: Draft) -> str | None:
        instance = draft.instance
        if instance.status not in (Status.RUNNING, Status.HALTED):
            return f"the instance is {instance.status}"
        for node, behaviour, state in self._begun(instance):
            if behaviour.is_final(node, state):
                return f"{node.name!r} is, or may be, done and is never undone"
        draft.fail(None, Cause.CANCELLED, f"cancelled by {request.by}: {request.reason}")
        instance.status = Status.COMPENSATING
        return None

    def _operate(self, request: OperatorRequest, draft: Draft) -> str | None:
        instance = draft.instance
        if request.step is None:
            if request.action != "retry":
                return "it does not say which step"
            steps = [name for name in instance.nodes if self._is_left_to_operator(name, instance)]
        else:
            steps = [request.step]
        refusals = [self._operate_step(step, request, draft) for step in steps]
        if not refusals:
            return f"nothing waits for an operator: the instance is {instance.status}"
        return None if None in refusals else "; ".join(one for one in refusals if one)

    def _is_left_to_operator(self, name: str, instance: Instance) -> bool:
        is_halted = instance.status is Status.HALTED and instance.progress(name) is Progress.FAILED
        return is_halted or instance.undoing(name) is Undoing.STUCK

    def _operate_step(self, step: str, request: OperatorRequest, draft: Draft) -> str | None:
        state = draft.instance.nodes.get(step)
        if state is None:
            return f"{step!r} has not begun" if step in self._parts else f"the flow has no step {step!r}"
        node, behaviour = self._parts[step]
        refusal: str | None = behaviour.operate(node, state, request, self._values(node.needs, draft.instance), draft)
        return refusal and f"{step!r}: {refusal}"

    # ---- what follows

    def _advance_once(self, draft: Draft) -> bool:
        """One thing that follows. False when nothing more does."""
        instance = draft.instance
        match instance.status:
            case Status.RUNNING:
                return self._begin_ready(draft) or self._complete(draft)
            case Status.HALTED:
                return self._resume(draft)
            case Status.COMPENSATING | Status.STUCK:
                return (
                    self._drain(draft) if not instance.frozen else self._undo_ready(draft) or self._compensated(draft)
                )
            case _:
                return False

    def _begin_ready(self, draft: Draft) -> bool:
        instance = draft.instance
        begun = False
        for name, (node, behaviour) in self._parts.items():
            if name in instance.nodes or any(instance.progress(one) is not Progress.DONE for one in node.before):
                continue
            instance.nodes[name] = behaviour.begin(node, self._values(node.needs, instance), draft)
            begun = True
        return begun

    def _complete(self, draft: Draft) -> bool:
        instance, end = draft.instance, self.graph.completed
        if any(instance.progress(name) is not Progress.DONE for name in self._parts):
            return False
        if end is not None:
            draft.ending("completed", end, self._values(end.needs, instance)())
        self._end(draft, Status.COMPLETED)
        return True

    def _resume(self, draft: Draft) -> bool:
        """A halted flow goes on when no failed step is left."""
        if names(draft.instance, Progress.FAILED):
            return False
        draft.instance.failure = None
        draft.instance.status = Status.RUNNING
        draft.note("flow.resumed")
        return True

    def _drain(self, draft: Draft) -> bool:
        """What is under way is awaited; then the plan is frozen, from what is known."""
        instance = draft.instance
        for node, behaviour, state in self._begun(instance):
            if state.progress is Progress.ACTIVE:
                behaviour.cancel(node, state, draft)
        if names(instance, Progress.ACTIVE):
            return False
        for name in reversed(tuple(self.graph.nodes)):
            if (state_of := instance.nodes.get(name)) is not None:
                node, behaviour = self._parts[name]
                behaviour.plan_undo(node, state_of, draft)
        instance.frozen = True
        draft.note("flow.compensating")
        return True

    def _undo_ready(self, draft: Draft) -> bool:
        ready = ready_to_undo(self.graph, draft.instance)
        for name in ready:
            node, behaviour = self._parts[name]
            behaviour.undo(node, draft.instance.nodes[name], draft)
        return bool(ready)

    def _compensated(self, draft: Draft) -> bool:
        instance, end = draft.instance, self.graph.compensated
        undoing = {state.undoing for state in instance.nodes.values()}
        instance.status = Status.STUCK if Undoing.STUCK in undoing else Status.COMPENSATING
        if not undoing.issubset(_OVER):
            return False
        if end is not None and not instance.announced:
            draft.ending("compensated", end, [self._failure(instance)])
        self._end(draft, Status.COMPENSATED)
        return True

    def _end(self, draft: Draft, status: Status) -> None:
        draft.instance.status = status
        draft.instance.announced = True
        draft.instance.ended = draft.now
        draft.note(f"flow.{status}")

    def _failure(self, instance: Instance) -> Failure:
        failure = instance.failure
        assert failure is not None  # nothing is compensated without a reason
        rejection: Event | None = None
        if failure.step is not None:
            node, behaviour = self._parts[failure.step]
            rejection = behaviour.rejection(node, instance.nodes[failure.step])
        return Failure(failure.step, failure.cause, failure.reason, rejection, failure.dead_letter_id)

    # ---- for people

    def steps(self, state: Json) -> Sequence[StepView]:
        instance = self._load(state)
        return [
            view
            for name, (node, behaviour) in self._parts.items()
            for view in behaviour.views(node, instance.nodes.get(name))
        ]

    def waits_for(self, state: Json) -> Sequence[str]:
        instance = self._load(state)
        lines = [
            line for node, behaviour, of in self._begun(instance) for line in behaviour.waits_for(node, of, instance)
        ]
        if instance.status is Status.HALTED and instance.failure is not None:
            failed = ", ".join(names(instance, Progress.FAILED))
            lines.append(f"{failed}: an operator, to retry or cancel ({instance.failure.reason})")
        return lines
