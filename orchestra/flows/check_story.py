"""How did it come to that? A history as a story to read, and as a test to paste."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orchestra.events.message import Message
from orchestra.flows.check_model import START_TIME, Model
from orchestra.flows.check_search import Came, Found
from orchestra.flows.check_world import (
    Move,
    Point,
    Sent,
    World,
    after_decision,
    after_move,
    answer_class,
    given,
    sample_answer,
)
from orchestra.flows.decision import Decision
from orchestra.flows.narrative import Narrative, brief


@dataclass(frozen=True, slots=True)
class Told:
    """One history, in two forms."""

    story: str
    test: str


@dataclass(slots=True)
class Scene:
    """One move of a history: where it found the instance, and what the instance made of it (None: it raised)."""

    move: Move
    before: Point
    decision: Decision | None
    now: datetime


def tell(model: Model, found: Found, *, flow: str, tries: dict[tuple[str, str], int]) -> Told:
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
    return Told(story, _Test(model, flow, tries).text(scenes, found))


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
        yield Scene(came.move, point, decision, now)
        if decision.changed:
            world = after_decision(after_move(point.world, point, came.move), decision)
            point = Point(decision.state, decision.status, decision.timers, world, now)


@dataclass(slots=True)
class _Test:
    """A test under construction. Messages are named by their ids until it is known how often each is used."""

    model: Model
    flow: str
    tries: dict[tuple[str, str], int]
    uses: dict[str, int] = field(default_factory=dict[str, int])
    named: dict[str, str] = field(default_factory=dict[str, str])
    answered: dict[str, str] = field(default_factory=dict[str, str])

    def text(self, scenes: list[Scene], found: Found) -> str:
        for scene in scenes:
            if (message := self._message(scene)) is not None:
                self.uses[message] = self.uses.get(message, 0) + 1
        body = [f"t = run({self.flow}, {written(self._start())})"]
        skip = False
        for scene, after in zip(scenes, [*scenes[1:], None], strict=True):
            if skip:
                skip = False
                continue
            skip = after is not None and self._goes_on(scene, after)
            body += self._lines(scene, goes_on=skip)
        body.append(f"# broken here: {found.broken.rule}: {found.broken.text}")
        name = "_".join(found.broken.rule.replace("-", " ").split())
        indented = "\n".join(f"    {line}" for line in body)
        return f"def test_{name}() -> None:\n{indented}\n"

    def _start(self) -> Message:
        event = self.model.start
        assert event._value is not None  # it was made of a sample
        return event._value

    # ---- which message a move is about

    def _message(self, scene: Scene) -> str | None:
        sent = self._sent(scene)
        if sent is None:
            return None
        return sent.ids[-2] if scene.move.what.startswith("old ") else sent.ids[-1]

    def _sent(self, scene: Scene) -> Sent | None:
        move, world = scene.move, scene.before.world
        if move.what == "fire":
            after = next(one.after for one in scene.before.timers if one.name == move.detail)
            return next((one for of in world.sent.values() for one in of if after and one.ids[-1] == after), None)
        sent = world.at(move.step, move.phase, move.iteration) if move.step else None
        return sent.ghost if sent is not None and move.what == "ghost" else sent

    def _goes_on(self, scene: Scene, after: Scene) -> bool:
        """A timeout, and then the back-off that follows it: the test kit takes both at once."""
        is_timeout = scene.move.what == "fire" and self._sent(scene) is not None
        return is_timeout and after.move.what == "fire" and after.move.detail == scene.move.detail

    # ---- lines

    def _lines(self, scene: Scene, *, goes_on: bool) -> Iterator[str]:
        move = scene.move
        sent = self._sent(scene)
        if move.what == "fire":
            yield from self._time(scene, sent, goes_on=goes_on)
        elif move.what == "stale":
            yield f"# the timer {move.detail} fires once more, though it is no longer pending"
        elif move.what == "cancel":
            yield "t.cancel()"
        elif move.what == "operator":
            yield f"t.{move.detail}({move.step!r})"
        elif move.what in ("event", "event again"):
            yield f"t.publish({written(self.model.events[move.detail])})"
        elif move.what == "decision":
            action, _, how = move.detail.partition(" ")
            roles = "" if how == "without the role" else f", roles={list(self.model.parts[move.step].roles)!r}"
            yield f"t.{action}({move.step!r}{roles})"
        elif sent is not None:
            yield from self._answer(scene, sent)

    def _time(self, scene: Scene, sent: Sent | None, *, goes_on: bool) -> Iterator[str]:
        before, now = scene.before.now, scene.now
        if sent is None or (not goes_on and self._is_tried_again(scene, sent)):
            yield f't.advance("{brief(now - before)}")'
        elif goes_on and (more := self.tries.get((sent.step, sent.phase), 0) - 1) > 1 and len(sent.ids) == 1:
            yield f"for _ in range({more}):"
            yield f"    {self._expected(sent, sent.ids[-1], named=False)}.times_out()"
        else:
            yield f"{self._expected(sent, sent.ids[-1])}.times_out()"

    def _is_tried_again(self, scene: Scene, sent: Sent) -> bool:
        timers = scene.decision.timers if scene.decision else ()
        return any(one.name == scene.move.detail for one in timers)

    def _answer(self, scene: Scene, sent: Sent) -> Iterator[str]:
        what = scene.move.what
        message = self._message(scene)
        assert message is not None
        late = not sent.awaited or what == "ghost" or what.startswith("old ")
        what = what.removeprefix("old ")
        yield from self._declared(sent, message)
        to = self._expected(sent, message)
        value = written(sample_answer(answer_class(self.model, sent, what))) if what in ("reply", "reject") else ""
        if what == "ghost" or self.answered.get(message) == what:
            yield f"{to}.reply_again()"
            return
        self.answered[message] = what
        match what, late:
            case (("reply" | "reject"), False):
                yield f"{to}.{what}({value})"
            case (("reply" | "reject"), True):
                yield f"{to}.{what}_late({value})"
            case "dead", False:
                yield f"{to}.dead_letters()"
            case "refuse", False:
                yield f"{to}.refused()"
            case _:
                yield f"# and late comes the notice that {sent.command} {_NOTICES[what]}"

    def _declared(self, sent: Sent, message: str) -> Iterator[str]:
        """A line that names a message which is used more than once."""
        if self.uses.get(message, 0) > 1 and message not in self.named:
            name = sent.step if sent.phase == "action" else f"undo_{sent.step}"
            name = name if name not in self.named.values() else f"{name}_{len(self.named)}"
            yield f"{name} = {self._expect(sent)}"
            self.named[message] = name

    def _expected(self, sent: Sent, message: str, *, named: bool = True) -> str:
        return self.named[message] if named and message in self.named else self._expect(sent)

    def _expect(self, sent: Sent) -> str:
        command = self.model.answered[sent.step, sent.phase].command
        return f"t.expect({command.__qualname__}, step={sent.step!r})"


_NOTICES = {"dead": "is a dead letter", "refuse": "was refused", "ghost": "was refused"}


def written(message: Any) -> str:
    """A message as code."""
    return repr(message)
