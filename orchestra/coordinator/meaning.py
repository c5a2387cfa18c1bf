"""What does an input ask for: of the coordinator, or of the flow? Pure."""

from __future__ import annotations

from orchestra.coordinator.inbox import operator_request
from orchestra.coordinator.record import Given, Instance, finished_steps
from orchestra.coordinator.taking import Taking
from orchestra.flows.decision import (
    Decision,
    Definition,
    Input,
    Occurred,
    OperatorRequest,
    Outcome,
    TimerFired,
)


def decide(definition: Definition, taking: Taking, given: Given) -> Decision:
    """What the flow decides: its start, its start once more, or what follows from the input."""
    instance, now = taking.instance, taking.now
    if instance.version is None:
        return definition.start(given.event, instance_id=instance.id, run=instance.run, now=now)
    assert instance.state is not None
    if restart_of(given) is not None:
        start = definition.start_event(instance.state, values=taking.value)
        return definition.start(start, instance_id=instance.id, run=given.offset or 0, now=now)
    return definition.advance(instance.state, _input(given), now=now, values=taking.value)


def _input(given: Given) -> Input:
    if given.timer is not None:
        return TimerFired(*given.timer)
    if given.kind == "operator":
        return operator_request(given.event)
    event = given.event
    return Occurred(event) if given.kind == "event" else Outcome(event.get("effectid") or "", event)


def _request(given: Given) -> OperatorRequest | None:
    return operator_request(given.event) if given.kind == "operator" and not given.omitted else None


def restart_of(given: Given) -> OperatorRequest | None:
    """The request, where an operator wants the instance to begin again."""
    request = _request(given)
    return request if request is not None and request.action == "restart" else None


def unparks(given: Given) -> bool:
    """Whether an operator says what to do about the input that is in the way. Other requests wait behind it."""
    request = _request(given)
    return request is not None and request.action in ("retry", "skip", "cancel", "resolve")


def revives(instance: Instance, given: Given) -> bool:
    """Whether a finished instance may have to undo itself: the flow that called it asks for that."""
    request = _request(given)
    return instance.state is not None and request is not None and request.action == "undo"


def already_decided(instance: Instance, given: Given) -> str:
    """For a decision that comes when the instance is over: who decided before, where somebody did."""
    request = _request(given)
    if request is None or request.action not in ("approve", "reject"):
        return ""
    for step in finished_steps(instance):
        if step.kind == "approval" and request.step in (None, step.name) and step.note.startswith("by "):
            return f"; {step.name} was decided already, {step.note}"
    return ""
