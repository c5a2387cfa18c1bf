"""What becomes of a step's action when a reply, a rejection, a refusal or nothing comes?"""

from __future__ import annotations

from orchestra.events.envelope import Envelope
from orchestra.events.message import Command, Event, StepFailed, StepRefused, encode_data, record_key
from orchestra.flows.behaviour import Values
from orchestra.flows.decision import Status
from orchestra.flows.draft import Draft, checked
from orchestra.flows.effect import Effect, EffectStatus
from orchestra.flows.failure import Cause
from orchestra.flows.graph import CallNode, Kind, StepNode
from orchestra.flows.step_state import StepState, undo_of
from orchestra.flows.timer import due_again, is_alert_due


def send(node: StepNode, state: StepState, values: Values, draft: Draft) -> None:
    """Send the command: the first time, or again, with a new message id and expiry. What may have been done keeps its
    effect id; what is proven not done is begun anew, as another effect."""
    effect = state.action
    if effect.last is not None:
        # Proven not done, and recorded so by the service, which would only repeat it under this effect id.
        effect.iteration += effect.stride
    if effect.started is None:
        effect.started = draft.now
    made = node.make(draft.flow(effect.started), *values())
    message = checked(f"{draft.graph.label}.{node.name}", made, node.command)
    effect.attempts += 1
    effect.status = EffectStatus.RUNNING
    effect.due = None
    effect.last = None
    effect.generation = 0 if node.timeout is None else draft.instance.next_generation()
    if isinstance(node, CallNode):
        effect.key = draft.call(node.name, effect, node.flow, message)
    else:
        assert isinstance(message, Command)
        if node.undo is not None:
            effect.key = text_key(record_key(message))
            effect.command = encode_data(message).decode() if node.undo.make is None else None
        # Later than that, the coordinator may have given the step up: a service must not begin it then.
        expires = None if node.kind is Kind.RETRIABLE else node.timeout
        draft.command(node.name, "action", effect, message, expires_in=expires)
    draft.note("step.started" if effect.spent == 1 else "step.sent_again", node.name, effect)


def text_key(key: bytes | None) -> str | None:
    return None if key is None else key.decode()


def replied(node: StepNode, state: StepState, event: Envelope, reply: Event, draft: Draft) -> None:
    effect = state.action
    if effect.status.is_open:
        _done(node, effect, event, reply, draft, "step.replied")
    elif effect.status in (EffectStatus.UNKNOWN, EffectStatus.REJECTED, EffectStatus.REFUSED):
        _replied_late(node, state, event, reply, draft)
    else:
        draft.ignore("input.ignored", node.name, effect, "action", f"a duplicate: the step is {effect.status}")


def _done(node: StepNode, effect: Effect, event: Envelope, reply: Event, draft: Draft, what: str) -> None:
    effect.settle(EffectStatus.DONE, draft.now)
    effect.outcome = draft.record(f"{node.name}/{effect.iteration}/done", event, reply)
    draft.note(what, node.name, effect, note=event.type)


def _replied_late(node: StepNode, state: StepState, event: Envelope, reply: Event, draft: Draft) -> None:
    """It was given up, or even proven not done, and now it is done. The flow never goes on from here: what can still be
    undone is undone."""
    effect, instance = state.action, draft.instance
    if effect.status is not EffectStatus.UNKNOWN:
        draft.alert("outcome.contradiction", node.name, f"it was {effect.status}, and now {event.type} says it is done")
    if instance.status is Status.HALTED:
        _done(node, effect, event, reply, draft, "step.replied_late")
    elif node.undo is None or (state.undo is not None and state.undo.status is not EffectStatus.PLANNED):
        draft.ignore("outcome.late", node.name, effect, "action", "it is too late to make a difference to the undo")
    else:
        _done(node, effect, event, reply, draft, "step.replied_late")
        if (instance.frozen or node.name in instance.lost) and state.undo is None:
            _append_undo(node, state, draft)


def _append_undo(node: StepNode, state: StepState, draft: Draft) -> None:
    state.undo = undo_of(state)
    draft.note("undo.planned", node.name, note="appended: its action was done after all")
    if draft.instance.status.is_final:
        was_undone = draft.instance.status is Status.COMPENSATED
        draft.instance.status = Status.COMPENSATING if was_undone else Status.RUNNING
        draft.instance.ended = None


def rejected(node: StepNode, state: StepState, event: Envelope, rejection: Event, draft: Draft) -> None:
    effect = state.action
    instance = draft.instance
    is_open = state.undo is None and not instance.status.is_final
    still_counts = (
        effect.status is EffectStatus.UNKNOWN
        and is_open
        and (instance.lets_go(node.name) or instance.status is Status.HALTED)
    )
    if not (effect.status.is_open or still_counts):
        draft.ignore("input.ignored", node.name, effect, "action", f"a rejection, but the step is {effect.status}")
    elif effect.status is EffectStatus.BACKING_OFF and effect.last == EffectStatus.REJECTED:
        draft.ignore("input.ignored", node.name, effect, "action", "a duplicate: it waits to be begun anew")
    elif node.kind is Kind.RETRIABLE and not draft.instance.lets_go(node.name):
        draft.note("step.rejected", node.name, effect, note=event.type)
        draft.alert("retriable.rejected", node.name, f"{event.type}: it is tried again, without end")
        effect.last = EffectStatus.REJECTED
        _again(node, effect, draft)
    else:
        effect.settle(EffectStatus.REJECTED, draft.now)
        effect.outcome = draft.record(f"{node.name}/{effect.iteration}/rejected", event, rejection)
        draft.note("step.rejected", node.name, effect, note=event.type)
        name = type(rejection).__name__
        draft.fail(node.name, Cause.REJECTED, f"rejected: {name}")


def refused(node: StepNode, state: StepState, refusal: StepRefused, draft: Draft) -> None:
    """Proven not done, and never will be: the command came too late, or is barred. A new effect may come in time."""
    effect = state.action
    if effect.status is not EffectStatus.RUNNING:
        draft.ignore("input.ignored", node.name, effect, "action", f"a refusal, but the step is {effect.status}")
        return
    reason = f"refused: {refusal.reason}"
    draft.note("step.refused", node.name, effect, note=reason)
    insists = node.kind is Kind.RETRIABLE
    if not draft.instance.lets_go(node.name) and (insists or node.retry.allows(effect.spent + 1)):
        effect.last = EffectStatus.REFUSED
        if insists and is_alert_due(effect.spent, node.retry):
            draft.alert("retriable.refused", node.name, reason)
        _again(node, effect, draft)
    else:
        effect.settle(EffectStatus.REFUSED, draft.now, reason)
        draft.fail(node.name, Cause.REFUSED, reason)


def dead_lettered(node: StepNode, state: StepState, failed: StepFailed, draft: Draft) -> None:
    """Nobody will answer this try: unknown at once. Another would end the same way, so there is none, save for steps
    that must be done."""
    effect = state.action
    if not effect.status.is_open or (effect.status is EffectStatus.BACKING_OFF and node.kind.insists):
        draft.ignore("input.ignored", node.name, effect, "action", f"a dead letter, but the step is {effect.status}")
        return
    reason = f"dead-lettered: {failed.reason}"
    draft.note("step.dead_lettered", node.name, effect, note=f"{reason} ({failed.dead_letter_id})")
    _unknown(node, effect, draft, reason, failed.dead_letter_id)


def timed_out(node: StepNode, state: StepState, draft: Draft) -> None:
    effect = state.action
    tries = "try" if effect.spent == 1 else "tries"
    reason = f"no answer within {node.timeout:g} s, in {effect.spent} {tries}"
    draft.note("step.timed_out", node.name, effect, note=reason)
    _unknown(node, effect, draft, reason, None)


def _unknown(node: StepNode, effect: Effect, draft: Draft, reason: str, dead_letter_id: str | None) -> None:
    effect.letter = dead_letter_id
    if draft.instance.lets_go(node.name):
        effect.settle(EffectStatus.UNKNOWN, draft.now, reason)
    elif node.kind.insists:
        if dead_letter_id is not None or is_alert_due(effect.spent, node.retry):
            draft.alert(f"{node.kind}.unknown", node.name, f"{reason}; it is tried again until it is answered")
        _again(node, effect, draft)
    elif dead_letter_id is None and node.retry.allows(effect.spent + 1):
        _again(node, effect, draft)
    else:
        effect.settle(EffectStatus.UNKNOWN, draft.now, reason)
        draft.fail(node.name, Cause.UNKNOWN, reason, dead_letter_id)


def _again(node: StepNode, effect: Effect, draft: Draft) -> None:
    of = draft.effect_id(node.name, "action", effect.iteration)
    effect.status = EffectStatus.BACKING_OFF
    effect.generation = draft.instance.next_generation()
    effect.due = due_again(draft.now, of, effect.attempts, effect.spent, node.retry)


def cancel(node: StepNode, state: StepState, draft: Draft) -> None:
    """The flow, or the step's branch, fails. What is out is asked to stop and awaited, for it must be known what there
    is to undo; nothing is sent again."""
    effect = state.action
    if effect.status is EffectStatus.RUNNING and node.kind is Kind.READ_ONLY:
        effect.settle(EffectStatus.CANCELLED, draft.now)
        draft.note("step.cancelled", node.name, effect, note="nothing to undo, so it is not awaited")
    elif effect.status is EffectStatus.BACKING_OFF:
        status = EffectStatus(effect.last or EffectStatus.UNKNOWN)
        effect.settle(status, draft.now, "not tried again: the flow, or its branch, fails")
        draft.note("step.cancelled", node.name, effect, note=f"not tried again: {status}")
    elif effect.status is EffectStatus.RUNNING and not effect.asked and effect.key is not None:
        effect.asked = True
        if isinstance(node, CallNode):
            draft.ask(node.name, "action", effect, effect.key, "cancel", "its caller fails")
        else:
            draft.cancel(node.name, effect, node.command)
        draft.note("step.cancel_sent", node.name, effect, note="it is awaited, for it may be done already")


def retry_by_hand(node: StepNode, state: StepState, values: Values, draft: Draft) -> str | None:
    """An operator's retry. Returns why not, or None when it is sent."""
    effect = state.action
    if effect.status is EffectStatus.BACKING_OFF or (
        effect.status is EffectStatus.RUNNING and node.timeout is None and not draft.instance.lets_go(node.name)
    ):
        send(node, state, values, draft)
        return None
    if draft.instance.status is not Status.HALTED or effect.status not in _HALTING:
        return f"the step is {effect.status}"
    if effect.status is not EffectStatus.UNKNOWN:
        effect.last = EffectStatus.REJECTED
        effect.started = None
    effect.before = effect.attempts
    effect.outcome = effect.ended = None
    effect.note = ""
    send(node, state, values, draft)
    return None


_HALTING = (EffectStatus.REJECTED, EffectStatus.REFUSED, EffectStatus.UNKNOWN)
