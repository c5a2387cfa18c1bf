"""What does an answer to a command, or to a flow that was called, mean to a machine? And what if none comes?"""

from __future__ import annotations

from orchestra.events.envelope import Envelope
from orchestra.events.message import Event, FlowFailed, StepFailed, StepRefused, spec_of
from orchestra.flows.behaviour import Address
from orchestra.flows.effect import Answer, Effect, EffectStatus, answers_older_try, read_answer
from orchestra.flows.failure import Cause, Failure
from orchestra.flows.machine.chart import Run, Send
from orchestra.flows.machine.doing import back_off, keep_undo, send_again, undo, undo_of
from orchestra.flows.machine.turn import Turn
from orchestra.flows.machine.walk import Walk
from orchestra.ids import derived_id

_FAILED = spec_of(FlowFailed).type


def answer_command(one: Send, address: Address, event: Envelope, walk: Walk, turn: Turn) -> None:
    """An answer to a command."""
    effect = turn.effect(one.name)
    if effect is None or address.phase != "action" or address.iteration > effect.iteration:
        turn.ignore("outcome.unknown", one.name, None, address.phase, "nothing was sent under this effect id")
        return
    answer, value = read_answer(event, one.answers)
    if answer is Answer.FOREIGN:
        note = f"{event.type} is no answer to {spec_of(one.command).type}"
        turn.ignore("outcome.unexpected", one.name, effect, "action", note)
        turn.alert("outcome.unexpected", one.name, note)
    elif address.iteration < effect.iteration:
        turn.ignore(
            "outcome.late", one.name, effect, "action", f"{event.type} answers {address}, of an earlier visit or try"
        )
    elif answer is not Answer.REPLY and answers_older_try(
        event, turn.effect_id(one.name, "action", effect.iteration), effect.attempts
    ):
        turn.ignore("outcome.superseded", one.name, effect, "action", "a newer try is out; its answer counts")
    elif answer is Answer.REPLY:
        assert value is not None
        _replied(one, effect, event, value, walk, turn)
    elif not effect.status.is_open or (
        one.is_owed and isinstance(value, StepFailed) and effect.status is EffectStatus.BACKING_OFF
    ):
        turn.ignore("input.ignored", one.name, effect, "action", f"{event.type}, but the command is {effect.status}")
    elif effect.status is EffectStatus.BACKING_OFF and _is_old(one, effect, value):
        turn.ignore("input.ignored", one.name, effect, "action", f"{event.type}, but it waits to be sent again")
    elif isinstance(value, StepFailed):
        why = f"dead-lettered: {value.reason}"
        turn.note("command.dead_lettered", one.name, effect, note=f"{why} ({value.dead_letter_id})")
        failure = Failure(one.name, Cause.UNKNOWN, why, dead_letter_id=value.dead_letter_id)
        _not_done(one, effect, failure, walk, turn, again=one.is_owed)
    elif isinstance(value, StepRefused):
        turn.note("command.refused", one.name, effect, note=value.reason)
        effect.last = EffectStatus.REFUSED
        _not_done(one, effect, Failure(one.name, Cause.REFUSED, f"refused: {value.reason}"), walk, turn, again=True)
    else:
        assert value is not None
        _rejected(one, effect, event, value, walk, turn)


def _is_old(one: Send, effect: Effect, value: Event | None) -> bool:
    """Nothing new about a try that is over: a duplicate, or a refusal that came too late. It must not begin the pause
    anew."""
    return effect.last is not None or isinstance(value, StepRefused) or (isinstance(value, StepFailed) and one.is_owed)


def _is_wanted(one: Send, turn: Turn) -> bool:
    """Whether its outcome can still trigger something."""
    return turn.machine.is_active(one.state) and one.doing == "entry" and not turn.machine.is_over


def _replied(one: Send, effect: Effect, event: Envelope, value: Event, walk: Walk, turn: Turn) -> None:
    if effect.status is EffectStatus.DONE or effect.status in (EffectStatus.SKIPPED, EffectStatus.RESOLVED):
        turn.ignore("input.ignored", one.name, effect, "action", f"a duplicate: the command is {effect.status}")
        return
    if effect.status in (EffectStatus.REJECTED, EffectStatus.REFUSED):
        turn.alert("outcome.contradiction", one.name, f"it was {effect.status}, and now {event.type} says it is done")
    wanted = _is_wanted(one, turn)
    effect.settle(EffectStatus.DONE, turn.now)
    turn.keep(one.name, effect)
    note = event.type if wanted or one.is_owed else f"{event.type}; its state was left, so it triggers nothing"
    turn.note("command.replied", one.name, effect, note=note)
    if wanted:
        walk.fire(f"done:{one.name}", value)


def _rejected(one: Send, effect: Effect, event: Envelope, value: Event, walk: Walk, turn: Turn) -> None:
    turn.note("command.rejected", one.name, effect, note=event.type)
    name = type(value).__name__
    failure = Failure(one.name, Cause.REJECTED, f"rejected: {name}", value)
    effect.last = EffectStatus.REJECTED
    if one.is_owed or not _is_wanted(one, turn):
        _not_done(one, effect, failure, walk, turn, again=one.is_owed)
        return
    found = walk.select(f"rejected:{one.name}", value)
    if not found.transitions:
        _not_done(one, effect, failure, walk, turn, again=False)
        return
    effect.settle(EffectStatus.REJECTED, turn.now, failure.reason)
    turn.keep(one.name, effect)
    walk.take(found.transitions, value)


def _not_done(one: Send, effect: Effect, failure: Failure, walk: Walk, turn: Turn, *, again: bool) -> None:
    """It was not done, or nobody knows: tried again while its budget lasts and somebody wants it."""
    wanted = _is_wanted(one, turn)
    if again and (wanted or one.is_owed) and one.retry.allows(effect.spent + 1):
        back_off(one, effect, turn)
        return
    if one.is_owed:
        effect.settle(EffectStatus.STUCK, turn.now, failure.reason)
        turn.keep(one.name, effect)
        turn.note("command.stuck", one.name, effect, note=failure.reason)
        turn.alert("command.stuck", one.name, f"{failure.reason}; after {effect.spent} tries an operator must decide")
        return
    command = effect.command
    effect.settle(EffectStatus(effect.last or EffectStatus.UNKNOWN), turn.now, failure.reason)
    turn.keep(one.name, effect)
    if not wanted:
        turn.note("command.given_up", one.name, effect, note=f"{failure.reason}; its state was left")
        return
    turn.note("command.failed", one.name, effect, note=failure.reason)
    if not walk.fire(f"failed:{one.name}", failure):
        effect.command = command  # for an operator's retry
        turn.keep(one.name, effect, command=True)
        turn.alert("command.failed", one.name, f"{failure.reason}; no transition takes that, an operator may retry")


def command_timer(one: Send, address: Address, generation: int, walk: Walk, turn: Turn) -> None:
    """A try was not answered in time, or a pause is over."""
    effect = turn.effect(one.name)
    if effect is None or effect.generation != generation or not generation or address.iteration != effect.iteration:
        turn.ignore("timer.stale", one.name, effect, "action", f"generation {generation} is not the pending one")
        return
    turn.cause = derived_id(turn.effect_id(one.name, "action", effect.iteration), effect.attempts)
    if effect.status is EffectStatus.BACKING_OFF:
        send_again(one, effect, turn)
        return
    tries = "try" if effect.spent == 1 else "tries"
    why = f"no answer within {one.timeout:g} s, in {effect.spent} {tries}"
    turn.note("command.timed_out", one.name, effect, note=why)
    _not_done(one, effect, Failure(one.name, Cause.UNKNOWN, why), walk, turn, again=True)


# ---- flows


def answer_flow(one: Run, address: Address, event: Envelope, walk: Walk, turn: Turn) -> None:
    """How a flow that was called has ended."""
    effect = turn.effect(one.name)
    if effect is None or address.iteration > effect.iteration:
        turn.ignore("outcome.unknown", one.name, None, address.phase, "nothing was called under this effect id")
    elif address.iteration < effect.iteration:
        _of_earlier_visit(one, effect, address, event, turn)
    elif address.phase == "undo":
        _undone(one, event, turn)
    elif effect.status is not EffectStatus.RUNNING:
        turn.ignore("input.ignored", one.name, effect, "action", f"a duplicate: the flow is {effect.status}")
    elif event.type == spec_of(one.yields).type:
        _completed(one, effect, event.value(one.yields), walk, turn)
    else:
        _failed(one, effect, _failure(one, event), walk, turn)


def _of_earlier_visit(one: Run, effect: Effect, address: Address, event: Envelope, turn: Turn) -> None:
    note = f"{event.type} answers {address}, of an earlier visit"
    turn.ignore("outcome.late", one.name, effect, address.phase, note)
    if address.phase == "action" and event.type == spec_of(one.yields).type:
        turn.alert("flow.not_undone", one.name, f"{note}: that flow was to stop, and has completed")


def _completed(one: Run, effect: Effect, value: Event, walk: Walk, turn: Turn) -> None:
    was_stopped, effect.asked = effect.asked, False
    effect.settle(EffectStatus.DONE, turn.now)
    turn.keep(one.name, effect)
    turn.note("flow.completed", one.name, effect, note="before it could be cancelled" if was_stopped else "")
    if not was_stopped:
        walk.fire(f"done:{one.name}", value)
    elif one.undo:
        undo(one, effect, turn)


def _failure(one: Run, event: Envelope) -> Failure:
    if event.type == _FAILED:
        said = event.value(FlowFailed)
        causes = {cause.value: cause for cause in Cause}
        where = f"{said.step}: " if said.step else ""
        return Failure(one.name, causes.get(said.cause, Cause.FAILED), f"{where}{said.reason}")
    if event.type == spec_of(StepFailed).type:
        letter = event.value(StepFailed)
        return Failure(one.name, Cause.UNKNOWN, f"dead-lettered: {letter.reason}", dead_letter_id=letter.dead_letter_id)
    return Failure(one.name, Cause.FAILED, f"it ended with {event.type}")


def _failed(one: Run, effect: Effect, failure: Failure, walk: Walk, turn: Turn) -> None:
    was_stopped, effect.asked = effect.asked, False
    effect.settle(EffectStatus.CANCELLED if was_stopped else EffectStatus.REJECTED, turn.now, failure.reason)
    turn.keep(one.name, effect)
    turn.note("flow.stopped" if was_stopped else "flow.not_completed", one.name, effect, note=failure.reason)
    if not was_stopped and not walk.fire(f"failed:{one.name}", failure):
        turn.alert("flow.not_completed", one.name, f"{failure.reason}; no transition takes that")


def _undone(one: Run, event: Envelope, turn: Turn) -> None:
    undoing = undo_of(one, turn)
    if undoing is None or undoing.status is not EffectStatus.RUNNING:
        turn.ignore("input.ignored", one.name, undoing, "undo", f"{event.type}: its undoing is not awaited")
        return
    is_done = event.type == "orchestra.done.v1"
    undoing.settle(EffectStatus.DONE if is_done else EffectStatus.UNKNOWN, turn.now, "" if is_done else event.type)
    keep_undo(one, undoing, turn)
    if is_done:
        turn.note("flow.undone", one.name, undoing, "undo")
    else:
        turn.note("flow.not_undone", one.name, undoing, "undo", event.type)
        turn.alert("flow.not_undone", one.name, f"it was asked to undo what it did, and answered {event.type}")
