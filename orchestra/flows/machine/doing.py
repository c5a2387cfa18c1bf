"""What does a state begin when it is entered, and what becomes of it when the state is left? Commands, flows and
questions to people."""

from __future__ import annotations

from orchestra.events.message import Command, Event, decode_data, encode_data, record_key
from orchestra.flows.action import text_key
from orchestra.flows.decision import Json
from orchestra.flows.draft import checked
from orchestra.flows.effect import Effect, EffectStatus
from orchestra.flows.machine.chart import Ask, Doer, Run, Send
from orchestra.flows.machine.turn import Turn
from orchestra.flows.timer import due_again


def send(one: Send, turn: Turn) -> None:
    """Its state is entered or left: the command goes out, as an effect of its own for each visit."""
    command = checked(f"{turn.chart.label}.{one.name}", one.make(turn.me()), one.command)
    before = turn.effect(one.name)
    if before is not None and (before.status.is_open or before.status is EffectStatus.STUCK):
        turn.note("command.superseded", one.name, before, note="its state is entered or left again: a new one counts")
    effect = Effect(iteration=0 if before is None else before.iteration + 1, started=turn.now)
    effect.command = encode_data(command).decode()
    effect.key = text_key(record_key(command))
    _send(one, effect, command, turn)


def send_again(one: Send, effect: Effect, turn: Turn) -> None:
    """Another try, of the same bytes: the data may have changed meanwhile, and an effect is one thing only."""
    assert effect.command is not None  # kept until it is settled
    if effect.last is not None:
        # Proven not done, and recorded so by the service, which would only repeat it under this effect id.
        effect.iteration += 1
    _send(one, effect, decode_data(one.command, effect.command.encode()), turn)


def _send(one: Send, effect: Effect, command: Command[object, object], turn: Turn) -> None:  # type: ignore[type-var]
    effect.attempts += 1
    effect.status = EffectStatus.RUNNING
    effect.due = effect.ended = None
    effect.last = None
    effect.generation = 0 if one.timeout is None else turn.machine.next_generation()
    # What is owed never expires: the machine insists on it.
    turn.command(one.name, "action", effect, command, expires_in=None if one.is_owed else one.timeout)
    turn.note("command.sent" if effect.spent == 1 else "command.sent_again", one.name, effect)
    turn.keep(one.name, effect)


def back_off(one: Send, effect: Effect, turn: Turn) -> None:
    """It is sent again after a pause."""
    of = turn.effect_id(one.name, "action", effect.iteration)
    effect.status = EffectStatus.BACKING_OFF
    effect.generation = turn.machine.next_generation()
    effect.due = due_again(turn.now, of, effect.attempts, effect.spent, one.retry)
    turn.keep(one.name, effect)


def run(one: Run, turn: Turn) -> None:
    """Its state is entered: the flow is started."""
    made: Event = one.make(turn.me())
    wanted = type(made) if type(made) in one.starts else one.starts[0]
    start = checked(f"{turn.chart.label}.{one.name}", made, wanted)
    before = turn.effect(one.name)
    effect = Effect(EffectStatus.RUNNING, iteration=0 if before is None else before.iteration + 1, started=turn.now)
    effect.attempts = 1
    effect.key = turn.call(one.name, effect, one.flow, start)
    turn.machine.nodes.pop(one.name, None)
    turn.keep(one.name, effect)
    turn.note("flow.called", one.name, effect, note=effect.key)


def ask(one: Ask, turn: Turn) -> None:
    """Its state is entered: a person must decide."""
    turn.machine.nodes[one.name] = {"s": "waiting", "t": turn.now}
    turn.note("approval.requested", one.name, note=f"of {one.role}")
    turn.alert("approval.requested", one.name, f"{one.role} must decide")


# ---- the state is left


def leave(one: Doer, turn: Turn) -> None:
    """The state is left: what it began on entry is let go of."""
    if isinstance(one, Send):
        _let_go(one, turn)
    elif isinstance(one, Run):
        _stop(one, turn)
    elif isinstance(one, Ask):
        node = turn.machine.nodes.get(one.name)
        if node is not None and node["s"] == "waiting":
            turn.machine.nodes[one.name] = {**node, "s": "cancelled", "e": turn.now}
            turn.note("approval.cancelled", one.name, note=f"{one.state} was left")


def _let_go(one: Send, turn: Turn) -> None:
    """Its answer triggers nothing any more. A try that is out is awaited for its time, for the journal; there is no
    other."""
    effect = turn.effect(one.name)
    if effect is None or not effect.status.is_open:
        return
    if effect.status is EffectStatus.BACKING_OFF or one.timeout is None:
        give_up(one, effect, turn, "its state was left")


def give_up(one: Send, effect: Effect, turn: Turn, why: str) -> None:
    """It is not sent again, and its answer is not awaited."""
    status = EffectStatus(effect.last or EffectStatus.UNKNOWN)
    effect.settle(status, turn.now, f"given up: {why}")
    turn.note("command.given_up", one.name, effect, note=effect.note)
    turn.keep(one.name, effect)


def _stop(one: Run, turn: Turn) -> None:
    """The flow is cancelled; one that has completed is undone, unless that is what made the machine go on."""
    effect = turn.effect(one.name)
    if effect is None:
        return
    if effect.status is EffectStatus.RUNNING and not effect.asked:
        effect.asked = True
        turn.ask(one.name, "action", effect, effect.key or "", "cancel", f"{one.state} was left")
        turn.note("flow.cancelling", one.name, effect, note=effect.key or "")
        turn.keep(one.name, effect)
    elif effect.status is EffectStatus.DONE and one.undo and not turn.origin.startswith("done:"):
        undo(one, effect, turn)


def undo(one: Run, effect: Effect, turn: Turn) -> None:
    """Ask a flow that has completed to undo what it did."""
    undoing = Effect(EffectStatus.RUNNING, attempts=1, iteration=effect.iteration, started=turn.now)
    turn.ask(one.name, "undo", undoing, effect.key or "", "undo", f"{one.state} was left")
    turn.note("flow.undoing", one.name, undoing, "undo", effect.key or "")
    keep_undo(one, undoing, turn)


def undo_of(one: Run, turn: Turn) -> Effect | None:
    node: Json = turn.machine.nodes.get(one.name, {})
    raw = node.get("u")
    return Effect.load(raw) if isinstance(raw, dict) else None


def keep_undo(one: Run, undoing: Effect, turn: Turn) -> None:
    turn.machine.nodes[one.name] = {**turn.machine.nodes[one.name], "u": undoing.dump()}
    turn.changed = True
