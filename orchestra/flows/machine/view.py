"""What does an instance of a machine wait for, and how far is it? Timers for the coordinator, words for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from orchestra.events.message import spec_of
from orchestra.flows.behaviour import Address
from orchestra.flows.decision import Json, StepView, Timer, effect_id
from orchestra.flows.effect import Effect, EffectStatus
from orchestra.flows.machine.chart import Chart, ChartState, Send
from orchestra.flows.machine.instance import MachineInstance
from orchestra.flows.timer import from_micros
from orchestra.ids import derived_id


def timers(chart: Chart, machine: MachineInstance, effect_of: Callable[[str], Effect | None]) -> Iterator[Timer]:
    """All that are pending."""
    if machine.status.is_final:
        return
    for name, node in machine.nodes.items():
        if name in chart.states:
            yield from _of_state(name, node)
        elif (one := chart.sends.get(name)) is not None and (effect := effect_of(name)) is not None:
            yield from _of_command(one, effect, machine)


def _of_state(name: str, node: Json) -> Iterator[Timer]:
    dues: Any = node.get("d")
    if dues and node["s"] == "active":
        generation: Any = node["g"]
        for place, due in dues.items():
            yield Timer(f"{name}/after/{place}", generation, due=from_micros(due))


def _of_command(one: Send, effect: Effect, machine: MachineInstance) -> Iterator[Timer]:
    if not effect.generation:
        return
    name = str(Address(one.name, "action", effect.iteration))
    if effect.due is not None:
        yield Timer(name, effect.generation, due=from_micros(effect.due))
    elif one.timeout is not None:
        of = effect_id(machine.id, machine.run, one.name, "action", effect.iteration)
        yield Timer(name, effect.generation, after=derived_id(of, effect.attempts), delay=one.timeout)


def is_idle(chart: Chart, machine: MachineInstance) -> bool:
    """Whether nothing can move it any more, save a person's cancel: nobody would notice."""
    if machine.is_over:
        return False
    for name, node in machine.nodes.items():
        if (state := chart.states.get(name)) is not None:
            if node["s"] == "active" and (state.hears or node.get("d")):
                return False
        elif node["s"] in _MOVING:
            return False
    return True


_MOVING = ("waiting", "running", "backing-off")
"""A question, a flow or a command of which something is still to come."""


# ---- for people

_STATE_STATUS = {"active": "running", "left": "done"}


def steps(chart: Chart, machine: MachineInstance) -> Iterator[StepView]:
    """The states in document order, each with what it began."""
    for state in chart.states.values():
        node = machine.nodes.get(state.name)
        status = "waiting" if node is None else _STATE_STATUS[str(node["s"])]
        if node is not None and state.final:
            status = "done"
        yield StepView(state.name, status, "state", started_at=_time(node, "t"))
        for one in (*state.entries, *state.exits):
            name = getattr(one, "name", None)
            if name is None:
                continue
            if name in chart.asks:
                yield _question(name, chart, machine.nodes.get(name))
            else:
                kind = "command" if name in chart.sends else "flow"
                yield _effect(name, kind, machine.nodes.get(name))


def _time(node: Json | None, key: str) -> str | None:
    at: Any = None if node is None else node.get(key)
    return None if at is None else from_micros(at).isoformat()


def _question(name: str, chart: Chart, node: Json | None) -> StepView:
    if node is None:
        return StepView(name, "not-reached", "approval", note=chart.asks[name].role)
    note = f"by {node['by']}: {node['w']}" if "by" in node else chart.asks[name].role
    return StepView(name, str(node["s"]), "approval", started_at=_time(node, "t"), ended_at=_time(node, "e"), note=note)


def _effect(name: str, kind: str, node: Json | None) -> StepView:
    if node is None:
        return StepView(name, "not-reached", kind)
    effect = Effect.load(node)
    return StepView(
        name=name,
        status=effect.status.value,
        kind=kind,
        attempts=effect.attempts,
        started_at=_time(node, "t"),
        ended_at=_time(node, "e"),
        note=effect.note,
    )


def waits_for(chart: Chart, machine: MachineInstance) -> Iterator[str]:
    """At least one line while it lives."""
    if machine.status.is_final:
        return
    for name, node in machine.nodes.items():
        if name in chart.states:
            if node["s"] == "active" and not machine.is_over:
                yield from _waits_of_state(chart.states[name], node)
        elif (sent := chart.sends.get(name)) is not None:
            yield from _waits_of_command(sent, Effect.load(node), machine)
        elif (called := chart.runs.get(name)) is not None:
            yield from _waits_of_flow(name, called.flow, node)
        elif (asked := chart.asks.get(name)) is not None and node["s"] == "waiting":
            yield f"{name}: a decision by {asked.role}, for ever"
    for kind, _ in machine.deferred:
        yield f"{kind}: it came early, and waits for a state that takes it"


def _waits_of_state(state: ChartState, node: Json) -> Iterator[str]:
    events = [one for many in state.transitions.values() for one in many if one.event is not None]
    for label in dict.fromkeys(one.label for one in events):
        yield f"{state.name}: {label}"
    dues: Any = node.get("d", {})
    for place, due in dues.items():
        yield f"{state.name}: {from_micros(due).isoformat()}, {state.timers[int(place)].label}"


def _waits_of_command(one: Send, effect: Effect, machine: MachineInstance) -> Iterator[str]:
    command = spec_of(one.command).type
    if effect.status is EffectStatus.RUNNING:
        limit = "for ever" if one.timeout is None else f"at most {one.timeout:g} s after it was sent"
        yield f"{one.name}: the answer to {command}, try {effect.attempts}, {limit}"
    elif effect.status is EffectStatus.BACKING_OFF and effect.due is not None:
        yield f"{one.name}: {from_micros(effect.due).isoformat()}, when {command} is sent again"
    elif effect.status is EffectStatus.STUCK:
        yield f"{one.name}: an operator, to retry, skip or resolve it ({effect.note})"
    elif effect.command is not None and machine.is_active(one.state):
        yield f"{one.name}: an operator, to retry it ({effect.note})"


def _waits_of_flow(name: str, flow: str, node: Json) -> Iterator[str]:
    effect = Effect.load(node)
    if effect.status is EffectStatus.RUNNING:
        yield f"{name}: the end of {effect.key or flow}" + (", which was asked to stop" if effect.asked else "")
    undoing: Any = node.get("u")
    if undoing is not None and undoing["s"] == "running":
        yield f"{name}: {effect.key or flow}, to undo what it did"
