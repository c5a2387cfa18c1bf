"""In which order is what was done undone, and what becomes of one undo?

The plan is frozen when compensation begins: it is the set of nodes whose undoing is planned. A node is undone when all
that came after it is; branches of one parallel block are undone side by side.
"""

from __future__ import annotations

from typing import Any, cast

from orchestra.errors import DefinitionError
from orchestra.events.envelope import Envelope
from orchestra.events.message import Command, Event, Undo, decode_data, record_key
from orchestra.flows.action import text_key
from orchestra.flows.decision import OperatorRequest
from orchestra.flows.draft import Draft, checked
from orchestra.flows.effect import Effect, EffectStatus, answer_class
from orchestra.flows.graph import CallNode, Graph, StepNode, UndoPart
from orchestra.flows.instance import Instance
from orchestra.flows.progress import Undoing
from orchestra.flows.step_state import StepState, undo_of
from orchestra.flows.timer import due_again


def ready_to_undo(graph: Graph, instance: Instance) -> list[str]:
    """The planned nodes after which nothing is left to undo. The newest first."""
    undoing = {name: instance.undoing(name) for name in instance.nodes}
    unfinished = {name for name, how in undoing.items() if how not in (Undoing.NONE, Undoing.FINISHED)}
    return [
        name
        for name in reversed(tuple(graph.nodes))
        if undoing.get(name) is Undoing.PLANNED and not unfinished & graph.descendants[name]
    ]


def plan(node: StepNode, state: StepState, draft: Draft) -> None:
    """Whatever was done, or may have been, and can be undone, is."""
    maybe_done = state.action.status in (EffectStatus.DONE, EffectStatus.UNKNOWN)
    if node.undo is not None and state.undo is None and maybe_done:
        state.undo = undo_of(state)
        draft.note("undo.planned", node.name, note=f"its action is {state.action.status}")


def send(node: StepNode, state: StepState, draft: Draft) -> None:
    """Send the compensation, the first time or again. It never expires."""
    part, effect = _undo_of(node, state)
    if effect.started is None:
        effect.started = draft.now
    if isinstance(node, CallNode):
        _recall(node, state, effect, draft)
        return
    command = _made(node, part, state, effect, draft)
    if text_key(record_key(command)) != state.action.key:
        raise DefinitionError(
            f"{draft.graph.label}.{node.name}: {part.label} made {type(command).__name__} with the record key "
            f"{text_key(record_key(command))!r}, and the action had {state.action.key!r}; give it the same key, or "
            f"it could overtake its action"
        )
    _begin_try(effect, draft)
    draft.command(node.name, "undo", effect, command, expires_in=None)
    draft.note("undo.started" if effect.spent == 1 else "undo.sent_again", node.name, effect, "undo")


def _begin_try(effect: Effect, draft: Draft) -> None:
    effect.attempts += 1
    effect.status = EffectStatus.RUNNING
    effect.due = None
    effect.generation = draft.instance.next_generation()


def _recall(node: CallNode, state: StepState, effect: Effect, draft: Draft) -> None:
    """A flow that was called undoes itself when it is asked to."""
    _begin_try(effect, draft)
    assert state.action.key is not None
    draft.ask(node.name, "undo", effect, state.action.key, "undo", "its caller is undone")
    draft.note("undo.started" if effect.spent == 1 else "undo.sent_again", node.name, effect, "undo", state.action.key)


def _made(node: StepNode, part: UndoPart, state: StepState, effect: Effect, draft: Draft) -> Command[Any, Any]:
    action = state.action
    reply: Event | None = None
    if action.status is EffectStatus.DONE and action.outcome is not None:
        reply = action.outcome.value(answer_class(action.outcome.type, node.answers), draft.instance.stored)
    if part.make is not None:
        made = part.make(draft.flow(effect.started), reply)
        return checked(f"{draft.graph.label}.{part.label}", made, cast("type[Command[Any, Any]]", part.answers.command))
    assert action.command is not None  # kept when it was sent, because the undo is the built-in one
    command = decode_data(cast("type[Command[Any, Any]]", node.command), action.command.encode())
    return Undo.of(command, effect_id=draft.effect_id(node.name, "action", action.iteration), reply=reply)


def _undo_of(node: StepNode, state: StepState) -> tuple[UndoPart, Effect]:
    assert node.undo is not None  # an undo is planned only where one is declared
    assert state.undo is not None
    return node.undo, state.undo


def replied(node: StepNode, state: StepState, event: Envelope, draft: Draft) -> None:
    _, effect = _undo_of(node, state)
    if effect.status.is_open or effect.status is EffectStatus.STUCK:
        effect.settle(EffectStatus.DONE, draft.now)
        draft.note("undo.done", node.name, effect, "undo", event.type)
    else:
        draft.ignore("input.ignored", node.name, effect, "undo", f"a duplicate: the undo is {effect.status}")


def failed(node: StepNode, state: StepState, reason: str, draft: Draft) -> None:
    """Rejected, refused, dead-lettered or unanswered: tried again while its own budget lasts, then left to somebody."""
    part, effect = _undo_of(node, state)
    if effect.status is not EffectStatus.RUNNING:
        draft.ignore("input.ignored", node.name, effect, "undo", f"{reason}, but the undo is {effect.status}")
        return
    draft.note("undo.failed", node.name, effect, "undo", reason)
    if part.retry.allows(effect.spent + 1):
        of = draft.effect_id(node.name, "undo", effect.iteration)
        effect.status = EffectStatus.BACKING_OFF
        effect.generation = draft.instance.next_generation()
        effect.due = due_again(draft.now, of, effect.attempts, effect.spent, part.retry)
        return
    effect.status = EffectStatus.STUCK
    effect.generation = 0
    effect.note = reason
    draft.note("undo.stuck", node.name, effect, "undo", reason)
    draft.alert("compensation.stuck", node.name, f"{reason}; after {effect.spent} tries an operator must decide")


def operate(node: StepNode, state: StepState, request: OperatorRequest, draft: Draft) -> str | None:
    """Retry, skip or resolve an undo. Returns why not, or None when it is done."""
    _, effect = _undo_of(node, state)
    if request.action == "retry" and effect.status in (EffectStatus.STUCK, EffectStatus.BACKING_OFF):
        effect.before = effect.attempts
        effect.note = ""
        send(node, state, draft)
        return None
    if request.action in ("skip", "resolve") and effect.status is EffectStatus.STUCK:
        status = EffectStatus.SKIPPED if request.action == "skip" else EffectStatus.RESOLVED
        note = f"{status} by {request.by}: {request.reason}"
        effect.settle(status, draft.now, note)
        draft.note(f"undo.{status}", node.name, effect, "undo", note)
        return None
    return f"its undo is {effect.status}"
