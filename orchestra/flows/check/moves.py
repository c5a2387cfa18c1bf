"""What may happen to an instance next, and how does it get to hear of it?

Silence needs no move of its own: the timers may always fire. Services keep a ledger: what they answered once under an
effect id they stand by. A dead letter says nothing about whether the effect happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from orchestra.events.envelope import Envelope
from orchestra.events.message import Event, StepFailed, StepRefused
from orchestra.flows.check.model import REQUESTER, Model, envelope
from orchestra.flows.check.samples import sample
from orchestra.flows.check.world import MOST_EARLY, TRUTH, Move, Point, Sent, World, nodes_of
from orchestra.flows.decision import Input, Occurred, OperatorRequest, Outcome, Status, Timer, TimerFired


def moves(model: Model, point: Point) -> Iterator[Move]:
    """Everything that may happen now, whether or not it makes a difference."""
    for step, effects in point.world.sent.items():
        for one in effects:
            for what in _answers(model, point.world, one):
                yield Move(what, step, one.phase, one.iteration)
    for timer in point.timers:
        yield _of_timer("fire", timer.name)
        if "/" in timer.name:  # the others are set once, and have one generation
            yield _of_timer("stale", timer.name)
    yield from _events(model, point)
    yield Move("cancel")
    if model.called:
        yield Move("recall")
    yield from _people(model, point)


def _of_timer(what: str, name: str) -> Move:
    step, _, rest = name.partition("/")
    phase, _, number = rest.partition("/")
    return Move(what, step if rest else "", phase, int(number) if number.isdecimal() else 0, name)


def _events(model: Model, point: Point) -> Iterator[Move]:
    early: Any = point.state.get("early", {})
    deferred: Any = point.state.get("deferred", ())
    kept = {kind for kind, _ in deferred}
    for kind in model.events:
        if kind not in kept and not any(len(events) >= MOST_EARLY for events in early.values()):
            yield Move("event", detail=kind)
        if point.world.heard.get(kind):
            yield Move("event again", detail=kind)


def _answers(model: Model, world: World, sent: Sent) -> Iterator[str]:
    if sent.may_be_done:
        yield "reply"
    if sent.truth in ("unknown", "rejected") and _rejections(model, sent):
        yield "reject"
    yield "dead"
    barred = sent.phase == "action" and any(one.truth == "done" for one in world.of(sent.step, "undo"))
    if sent.truth == "shut" or (sent.truth == "unknown" and (sent.expires or barred)):
        yield "refuse"
    if len(sent.ids) > 1:
        if _rejections(model, sent):
            yield "old reject"
        yield "old dead"
        if sent.expires:
            yield "old refuse"
    if sent.ghost is not None:
        yield "ghost"


def _rejections(model: Model, sent: Sent) -> Sequence[type[Event]]:
    return model.answered[sent.step, sent.phase].rejections


def _people(model: Model, point: Point) -> Iterator[Move]:
    if point.status is Status.HALTED:
        yield Move("operator", detail="retry")
    for name in nodes_of(point.state):
        part = model.parts.get(name)
        if point.status in (Status.STUCK, Status.HALTED):
            for action in ("retry", "skip", "resolve"):
                yield Move("operator", name, detail=action)
        elif part is not None and part.endless and part.sends:
            yield Move("operator", name, detail="retry")
        if part is not None and part.roles:
            barred = ("approve without the role", *(("approve their own",) if part.requester else ()))
            for decision in ("approve", "reject", *barred):
                yield Move("decision", name, detail=decision)


def must_change_nothing(world: World, move: Move) -> str | None:
    """Why this move can be no news to the instance; None where it may be."""
    if move.what == "stale":
        return "a timer that is no longer pending"
    if move.what == "ghost":
        return "a duplicate of an answer to an effect that was begun anew since"
    if move.what == "event again":
        return "a duplicate of an event"
    if move.what == "decision":
        if move.step in world.decided:
            return "a second decision"
        return None if move.detail in ("approve", "reject") else "a decision of somebody who may not decide"
    sent = world.at(move.step, move.phase, move.iteration)
    if sent is None:
        return None
    if move.what == "reply" and sent.truth == "done":
        return "a duplicate of the reply"
    if sent.phase == "action" and sent.truth != "unknown" and TRUTH.get(move.what) == sent.truth:
        return f"a duplicate of the {'rejection' if move.what == 'reject' else 'refusal'}"
    if move.what == "dead" and sent.dead:
        return "a duplicate of the dead letter's notice"
    return None


# ---- from a move to an input


def given(model: Model, point: Point, move: Move) -> tuple[Input, datetime]:
    """The move as the instance gets it, and the recorded time."""
    if move.what in ("fire", "stale"):
        timer = next(one for one in point.timers if one.name == move.detail)
        if move.what == "stale":
            return TimerFired(timer.name, timer.generation - 1), point.now
        return TimerFired(timer.name, timer.generation), _due(point.now, timer)
    if move.what == "cancel":
        return OperatorRequest("cancel", by="somebody", reason="they changed their mind"), point.now
    if move.what == "recall":
        return OperatorRequest("undo", by="flow caller/key-1", reason="its caller is undone"), point.now
    if move.what == "operator":
        request: Any = move.detail
        return OperatorRequest(request, by="somebody", reason="they looked at it", step=move.step or None), point.now
    if move.what == "decision":
        return _decision(model, move), point.now
    if move.what in ("event", "event again"):
        number = point.world.heard.get(move.detail, 0)
        return Occurred(_event(model, move.detail, number - (move.what == "event again"))), point.now
    sent = point.world.at(move.step, move.phase, move.iteration)
    assert sent is not None  # moves are made of the same world
    return _outcome(model, sent, move.what), point.now


def _decision(model: Model, move: Move) -> OperatorRequest:
    roles = () if move.detail == "approve without the role" else model.parts[move.step].roles
    by = REQUESTER if move.detail == "approve their own" else "somebody"
    action: Any = move.detail.split()[0]
    return OperatorRequest(action, by=by, reason="they looked at it", step=move.step, roles=roles)


def _event(model: Model, kind: str, number: int) -> Envelope:
    return envelope(model.events[kind], f"{kind} {number}")


def _due(now: datetime, timer: Timer) -> datetime:
    return max(now, timer.due or now + timedelta(seconds=timer.delay))


def _outcome(model: Model, sent: Sent, what: str) -> Outcome:
    if what == "ghost":
        assert sent.ghost is not None
        sent = sent.ghost
        what = {"rejected": "reject", "shut": "refuse"}.get(sent.truth, "reply")
    message = sent.ids[-2] if what.startswith("old ") else sent.ids[-1]
    answer = answer_class(model, sent, what.removeprefix("old "))
    return Outcome(sent.effect_id, _envelope(answer, sent.effect_id, message))


def answer_class(model: Model, sent: Sent, what: str) -> type[Event]:
    """The class of such an answer."""
    if what == "dead":
        return StepFailed
    if what == "refuse":
        return StepRefused
    answers = model.answered[sent.step, sent.phase]
    return (answers.replies if what == "reply" else answers.rejections)[0]


@cache
def sample_answer(cls: type[Event]) -> Event:
    """What a service answers."""
    return sample(cls)


@cache
def _envelope(cls: type[Event], effect_id: str, cause: str) -> Envelope:
    return envelope(sample_answer(cls), f"answer to {cause}", effectid=effect_id, causationid=cause)
