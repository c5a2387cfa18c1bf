"""What must a flow never do? Each rule compares a decision with what the world around it knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from orchestra.flows.check.model import Model, Part
from orchestra.flows.check.moves import must_change_nothing
from orchestra.flows.check.world import (
    Move,
    Point,
    Sent,
    World,
    asks_for_effect,
    nodes_of,
    slot_of,
)
from orchestra.flows.decision import Decision, Emission, Status
from orchestra.flows.graph import Kind
from orchestra.flows.progress import Progress, Undoing, progress_in, undoing_in

LIVE = (Status.RUNNING, Status.COMPENSATING)
ENDS = (Status.COMPLETED, Status.COMPENSATED, Status.STUCK, Status.HALTED)


class Broken(NamedTuple):
    """A rule that does not hold, and how; and of which step, where it is one's."""

    rule: str
    text: str
    step: str = ""
    phase: str = "action"


def broken_rules(
    model: Model, before: Point | None, move: Move | None, decision: Decision, world: World
) -> Iterator[Broken]:
    """What a decision did that it must not. ``world`` knows of the move, and not yet of the decision's messages."""
    if before is not None and move is not None:
        yield from _changed_by_nothing(before, move, decision)
    for emission in decision.messages:
        if asks_for_effect(emission):
            yield from _Sending(model, decision, world).broken(move, emission)
        elif emission.kind == "event" and world.ended:
            yield Broken("ends once", f"it publishes {emission.event.type} a second time")
    if model.called and decision.status.is_final and (before is None or before.status is not decision.status):
        answers = sum(one.kind == "outcome" for one in decision.messages)
        if answers != 1:
            yield Broken("whoever called is answered", f"it is {decision.status}, and answered {answers} times")
    yield from _at_rest(model, before, decision)
    if decision.status.is_final and decision.changed:
        yield from _at_the_end(model, world, decision)


def _changed_by_nothing(before: Point, move: Move, decision: Decision) -> Iterator[Broken]:
    if not decision.changed:
        return
    if (why := must_change_nothing(before.world, move)) is not None:
        yield Broken("duplicates change nothing", f"{why} changed the instance")
    elif before.status is Status.COMPLETED and move.what != "recall":
        yield Broken("an end is an end", "the instance was completed, and something changed it")


# ---- what is sent


class _Sending:
    """The rules for messages that ask for an effect."""

    def __init__(self, model: Model, decision: Decision, world: World) -> None:
        self._model = model
        self._decision = decision
        self._world = world
        lost: Any = decision.state.get("lost", ())
        self._lost = frozenset(lost)

    def broken(self, move: Move | None, emission: Emission) -> Iterator[Broken]:
        event = emission.event
        step, phase = str(event.get("flowstep")), str(event.get("flowphase"))
        iteration = int(str(event.get("effectid")).rsplit("/", 1)[1])
        known = self._world.at(step, phase, iteration)
        if known is not None:
            yield from _sent_again(move, known, emission)
        part = self._model.parts.get(step)
        if part is None:
            return
        if phase == "undo":
            if known is None:
                yield from self._undone_in_order(part)
        else:
            yield from self._begun(part, first=not self._world.of(step, "action"))
            if known is None:
                yield from self._begun_anew(step, slot_of(self._decision.state, step, iteration))

    def _begun_anew(self, step: str, slot: int) -> Iterator[Broken]:
        earlier = self._world.before(step, "action", slot)
        if earlier is not None and earlier.may_be_done and self._model.graph is not None:
            yield Broken("begun anew when proven not done", f"{step} is begun anew, and it {_maybe(earlier)}", step)

    def _begun(self, part: Part, *, first: bool) -> Iterator[Broken]:
        if "failure" in self._decision.state and self._decision.status is not Status.HALTED:
            yield Broken(
                "nothing is begun while all is undone", f"{part.name} is sent while the flow is undone", part.name
            )
        if part.name in self._lost:
            yield Broken(
                "nothing is begun while all is undone", f"{part.name} is sent while its branch is undone", part.name
            )
        for name in part.before if first else ():
            if not has_value(self._model, self._world, self._decision, name):
                yield Broken("a step waits for what it needs", f"{part.name} begins, and {name} is not done", part.name)

    def _undone_in_order(self, part: Part) -> Iterator[Broken]:
        if any(one.awaited for one in self._world.of(part.name, "action")):
            yield Broken(
                "an undo comes after its action",
                f"{part.name} is undone while its action may still be answered",
                part.name,
                "undo",
            )
        in_branch = part.name in self._lost
        for name in sorted(part.after_it & self._lost if in_branch else part.after_it):
            if not is_undone(self._model.parts[name], self._world):
                yield Broken(
                    "undone in reverse order",
                    f"{part.name} is undone, and {name}, which came after it, is not",
                    part.name,
                    "undo",
                )
        if self._decision.status is not Status.COMPENSATING or in_branch or self._model.graph is None:
            return
        for name, other in self._model.parts.items():
            if other.kind != Kind.READ_ONLY and any(one.awaited for one in self._world.of(name, "action")):
                yield Broken(
                    "what is under way is awaited first",
                    f"{part.name} is undone while {name} may still be answered",
                    part.name,
                    "undo",
                )


def _sent_again(move: Move | None, known: Sent, emission: Emission) -> Iterator[Broken]:
    name, about = f"the {known.phase} of {known.step}", (known.step, known.phase)
    if emission.event.id in known.ids:
        yield Broken("a message is sent once", f"{name} is sent again under the message id of an earlier try", *about)
    elif known.truth == "done":
        yield Broken("what is done is not done again", f"{name} is sent again, and it is done", *about)
    elif move is None or move.what not in ("fire", "operator"):
        yield Broken(
            "a step begins once", f"{name} is sent again, and neither a timer nor a person asked for it", *about
        )


def has_value(model: Model, world: World, decision: Decision, name: str) -> bool:
    """Whether a node that others need is done, as the world sees it; where it cannot see, as the instance says."""
    part, raw = model.parts[name], nodes_of(decision.state).get(name)
    if raw is None or progress_in(raw) is not Progress.DONE:
        return False
    if part.least is not None:
        return sum(has_value(model, world, decision, one) for one in part.before) >= part.least
    if not part.sends or raw["s"] == "omitted":
        return True
    done = [one for one in world.of(name, "action") if one.truth == "done"]
    return len(done) == raw["n"] if part.many else bool(done)


def is_undone(part: Part, world: World) -> bool:
    """Nothing of it is left that an undo is for."""
    return not part.has_undo or all(sent_is_undone(one, world) for one in world.of(part.name, "action"))


def sent_is_undone(sent: Sent, world: World) -> bool:
    if not sent.may_be_done or (sent.step, sent.slot) in world.left:
        return True
    undo = world.before(sent.step, "undo", sent.slot)
    return undo is not None and undo.truth == "done"


def _maybe(sent: Sent) -> str:
    return "was done" if sent.truth == "done" else "may have been done"


# ---- where it rests


def _at_rest(model: Model, before: Point | None, decision: Decision) -> Iterator[Broken]:
    status = decision.status
    if not decision.alerts and _needs_a_person(before, decision):
        yield Broken("who needs a person calls one", f"the instance is {status}, and there was no alert")
    if status.is_final and decision.timers:
        yield Broken("an end is an end", f"the instance is {status}, and has timers left")
    if status in LIVE and not decision.timers and not _may_wait_for_ever(model, decision):
        yield Broken("nothing waits for ever", "no timer is set, and nothing that it waits for may take for ever")


def _needs_a_person(before: Point | None, decision: Decision) -> bool:
    """More than before: it has halted, or one more undo is stuck."""
    if decision.status is Status.HALTED:
        return before is None or before.status is not Status.HALTED
    stuck = _stuck(decision.state)
    was_stuck = frozenset[str]() if before is None else _stuck(before.state)
    return bool(stuck - was_stuck) or (decision.status is Status.STUCK and not stuck | was_stuck)


def _stuck(state: Any) -> frozenset[str]:
    return frozenset(
        name for name, raw in nodes_of(state).items() if raw["s"] == "stuck" or undoing_in(raw) is Undoing.STUCK
    )


_ACTIVE = ("running", "backing-off", "waiting", "active")


def _may_wait_for_ever(model: Model, decision: Decision) -> bool:
    """Something it waits for now was declared without a timeout."""
    nodes = nodes_of(decision.state)
    return any(
        part.endless and (nodes[name]["s"] in _ACTIVE or nodes[name].get("u", {}).get("s") in _ACTIVE)
        for name, part in model.parts.items()
        if name in nodes
    )


def _at_the_end(model: Model, world: World, decision: Decision) -> Iterator[Broken]:
    """Effects that the end of a flow does not account for, and steps that are missing from it."""
    if model.graph is None:
        yield from _at_the_end_of_machine(model, world)
        return
    completed = decision.status is Status.COMPLETED
    lost: Any = decision.state.get("lost", ())
    for name, part in model.parts.items():
        if completed and name not in lost:
            if not has_value(model, world, decision, name):
                yield Broken("a flow completes when all is done", f"it is completed, and {name} is not done")
            continue
        for sent in world.of(name, "action"):
            if part.has_undo and not sent_is_undone(sent, world):
                yield Broken("no effect is left", f"{name} {_maybe(sent)}, and was never undone", name, "undo")
            elif sent.may_be_done and part.kind in (Kind.PIVOT, Kind.RETRIABLE):
                yield Broken("no effect is left", f"{name} cannot be undone and {_maybe(sent)}, and all else is undone")


def _at_the_end_of_machine(model: Model, world: World) -> Iterator[Broken]:
    """What a machine owes, and the flows that it called, must have ended."""
    for name, part in model.parts.items():
        for sent in (*world.of(name, "action"), *world.of(name, "undo")) if part.owed else ():
            # A flow that cannot be undone says so, and a person is told.
            answered = sent.truth != "unknown" or (part.kind == "flow" and not sent.awaited)
            if not answered and (sent.step, sent.slot) not in world.left:
                yield Broken(
                    "a machine ends when all it owes is done", f"the {sent.phase} of {name} was never answered"
                )
