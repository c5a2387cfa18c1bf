"""What can a person ask of a machine? To cancel it, to decide, to send a command again or to let it be."""

from __future__ import annotations

from orchestra.flows.approval import Approval
from orchestra.flows.decision import OperatorRequest, Status
from orchestra.flows.effect import Effect, EffectStatus
from orchestra.flows.machine.chart import Ask, Send
from orchestra.flows.machine.doing import send_again
from orchestra.flows.machine.turn import Turn
from orchestra.flows.machine.walk import Walk
from orchestra.flows.timer import from_micros


def take_request(request: OperatorRequest, walk: Walk, turn: Turn) -> None:
    match request.action:
        case "cancel":
            refusal = _cancel(request, walk, turn)
        case "approve" | "reject":
            refusal = _decide(request, walk, turn)
        case "retry" | "skip" | "resolve":
            refusal = _operate(request, turn)
        case _:
            refusal = "a machine cannot do that"
    who = f"{request.action} by {request.by}: {request.reason}"
    if refusal is None:
        turn.note(f"operator.{request.action}", request.step, note=who)
    else:
        turn.ignore("operator.refused", request.step, None, "action", f"{who}; not done, because {refusal}")


def _cancel(request: OperatorRequest, walk: Walk, turn: Turn) -> str | None:
    machine = turn.machine
    if machine.is_over:
        return f"it is over: {machine.final or machine.cancelled}"
    if walk.fire("cancel"):
        return None
    walk.leave_all()
    machine.cancelled = f"cancelled by {request.by}: {request.reason}"
    machine.status = Status.COMPENSATING
    turn.note("flow.failed", note=machine.cancelled)
    return None


def _decide(request: OperatorRequest, walk: Walk, turn: Turn) -> str | None:
    asks = _asked(request, turn)
    if isinstance(asks, str):
        return asks
    node = turn.machine.nodes[asks.name]
    if node["s"] != "waiting":
        said = {"done": "approved", "rejected": "rejected"}.get(str(node["s"]), "no longer wanted")
        return f"{asks.name!r} is {said} already" + (f", by {node['by']}" if "by" in node else "")
    if asks.requester is not None and asks.requester(turn.me()) == request.by:
        return f"{request.by} asked for it, and does not decide"
    if asks.role not in request.roles:
        return f"{request.by} is not known as {asks.role}"
    yes = request.action == "approve"
    turn.machine.nodes[asks.name] = {
        **node,
        "s": "done" if yes else "rejected",
        "e": turn.now,
        "by": request.by,
        "w": request.reason,
    }
    turn.note(f"approval.{'approved' if yes else 'rejected'}", asks.name, note=f"by {request.by}: {request.reason}")
    decision = Approval(yes, request.by, request.reason, from_micros(turn.now))
    if not walk.fire(f"{'done' if yes else 'rejected'}:{asks.name}", decision):
        turn.alert("approval.unused", asks.name, f"{request.action}d by {request.by}, and no transition takes that")
    return None


def _asked(request: OperatorRequest, turn: Turn) -> Ask | str:
    machine = turn.machine
    if request.step is not None:
        one = turn.chart.asks.get(request.step)
        if one is None:
            return f"the machine asks nobody under {request.step!r}"
        return one if one.name in machine.nodes else f"{request.step!r} has not begun"
    begun = [one for one in turn.chart.asks.values() if one.name in machine.nodes]
    waiting = [one for one in begun if machine.nodes[one.name]["s"] == "waiting"]
    if len(waiting) > 1:
        return f"several decisions are waited for: say which of {', '.join(one.name for one in waiting)}"
    found = waiting or begun
    return found[0] if found else "no decision is waited for"


def _operate(request: OperatorRequest, turn: Turn) -> str | None:
    if request.step is None and request.action != "retry":
        return "it does not say which command"
    names = [request.step] if request.step is not None else [name for name in turn.chart.sends if _failed(name, turn)]
    if not names:
        return "no command waits for an operator"
    refusals = [_operate_one(name, request, turn) for name in names]
    return None if None in refusals else "; ".join(one for one in refusals if one)


def _failed(name: str, turn: Turn) -> bool:
    effect = turn.effect(name)
    return effect is not None and effect.command is not None and not effect.status.is_open


def _operate_one(name: str, request: OperatorRequest, turn: Turn) -> str | None:
    one = turn.chart.sends.get(name)
    if one is None:
        return f"the machine sends nothing under {name!r}"
    if (effect := turn.effect(name)) is None:
        return f"{name!r} was not sent yet"
    if request.action == "retry" and _can_retry(one, effect, turn):
        effect.before = effect.attempts
        effect.note = ""
        send_again(one, effect, turn)
        return None
    if request.action in ("skip", "resolve") and effect.status is EffectStatus.STUCK:
        status = EffectStatus.SKIPPED if request.action == "skip" else EffectStatus.RESOLVED
        effect.settle(status, turn.now, f"{status} by {request.by}: {request.reason}")
        turn.keep(name, effect)
        turn.note(f"command.{status}", name, effect, note=effect.note)
        return None
    return f"{name!r} is {effect.status}"


def _can_retry(one: Send, effect: Effect, turn: Turn) -> bool:
    if effect.command is None or effect.status is EffectStatus.RUNNING:
        return False
    return one.is_owed or turn.machine.is_active(one.state)
