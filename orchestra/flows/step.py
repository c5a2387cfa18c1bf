"""How does a step go: its command, its outcome, its undoing? The behaviour of step nodes.

Each effect is answered by a reply, a rejection or a refusal (both: proven not done), or it stays unknown. Unknown is
never treated as not done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestra.events.envelope import Envelope
from orchestra.events.message import Event, StepFailed, StepRefused, spec_of
from orchestra.flows import action, compensation
from orchestra.flows.behaviour import Address, Values, Yields
from orchestra.flows.decision import Answers, OperatorRequest, StepView, Timer, effect_id
from orchestra.flows.draft import Draft
from orchestra.flows.effect import (
    Answer,
    Effect,
    EffectStatus,
    Phase,
    answer_class,
    answers_older_try,
    message_id,
    read_answer,
)
from orchestra.flows.failure import Cause, Failure
from orchestra.flows.graph import StepNode
from orchestra.flows.instance import Instance
from orchestra.flows.step_state import StepState
from orchestra.flows.timer import from_micros


class StepBehaviour:
    """A command goes out; its reply is the step's value."""

    def load(self, raw: Mapping[str, Any]) -> StepState:
        return StepState.load(raw)

    def begin(self, node: StepNode, values: Values, draft: Draft) -> StepState:
        state = StepState()
        if node.when is not None and not node.when(draft.flow(None), *values()):
            state.action.status = EffectStatus.OMITTED
            draft.note("step.omitted", node.name, note="its guard says no")
        else:
            action.send(node, state, values, draft)
        return state

    def value(self, node: StepNode, state: StepState, yields: Yields) -> Event | None:
        return None if state.action.status is EffectStatus.OMITTED else _answer(node, state, yields)

    def failure(self, node: StepNode, state: StepState, yields: Yields) -> Failure:
        effect = state.action
        if effect.status is EffectStatus.REJECTED and effect.outcome is not None:
            rejection = _answer(node, state, yields)
            return Failure(node.name, Cause.REJECTED, f"rejected: {type(rejection).__name__}", rejection)
        return Failure(node.name, _CAUSES[effect.status], effect.note, None, effect.letter)

    def outcome(self, node: StepNode, state: StepState, address: Address, event: Envelope, draft: Draft) -> None:
        effect = state.effect(address.phase)
        if effect is None or not effect.attempts or address.iteration > effect.iteration:
            draft.ignore("outcome.unknown", node.name, None, address.phase, "nothing was sent under this effect id")
            return
        answers = _answers(node, address)
        answer, value = read_answer(event, answers)
        if answer is Answer.FOREIGN:
            note = f"{event.type} is no answer to {spec_of(answers.command).type}"
            draft.ignore("outcome.unexpected", node.name, effect, address.phase, note)
            draft.alert("outcome.unexpected", node.name, note)
        elif address.iteration < effect.iteration:
            self._of_earlier_effect(node, effect, address, answer, event, draft)
        elif answer is not Answer.REPLY and answers_older_try(
            event, draft.effect_id(node.name, address.phase, effect.iteration), effect.attempts
        ):
            draft.ignore(
                "outcome.superseded", node.name, effect, address.phase, "a newer try is out; its answer counts"
            )
        elif address.phase == "action":
            _to_action(node, state, answer, value, event, draft)
        else:
            _to_undo(node, state, answer, value, event, draft)

    def _of_earlier_effect(
        self, node: StepNode, effect: Effect, address: Address, answer: Answer, event: Envelope, draft: Draft
    ) -> None:
        """The step has begun anew because this effect was proven not done."""
        draft.ignore(
            "input.ignored", node.name, effect, address.phase, f"{event.type} is of an effect that is proven not done"
        )
        if answer is Answer.REPLY:
            draft.alert("outcome.contradiction", node.name, f"{address} was not done, and now {event.type} says it is")

    def timer(
        self, node: StepNode, state: StepState, address: Address, generation: int, values: Values, draft: Draft
    ) -> None:
        effect = state.effect(address.phase)
        if effect is None or not effect.generation or effect.generation != generation:
            draft.ignore(
                "timer.stale", node.name, effect, address.phase, f"generation {generation} is not the pending one"
            )
            return
        draft.cause = _last_message(node, address.phase, effect, draft)
        is_due_again = effect.status is EffectStatus.BACKING_OFF
        if address.phase == "action":
            action.send(node, state, values, draft) if is_due_again else action.timed_out(node, state, draft)
        elif is_due_again:
            compensation.send(node, state, draft)
        else:
            timeout = node.undo.timeout if node.undo else 0.0
            compensation.failed(node, state, f"no answer within {timeout:g} s", draft)

    def cancel(self, node: StepNode, state: StepState, draft: Draft) -> None:
        action.cancel(node, state, draft)

    def is_final(self, node: StepNode, state: StepState) -> bool:
        return node.kind.insists and (state.action.status.is_open or state.action.status is EffectStatus.DONE)

    def plan_undo(self, node: StepNode, state: StepState, draft: Draft) -> None:
        compensation.plan(node, state, draft)

    def undo(self, node: StepNode, state: StepState, draft: Draft) -> None:
        compensation.send(node, state, draft)

    def operate(
        self, node: StepNode, state: StepState, request: OperatorRequest, values: Values, draft: Draft
    ) -> str | None:
        if state.undo is not None and state.undo.status is not EffectStatus.PLANNED:
            draft.cause = _last_message(node, "undo", state.undo, draft)
            return compensation.operate(node, state, request, draft)
        if request.action == "retry":
            draft.cause = _last_message(node, "action", state.action, draft)
            return action.retry_by_hand(node, state, values, draft)
        return "only a compensation that is stuck can be skipped or resolved"

    def timers(self, node: StepNode, state: StepState, instance: Instance) -> Sequence[Timer]:
        found = _timer(node.name, "action", state.action, node.timeout, instance)
        if state.undo is not None and node.undo is not None:
            return (*found, *_timer(node.name, "undo", state.undo, node.undo.timeout, instance))
        return found

    def views(self, node: StepNode, state: StepState | None) -> Iterator[StepView]:
        if state is None:
            yield StepView(node.name, "waiting", node.kind)
            return
        yield _view(node.name, node.kind, state.action)
        if state.undo is not None and node.undo is not None:
            yield _view(node.undo.label, f"undo of {node.name}", state.undo)

    def waits_for(self, node: StepNode, state: StepState, instance: Instance) -> Iterator[str]:
        yield from _waits(node.name, state.action, spec_of(node.command).type, node.timeout)
        if state.undo is not None and node.undo is not None:
            undo = node.undo
            yield from _waits(f"undo of {node.name}", state.undo, spec_of(undo.answers.command).type, undo.timeout)


def _last_message(node: StepNode, phase: Phase, effect: Effect, draft: Draft) -> str:
    """The id of the newest message of an effect: what a timer or an operator follows up on."""
    return message_id(draft.effect_id(node.name, phase, effect.iteration), effect.attempts)


_CAUSES = {
    EffectStatus.REJECTED: Cause.REJECTED,
    EffectStatus.REFUSED: Cause.REFUSED,
    EffectStatus.UNKNOWN: Cause.UNKNOWN,
    EffectStatus.CANCELLED: Cause.CANCELLED,
}


def _answer(node: StepNode, state: StepState, yields: Yields) -> Event:
    outcome = state.action.outcome
    assert outcome is not None  # a step that is done has its reply, and one that is rejected its rejection
    return outcome.value(answer_class(outcome.type, node.answers), yields.stored)


def _answers(node: StepNode, address: Address) -> Answers:
    return node.undo.answers if address.phase == "undo" and node.undo else node.answers


def _to_action(
    node: StepNode, state: StepState, answer: Answer, value: Event | None, event: Envelope, draft: Draft
) -> None:
    assert value is not None
    if answer is Answer.REPLY:
        action.replied(node, state, event, value, draft)
    elif answer is Answer.REJECTION:
        action.rejected(node, state, event, value, draft)
    elif isinstance(value, StepFailed):
        action.dead_lettered(node, state, value, draft)
    elif isinstance(value, StepRefused):
        action.refused(node, state, value, draft)


def _to_undo(
    node: StepNode, state: StepState, answer: Answer, value: Event | None, event: Envelope, draft: Draft
) -> None:
    if answer is Answer.REPLY:
        compensation.replied(node, state, event, draft)
    elif isinstance(value, StepFailed):
        compensation.failed(node, state, f"dead-lettered: {value.reason} ({value.dead_letter_id})", draft)
    elif isinstance(value, StepRefused):
        compensation.failed(node, state, f"refused: {value.reason}", draft)
    else:
        compensation.failed(node, state, f"rejected: {event.type}", draft)


def _timer(step: str, phase: Phase, effect: Effect, timeout: float | None, instance: Instance) -> tuple[Timer, ...]:
    if not effect.generation or (effect.due is None and timeout is None):
        return ()
    name = f"{step}/{phase}/{effect.iteration}"
    if effect.due is not None:
        return (Timer(name, effect.generation, from_micros(effect.due)),)
    of = effect_id(instance.id, instance.run, step, phase, effect.iteration)
    return (Timer(name, effect.generation, None, message_id(of, effect.attempts), timeout or 0.0),)


def _view(name: str, kind: str, effect: Effect) -> StepView:
    return StepView(
        name=name,
        status=effect.status.value,
        kind=kind,
        attempts=effect.attempts,
        started_at=None if effect.started is None else from_micros(effect.started).isoformat(),
        ended_at=None if effect.ended is None else from_micros(effect.ended).isoformat(),
        outcome=None if effect.outcome is None else effect.outcome.type,
        note=effect.note,
    )


def _waits(name: str, effect: Effect, command: str, timeout: float | None) -> Iterator[str]:
    if effect.status is EffectStatus.RUNNING:
        limit = "for ever" if timeout is None else f"at most {timeout:g} s after it was sent"
        yield f"{name}: the answer to {command}, try {effect.attempts}, {limit}"
    elif effect.status is EffectStatus.BACKING_OFF and effect.due is not None:
        yield f"{name}: {from_micros(effect.due).isoformat()}, when {command} is sent again, try {effect.attempts + 1}"
    elif effect.status is EffectStatus.STUCK:
        yield f"{name}: an operator, to retry, skip or resolve it ({effect.note})"
