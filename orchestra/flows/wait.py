"""How does a wait for an event from outside go?

An event may come before its wait begins: it is kept, with a bound, and taken when the wait begins. One that comes when
nothing waits for it any more changes nothing, and the journal says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestra.events.envelope import Envelope
from orchestra.events.message import Event, spec_of
from orchestra.flows.behaviour import Values, Yields
from orchestra.flows.decision import Json
from orchestra.flows.draft import Draft
from orchestra.flows.failure import Cause, Failure
from orchestra.flows.graph import WaitNode
from orchestra.flows.instance import Instance, dump_event, load_event
from orchestra.flows.waiting import Waiting, WaitState, WaitStatus, begin_waiting, until

MOST_EARLY = 20
"""Events that are kept for one wait that has not begun; a further one pushes the oldest out, with an alert."""


class WaitBehaviour(Waiting):
    """It waits for an event, and yields it."""

    def begin(self, node: WaitNode, values: Values, draft: Draft) -> WaitState:
        state = begin_waiting(draft, node.timeout)
        draft.note("wait.started", node.name, note=spec_of(node.event).type)
        for raw in draft.instance.early.pop(node.name, ()):
            if state.status is not WaitStatus.WAITING or not take(node, state, load_event(raw), draft):
                _pass_on(node, raw, draft)
        return state

    def value(self, node: WaitNode, state: WaitState, yields: Yields) -> Event | None:
        return None if state.outcome is None else state.outcome.value(node.event, yields.stored)

    def failure(self, node: WaitNode, state: WaitState, yields: Yields) -> Failure:
        return Failure(node.name, Cause.TIMED_OUT, state.note)

    def time_is_up(self, node: WaitNode, state: WaitState, draft: Draft) -> None:
        reason = f"no {spec_of(node.event).type} within {node.timeout:g} s"
        if node.on_timeout == "continue":
            state.settle(WaitStatus.OMITTED, draft.now, reason)
            draft.note("wait.timed_out", node.name, note=f"{reason}; the flow goes on without it")
        else:
            state.settle(WaitStatus.TIMED_OUT, draft.now, reason)
            draft.note("wait.timed_out", node.name, note=reason)
            draft.fail(node.name, Cause.TIMED_OUT, reason)

    def waits_for(self, node: WaitNode, state: WaitState, instance: Instance) -> Iterator[str]:
        if state.status is WaitStatus.WAITING:
            yield f"{node.name}: the event {spec_of(node.event).type}, {until(state.due)}"


def take(node: WaitNode, state: WaitState, event: Envelope, draft: Draft) -> bool:
    """The event that was waited for, if ``where`` says so. Raises DecodeError where its data is not valid."""
    value = event.value(node.event)
    if node.where is not None and not node.where(draft.flow(None), value):
        return False
    state.settle(WaitStatus.DONE, draft.now)
    state.outcome = draft.record(f"{node.name}/event", event, value)
    if len(draft.graph.waits[event.type]) > 1:
        state.taken = _identity(event)
    draft.cause = event.id
    draft.note("wait.over", node.name, note=f"{event.type} {event.id}")
    return True


def occurred(waits: Sequence[WaitNode], event: Envelope, draft: Draft) -> str | None:
    """An event came that these nodes may take. Returns the node that has taken it, if one has."""
    instance = draft.instance
    for node in waits:
        state = instance.nodes.get(node.name)
        if isinstance(state, WaitState) and state.taken == _identity(event):
            draft.ignore("event.ignored", node.name, None, "action", f"a duplicate: {node.name} has taken {event.id}")
            return None
        if _is_kept(instance.early.get(node.name, ()), event):
            draft.ignore("event.ignored", node.name, None, "action", f"a duplicate: {event.id} is kept already")
            return None
    for node in waits:
        state = instance.nodes.get(node.name)
        if isinstance(state, WaitState) and state.status is WaitStatus.WAITING and take(node, state, event, draft):
            return node.name
    for node in waits:
        if node.name not in instance.nodes and instance.failure is None and node.name not in instance.lost:
            _keep(node, event, draft)
            return None
    draft.ignore("event.late", None, None, "action", f"nothing waits for {event.type} {event.id}, now or later")
    return None


def _pass_on(node: WaitNode, raw: Json, draft: Draft) -> None:
    """An early event that this wait has not taken: for the next one that it may be for."""
    instance, event = draft.instance, load_event(raw)
    for other in draft.graph.waits[event.type]:
        state = instance.nodes.get(other.name)
        if other is node:
            continue
        if isinstance(state, WaitState) and state.status is WaitStatus.WAITING and take(other, state, event, draft):
            draft.touched.append(other.name)
            return
        if state is None and other.name not in instance.lost:
            instance.early.setdefault(other.name, []).append(raw)
            return
    draft.ignore("event.late", node.name, None, "action", f"nothing else waits for {event.type} {event.id}")


def _is_kept(kept: Sequence[Json], event: Envelope) -> bool:
    return any(one["id"] == event.id and one["source"] == event.source for one in kept)


def _identity(event: Envelope) -> str:
    return f"{event.source} {event.id}"


def _keep(node: WaitNode, event: Envelope, draft: Draft) -> None:
    event.value(node.event)  # what is not valid is refused now, not when the wait begins
    kept = draft.instance.early.setdefault(node.name, [])
    kept.append(dump_event(event))
    draft.note("event.early", node.name, note=f"{event.type} {event.id} is kept until it is waited for")
    if len(kept) > MOST_EARLY:
        lost = kept.pop(0)
        note = f"more than {MOST_EARLY} early events; the oldest, {lost['id']}, is dropped"
        draft.note("event.dropped", node.name, note=note)
        draft.alert("event.dropped", node.name, note)
