"""How did it come to that? A history as a story to read, and as a test to paste."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestra.flows.check.model import START_TIME, Model
from orchestra.flows.check.moves import given
from orchestra.flows.check.paste import Scene, Tries, written_test
from orchestra.flows.check.search import Came, Found
from orchestra.flows.check.world import Point, World, after_decision, after_move
from orchestra.flows.narrative import Narrative


@dataclass(frozen=True, slots=True)
class Told:
    """One history, in two forms."""

    story: str
    test: str


def tell(model: Model, found: Found, *, flow: str, tries: Tries) -> Told:
    """A history that breaks a rule.

    Args:
        model: what was explored.
        found: the rule, and how it came to that.
        flow: the name of the flow's class.
        tries: how many tries each effect has in truth, by (step, phase); two of them were explored.
    """
    narrative = Narrative(model.definition, model.instance)
    scenes = list(_replayed(model, found.history, narrative))
    story = f"{narrative.text()}\n\n  broken: {found.broken.rule}\n  here:   {found.broken.text}"
    return Told(story, written_test(model, scenes, found, flow=flow, tries=tries))


def _replayed(model: Model, history: Sequence[Came], narrative: Narrative) -> Iterator[Scene]:
    definition = model.definition
    model.oracle.begin(history[0].script)
    decision = definition.start(model.start, instance_id=model.instance, run=0, now=START_TIME)
    narrative.begin(model.start, decision, now=START_TIME)
    point = Point(decision.state, decision.status, decision.timers, after_decision(World(), decision), START_TIME)
    for came in history[1:]:
        assert came.move is not None  # only the first has none
        what, now = given(model, point, came.move)
        model.oracle.begin(came.script)
        try:
            decision = definition.advance(point.state, what, now=now, values=point.world.values.__getitem__)
        except Exception as error:
            narrative.note(f"it raises {type(error).__name__}: {error}", now=now)
            yield Scene(came.move, point, None, now)
            return
        narrative.add(what, decision, now=now)
        yield Scene(came.move, point, decision, now, came.script if came.move.what != "event again" else ())
        if decision.changed:
            world = after_decision(after_move(point.world, point, came.move), decision)
            point = Point(decision.state, decision.status, decision.timers, world, now)
