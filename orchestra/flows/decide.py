"""What follows from one input? A pure function of definition, state, input and recorded time.

An input changes one node, or asks something of the flow. What follows from that is in ``follow.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from orchestra.events.envelope import Envelope
from orchestra.events.message import Done, FlowFailed, spec_of
from orchestra.flows.approval import ApprovalBehaviour
from orchestra.flows.behaviour import Address, Behaviour
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
    Timer,
    TimerFired,
    no_values,
)
from orchestra.flows.delay import DelayBehaviour
from orchestra.flows.draft import Draft, hops_after
from orchestra.flows.failure import Cause
from orchestra.flows.follow import Follow
from orchestra.flows.for_each import ForEachBehaviour
from orchestra.flows.graph import (
    AnyOfNode,
    ApprovalNode,
    CallNode,
    DelayNode,
    ForEachNode,
    Graph,
    GraphNode,
    RepeatNode,
    SettledNode,
    StepNode,
    WaitNode,
)
from orchestra.flows.instance import FailureState, Instance, NodeState, load_start
from orchestra.flows.joining import AnyOfBehaviour, SettledBehaviour
from orchestra.flows.migrate import can_follow, check_migrates
from orchestra.flows.progress import Progress, Undoing
from orchestra.flows.repeat import RepeatBehaviour
from orchestra.flows.starting import Starting
from orchestra.flows.step import StepBehaviour
from orchestra.flows.stored import Stored
from orchestra.flows.timer import from_micros, to_micros
from orchestra.flows.wait import WaitBehaviour, occurred
from orchestra.flows.waiting import MICROS

BEHAVIOURS: Mapping[type[GraphNode], Behaviour[Any, Any]] = {
    StepNode: StepBehaviour(),
    CallNode: StepBehaviour(),
    ForEachNode: ForEachBehaviour(),
    RepeatNode: RepeatBehaviour(),
    AnyOfNode: AnyOfBehaviour(),
    SettledNode: SettledBehaviour(),
    DelayNode: DelayBehaviour(),
    WaitNode: WaitBehaviour(),
    ApprovalNode: ApprovalBehaviour(),
}
"""How each kind of node goes. A further kind is one more entry."""

DEADLINE = "deadline"
"""The name of the timer of the whole flow."""


class CompiledFlow:
    """A flow's graph, ready to be advanced. Implements :class:`orchestra.flows.decision.Migrating`."""

    def __init__(self, graph: Graph, migrates: Sequence[CompiledFlow] = ()) -> None:
        self.graph = graph
        self._starting = Starting(graph.name, graph.starts)
        self.migrates = tuple(migrates)
        check_migrates(graph, [old.graph for old in migrates])
        self._parts = {name: (node, BEHAVIOURS[type(node)]) for name, node in graph.nodes.items()}
        self._follow = Follow(graph, self._parts)

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
    def called(self) -> Called:
        """What a flow that calls it must know."""
        graph = self.graph
        return Called(
            name=graph.name,
            label=graph.label,
            starts=graph.starts,
            says=() if graph.completed is None else tuple(graph.completed.events),
            saga=graph.saga,
            insists=graph.insists,
        )

    @property
    def starts_on(self) -> Mapping[str, str]:
        return {kind: spec_of(event).topic or "" for kind, event in self.graph.starts.items()}

    @property
    def topics(self) -> Sequence[str]:
        return self.graph.topics

    @property
    def listens_to(self) -> Mapping[str, str]:
        return {kind: spec_of(waits[0].event).topic or "" for kind, waits in self.graph.waits.items()}

    @property
    def calls(self) -> Sequence[str]:
        return self.graph.calls

    @property
    def parts(self) -> Mapping[str, Json]:
        return self.graph.parts

    def answers(self, command: str) -> Answers:
        return self.graph.answers[command]

    def keys_of(self, event: Envelope) -> Sequence[str]:
        keys = (node.by(event.value(node.event)) for node in self.graph.waits.get(event.type, ()))
        return list(dict.fromkeys(keys))

    def key_of(self, event: Envelope) -> str:
        return self._starting.key(event)

    def start_event(self, state: Json, *, values: ReadValue = no_values) -> Envelope:
        return load_start(state, Stored(values))

    def start_digest(self, event: Envelope) -> str:
        return self._starting.digest(event)

    # ---- deciding

    def start(self, event: Envelope, *, instance_id: str, run: int, now: datetime) -> Decision:
        self._starting.value(event)
        instance = Instance.begun(event, id=instance_id, run=run, now=to_micros(now), load=self._load_node)
        draft = self._draft(instance, now)
        draft.rescan = True
        draft.note("flow.started", note=event.type)
        return self._decided(draft, {})

    def advance(self, state: Json, given: Input, *, now: datetime, values: ReadValue = no_values) -> Decision:
        draft = self._draft(self._load(state, values), now)
        draft.hops = hops_after(given, draft.hops)
        match given:
            case Outcome():
                self._take_outcome(given, draft)
            case TimerFired():
                self._take_timer(given, draft)
            case OperatorRequest():
                self._take_request(given, draft)
            case Occurred():
                self._take_event(given.event, draft)
        return self._decided(draft, state)

    def take_over(self, version: int, state: Json, *, now: datetime, values: ReadValue = no_values) -> Decision | None:
        if version not in {old.version for old in self.migrates}:
            return None
        draft = self._draft(self._load(state, values), now)
        if not can_follow(draft.instance):
            return None
        draft.rescan = True
        draft.note("flow.migrated", note=f"from version {version} to version {self.version}")
        return self._decided(draft, state)

    def _draft(self, instance: Instance, now: datetime) -> Draft:
        draft = Draft(self.graph, instance, now)
        draft.values = lambda needs: self._follow.values(needs, instance)
        return draft

    def _load(self, state: Json, values: ReadValue = no_values) -> Instance:
        instance = Instance.load(state, self._load_node)
        instance.stored = Stored(values)
        return instance

    def _load_node(self, name: str, raw: Mapping[str, Any]) -> NodeState:
        state: NodeState = self._parts[name][1].load(raw)
        return state

    def _decided(self, draft: Draft, before: Json) -> Decision:
        instance = draft.instance
        if draft.changed:
            self._follow.on(draft)
        return Decision(
            state=instance.dump() if draft.changed else before,
            status=instance.status,
            messages=draft.messages,
            timers=self._timers(instance),
            journal=draft.journal,
            alerts=draft.alerts,
            changed=draft.changed,
            keep_state=instance.status.is_final and draft.caller is not None,
            values=instance.stored.changed if draft.changed else {},
        )

    def _timers(self, instance: Instance) -> list[Timer]:
        found: list[Timer] = []
        deadline = self.graph.deadline
        if deadline is not None and not instance.overdue and instance.failure is None and not instance.status.is_final:
            found.append(Timer(DEADLINE, 1, due=from_micros(instance.started + round(deadline * MICROS))))
        for node, behaviour, state in self._follow.active(instance):
            found += behaviour.timers(node, state, instance)
        return found

    # ---- inputs

    def _take_outcome(self, given: Outcome, draft: Draft) -> None:
        address = self._address(given.effect_id, draft.instance)
        if address is None or (state := draft.instance.nodes.get(address.step)) is None:
            draft.ignore("outcome.unknown", None, None, "action", f"nothing was sent under {given.effect_id!r}")
            return
        draft.cause = given.event.id
        draft.follow_trace(given.event)
        node, behaviour = self._parts[address.step]
        draft.touched.append(address.step)
        behaviour.outcome(node, state, address, given.event, draft)

    def _address(self, effect: str, instance: Instance) -> Address | None:
        prefix = f"{instance.id}/{instance.run}/"
        return Address.read(effect[len(prefix) :]) if effect.startswith(prefix) else None

    def _take_timer(self, given: TimerFired, draft: Draft) -> None:
        if given.name == DEADLINE:
            self._time_is_up(draft)
            return
        address = Address.read(given.name)
        if address is None or (state := draft.instance.nodes.get(address.step)) is None:
            draft.ignore("timer.stale", None, None, "action", f"there is no timer {given.name!r}")
            return
        node, behaviour = self._parts[address.step]
        draft.touched.append(address.step)
        values = self._follow.values(node.needs, draft.instance)
        behaviour.timer(node, state, address, given.generation, values, draft)

    def _time_is_up(self, draft: Draft) -> None:
        """The flow fails, unless it is past its point of no return: then somebody is told, and it goes on."""
        instance = draft.instance
        if instance.failure is not None or instance.overdue or instance.status.is_final:
            draft.ignore("timer.stale", None, None, "action", f"the flow is {instance.status}")
            return
        instance.overdue = True
        reason = f"not over within {self.graph.deadline:g} s"
        draft.note("flow.overdue", note=reason)
        if (final := self._final(instance)) is not None:
            draft.alert("flow.overdue", final, f"{reason}; {final!r} is, or may be, done, so it goes on")
            return
        draft.fail(None, Cause.TIMED_OUT, reason)
        if instance.status is Status.HALTED:
            draft.alert("flow.overdue", None, reason)

    def _take_event(self, event: Envelope, draft: Draft) -> None:
        waits = self.graph.waits.get(event.type, ())
        if not waits:
            draft.ignore("event.ignored", None, None, "action", f"nothing here waits for {event.type}")
        elif (name := occurred(waits, event, draft)) is not None:
            draft.touched.append(name)

    # ---- requests

    def _take_request(self, request: OperatorRequest, draft: Draft) -> None:
        match request.action:
            case "cancel":
                refusal = self._cancel(request, draft)
            case "undo":
                refusal = self._recall(request, draft)
            case _:
                refusal = self._operate(request, draft)
        who = f"{request.action} by {request.by}: {request.reason}"
        if refusal is None:
            draft.note(f"operator.{request.action}", request.step, note=who)
        else:
            draft.ignore("operator.refused", request.step, None, "action", f"{who}; not done, because {refusal}")

    def _cancel(self, request: OperatorRequest, draft: Draft) -> str | None:
        instance = draft.instance
        fails = instance.failure is not None and instance.status is not Status.HALTED
        if fails or instance.status.is_final:
            return f"the instance is {instance.status}"
        if (final := self._final(instance)) is not None:
            return f"{final!r} is, or may be, done and is never undone"
        draft.fail(None, Cause.CANCELLED, f"cancelled by {request.by}: {request.reason}")
        instance.status = Status.COMPENSATING
        return None

    def _final(self, instance: Instance) -> str | None:
        """The node because of which the flow can no longer be undone."""
        for node, behaviour, state in self._follow.begun(instance):
            if behaviour.is_final(node, state):
                return node.name
        return None

    def _recall(self, request: OperatorRequest, draft: Draft) -> str | None:
        """Whoever called the flow is undone, and this with it, though it may have completed."""
        instance = draft.instance
        if draft.caller is None:
            return "nobody called the flow: cancel it while it runs"
        if instance.status is Status.COMPENSATED:
            instance.recalled = True
            draft.answer(Done(), "undo")
            return None
        if (final := self._final(instance)) is not None:
            refusal = f"{final!r} is, or may be, done and is never undone"
            draft.answer(FlowFailed(step=final, cause=Cause.FAILED, reason=refusal), "undo")
            draft.note("flow.not_undone", final, note=refusal)
            return refusal
        if instance.status is Status.COMPLETED:
            instance.failure = FailureState(None, Cause.CANCELLED, f"undone by {request.by}: {request.reason}")
            instance.announced, instance.ended = False, None
        elif instance.failure is None or instance.status is Status.HALTED:
            draft.fail(None, Cause.CANCELLED, f"undone by {request.by}: {request.reason}")
        instance.recalled = True
        if instance.status in (Status.RUNNING, Status.HALTED, Status.COMPLETED):
            instance.status = Status.COMPENSATING
        return None

    def _operate(self, request: OperatorRequest, draft: Draft) -> str | None:
        instance = draft.instance
        if request.step is not None:
            steps = [request.step]
        elif request.action == "retry":
            steps = [name for name in instance.nodes if self._is_left_to_operator(name, instance)]
        elif request.action in ("approve", "reject"):
            steps = [name for name in instance.nodes if self._awaits_decision(name, instance)]
            if len(steps) > 1:
                return f"{', '.join(steps)} wait for a decision: say which"
        else:
            return "it does not say which step"
        refusals = [self._operate_step(step, request, draft) for step in steps]
        draft.is_retried = request.action == "retry" and (None in refusals or not steps)
        if not refusals and draft.is_retried and instance.status is Status.HALTED:
            return None  # its own time was up
        if not refusals:
            return f"nothing waits for that: the instance is {instance.status}"
        return None if None in refusals else "; ".join(one for one in refusals if one)

    def _is_left_to_operator(self, name: str, instance: Instance) -> bool:
        is_halted = instance.status is Status.HALTED and name in self._follow.halting(instance)
        return is_halted or instance.undoing(name) is Undoing.STUCK

    def _awaits_decision(self, name: str, instance: Instance) -> bool:
        return isinstance(self._parts[name][0], ApprovalNode) and instance.progress(name) is Progress.ACTIVE

    def _operate_step(self, step: str, request: OperatorRequest, draft: Draft) -> str | None:
        step = step.partition("/")[0]  # behind it, one of the items that it goes over
        state = draft.instance.nodes.get(step)
        if state is None:
            return f"{step!r} has not begun" if step in self._parts else f"the flow has no step {step!r}"
        if step in draft.instance.lost and draft.instance.undoing(step) not in (Undoing.ACTIVE, Undoing.STUCK):
            return f"{step!r}: its branch was let go of: restart the flow, or cancel it"
        node, behaviour = self._parts[step]
        draft.touched.append(step)
        values = self._follow.values(node.needs, draft.instance)
        refusal: str | None = behaviour.operate(node, state, request, values, draft)
        return refusal and f"{step!r}: {refusal}"

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
        lines: list[str] = []
        for node, behaviour, of in self._follow.begun(instance):
            found: Iterable[str] = behaviour.waits_for(node, of, instance)
            lines += found
        if instance.status is Status.HALTED and instance.failure is not None:
            failed = ", ".join(self._follow.halting(instance)) or "the flow"
            lines.append(f"{failed}: an operator, to retry or cancel ({instance.failure.reason})")
        return lines
