"""What is known of the services and people around an instance, and how does that change?

The world is what an onlooker sees who reads every message and knows nothing of the flow's state: which effects were
asked for, how the services answered, which of them nobody can be sure of. The rules compare the flow with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple, cast

from orchestra.flows.check.model import START_TIME
from orchestra.flows.decision import (
    Decision,
    Emission,
    Json,
    Status,
    Timer,
)

Truth = Literal["unknown", "done", "rejected", "shut"]
"""What a service has said about an effect: nothing; done; not done, and it stands by it; it will never do it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One effect that was asked for, by the messages that were sent for it."""

    step: str
    phase: str
    iteration: int
    slot: int
    """Which of the many effects of a step it is: an item, a turn. An effect that was begun anew keeps its slot."""
    command: str
    ids: tuple[str, ...]
    effect_id: str
    expires: bool
    truth: Truth = "unknown"
    awaited: bool = True
    """Its newest message may still be answered in time: no timer has fired, no dead letter has come."""
    dead: bool = False
    """Its newest message is a dead letter."""
    ghost: Sent | None = None
    """The effect before this one, in the same slot: proven not done, or of a state that was left since."""

    @property
    def may_be_done(self) -> bool:
        return self.truth in ("unknown", "done")


@dataclass(frozen=True, slots=True)
class World:
    """Everything that was asked for, by step."""

    sent: Mapping[str, tuple[Sent, ...]] = field(default_factory=dict[str, tuple[Sent, ...]])
    left: frozenset[tuple[str, int]] = frozenset()
    """Steps and slots that an operator has skipped or resolved: a person answers for them."""
    decided: frozenset[str] = frozenset()
    """Approvals that a person has decided."""
    heard: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many events of each type the instance has taken."""
    values: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """What the instance keeps beside its record."""
    ended: bool = False
    """The flow has said that it is over."""

    def of(self, step: str, phase: str) -> list[Sent]:
        return [one for one in self.sent.get(step, ()) if one.phase == phase]

    def at(self, step: str, phase: str, iteration: int) -> Sent | None:
        for one in self.sent.get(step, ()):
            if one.phase == phase and one.iteration == iteration:
                return one
        return None

    def before(self, step: str, phase: str, slot: int) -> Sent | None:
        """The effect in a slot."""
        return next((one for one in self.of(step, phase) if one.slot == slot), None)

    def put(self, changed: Sent) -> World:
        """The world with this effect. The one before it in its slot becomes its ghost."""
        others: list[Sent] = []
        for one in self.sent.get(changed.step, ()):
            if (one.phase, one.slot) != (changed.phase, changed.slot):
                others.append(one)
            elif one.iteration != changed.iteration:
                changed = replace(changed, ghost=replace(one, ghost=None))
        return replace(self, sent={**self.sent, changed.step: (*others, changed)})


class Move(NamedTuple):
    """One thing that happens."""

    what: str
    step: str = ""
    phase: str = ""
    iteration: int = 0
    detail: str = ""


@dataclass(slots=True)
class Point:
    """An instance and the world around it, at one moment of a history."""

    state: Json
    status: Status
    timers: Sequence[Timer]
    world: World
    now: datetime = START_TIME


MOST_EARLY = 2
"""Of early events, so many are tried for each wait."""
ANSWERS = ("reply", "reject", "dead", "refuse")
OLD_ANSWERS = ("old reject", "old dead", "old refuse")
TRUTH: Mapping[str, Truth] = {"reply": "done", "reject": "rejected", "refuse": "shut"}


def nodes_of(state: Json) -> Mapping[str, Any]:
    """The states of the nodes that have begun."""
    return cast("Mapping[str, Any]", state.get("nodes", {}))


# ---- from a decision back to the world


def after_move(world: World, point: Point, move: Move) -> World:
    """What the services and the operator know once a move has made a difference."""
    if move.what in ANSWERS or move.what in OLD_ANSWERS:
        sent = world.at(move.step, move.phase, move.iteration)
        assert sent is not None
        return world.put(_answered(sent, move.what))
    if move.what == "operator" and move.detail in ("skip", "resolve"):
        return replace(world, left=world.left | {(move.step, slot) for slot in _stuck_slots(point, move.step)})
    if move.what == "recall" and point.status is Status.COMPLETED:
        return replace(world, ended=False)  # it may say now that it was undone
    if move.what == "decision":
        return replace(world, decided=world.decided | {move.step})
    if move.what == "event":
        return replace(world, heard={**world.heard, move.detail: world.heard.get(move.detail, 0) + 1})
    if move.what == "fire":
        timer = next(one for one in point.timers if one.name == move.detail)
        if timer.after is not None and (sent := _sent_as(world, timer.after)) is not None:
            return world.put(replace(sent, awaited=False))
    return world


def _answered(sent: Sent, what: str) -> Sent:
    if what == "reply":
        return replace(sent, truth="done", awaited=False)
    if what == "dead":
        return replace(sent, awaited=False, dead=True)
    if what in ("reject", "refuse") and sent.phase == "action":
        return replace(sent, truth=TRUTH[what], awaited=False)
    # An undo that fails may work the next time; and what an older try was answered proves nothing about the newest.
    return sent if what.startswith("old ") else replace(sent, awaited=False)


def _sent_as(world: World, message: str) -> Sent | None:
    return next((one for effects in world.sent.values() for one in effects if one.ids[-1] == message), None)


def slot_of(state: Json, step: str, iteration: int) -> int:
    """Which of the effects of a step has this number: a step of many items counts on when one is begun anew."""
    raw = nodes_of(state).get(step, {})
    return iteration % max(raw["n"], 1) if "h" in raw else 0


def _stuck_slots(point: Point, step: str) -> Iterator[int]:
    raw = nodes_of(point.state)[step]
    if "h" not in raw:
        yield 0
    for index, item in raw.get("l", {}).items() if "h" in raw else ():
        if item.get("u", {}).get("s") == "stuck":
            yield int(index)


def asks_for_effect(emission: Emission) -> bool:
    """Whether somebody is to do something: a service, or a flow that is called or is to be undone."""
    return emission.kind in ("command", "start") or (
        emission.kind == "request" and emission.event.get("flowphase") == "undo"
    )


def after_decision(world: World, decision: Decision) -> World:
    """The world once the messages of a decision have left."""
    if decision.values:
        kept = {**world.values, **decision.values}
        world = replace(world, values={name: value for name, value in kept.items() if value is not None})
    if world.decided and (asked := {name for name in world.decided if _is_asked(decision.state, name)}):
        world = replace(world, decided=world.decided - asked)
    for emission in decision.messages:
        world = _after(world, decision, emission)
    return world


def _is_asked(state: Json, name: str) -> bool:
    """Somebody is to decide anew."""
    return bool(nodes_of(state)[name]["s"] == "waiting")


def _after(world: World, decision: Decision, emission: Emission) -> World:
    event = emission.event
    if emission.kind == "event":
        return replace(world, ended=True)
    if not asks_for_effect(emission):
        return world
    effect, step, phase = (str(event.get(name)) for name in ("effectid", "flowstep", "flowphase"))
    iteration = int(effect.rsplit("/", 1)[1])
    known = world.at(step, phase, iteration)
    expires = "expirytime" in event.extensions
    if known is None:
        known = Sent(
            step=step,
            phase=phase,
            iteration=iteration,
            slot=slot_of(decision.state, step, iteration),
            command=event.type,
            ids=(event.id,),
            effect_id=effect,
            expires=expires,
        )
        return world.put(known)
    return world.put(replace(known, ids=(*known.ids[-3:], event.id), awaited=True, dead=False, expires=expires))
