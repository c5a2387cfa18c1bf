"""A history as a test to paste: what happens, in the words of ``orchestra.testing.run``, and what must be so then.

The test fails while the rule is broken. It uses samples; where a guard must answer in a certain way, or time must pass
in another order than it does in a test, the text says so, and a person has the last word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestra.flows.check.model import Model
from orchestra.flows.check.moves import answer_class, sample_answer
from orchestra.flows.check.rules import Broken
from orchestra.flows.check.search import Found
from orchestra.flows.check.world import Move, Point, Sent
from orchestra.flows.decision import Decision
from orchestra.flows.narrative import brief


@dataclass(slots=True)
class Scene:
    """One move of a history: where it found the instance, and what the instance made of it (None: it raised)."""

    move: Move
    before: Point
    decision: Decision | None
    now: datetime
    script: Sequence[int] = ()
    """What the guards said: 1 is a no."""


Tries = Mapping[tuple[str, str], int]
"""How many tries an effect has in truth, by step and phase; two of them are explored."""


def written_test(model: Model, scenes: Sequence[Scene], found: Found, *, flow: str, tries: Tries) -> str:
    """The test. ``flow``: the name of the flow's class."""
    script = _Script(model, tries)
    body = script.lines(scenes, found.broken)
    start = model.start._value
    assert start is not None  # it was made of a sample
    name = "_".join(found.broken.rule.replace("-", " ").split())
    text = "\n".join(f"    {line}" for line in (f"t = run({flow}, {start!r})", *body))
    return f"def test_{name}() -> None:\n{text}\n"


_MUST_NOT_SEND = frozenset(
    {
        "nothing is begun while all is undone",
        "a step waits for what it needs",
        "an undo comes after its action",
        "undone in reverse order",
        "what is under way is awaited first",
        "a message is sent once",
        "what is done is not done again",
        "a step begins once",
    }
)
_MUST_STAY = frozenset({"duplicates change nothing", "an end is an end"})
_TOO_EARLY = frozenset({"no effect is left", "a flow completes when all is done", "an end has no timers"})
_NOTICES = {"dead": "is a dead letter", "refuse": "was refused", "ghost": "was refused"}


@dataclass(slots=True)
class _Script:
    """Lines under construction. A message that is used more than once is given a name."""

    model: Model
    tries: Tries
    uses: dict[str, int] = field(default_factory=dict[str, int])
    names: dict[str, str] = field(default_factory=dict[str, str])
    taken: set[str] = field(default_factory=set[str])
    answered: dict[str, str] = field(default_factory=dict[str, str])

    def lines(self, scenes: Sequence[Scene], broken: Broken) -> list[str]:
        for scene in scenes:
            if (message := self._message(scene)) is not None:
                self.uses[message] = self.uses.get(message, 0) + 1
        found: list[str] = []
        skip = False
        for scene, after in zip(scenes, [*scenes[1:], None], strict=True):
            if skip:
                skip = False
                continue
            skip = after is not None and self._goes_on(scene, after)
            more = self._more_tries(scene)
            if more:
                found.append(f"# and so do {more} more tries")
            if scene is scenes[-1] and broken.rule in _MUST_STAY:
                found.append("before = t.status, t.steps")
            found += self._of_scene(scene, goes_on=skip)
        return [
            *found,
            f"# {broken.rule}; here {broken.text}",
            *self._proof(broken, scenes[-1].decision if scenes else None),
        ]

    def _more_tries(self, scene: Scene) -> int:
        """Of an undo that is refused or a dead letter, two tries are explored: how many more there are in truth."""
        sent = self._sent(scene)
        if sent is None or sent.phase != "undo" or scene.move.what not in ("dead", "reject", "refuse"):
            return 0
        return max(0, self.tries.get((sent.step, "undo"), 0) - 2) if len(sent.ids) == 2 else 0

    def _proof(self, broken: Broken, last: Decision | None) -> Iterator[str]:
        answers = self.model.answered.get((broken.step, broken.phase))
        if broken.rule in _MUST_STAY:
            yield "assert (t.status, t.steps) == before"
        elif broken.rule in _MUST_NOT_SEND and answers is not None:
            yield "with pytest.raises(AssertionError):"
            yield f"    t.expect({self._class(broken.step, broken.phase)})"
        elif broken.rule == "nothing waits for ever":
            yield 't.advance("365d")'
            yield 'assert t.status not in ("running", "compensating")'
        elif broken.rule == "who needs a person calls one":
            yield "assert t.alerts"
        elif broken.rule in _TOO_EARLY and last is not None:
            yield f'assert t.status != "{last.status}"'

    # ---- which message a move is about

    def _message(self, scene: Scene) -> str | None:
        sent = self._sent(scene)
        if sent is None:
            return None
        return sent.ids[-2] if scene.move.what.startswith("old ") else sent.ids[-1]

    def _sent(self, scene: Scene) -> Sent | None:
        move, world = scene.move, scene.before.world
        if move.what in ("fire", "stale"):
            after = next(one.after for one in scene.before.timers if one.name == move.detail)
            return next((one for of in world.sent.values() for one in of if after and one.ids[-1] == after), None)
        sent = world.at(move.step, move.phase, move.iteration) if move.step else None
        return sent.ghost if sent is not None and move.what == "ghost" else sent

    def _goes_on(self, scene: Scene, after: Scene) -> bool:
        """A timeout, and then the back-off that follows it: the test kit takes both at once."""
        is_timeout = scene.move.what == "fire" and self._sent(scene) is not None
        return is_timeout and after.move.what == "fire" and after.move.detail == scene.move.detail

    # ---- lines

    def _of_scene(self, scene: Scene, *, goes_on: bool) -> Iterator[str]:
        move, sent = scene.move, self._sent(scene)
        if any(scene.script):
            yield f"# here the guards that are asked say {', '.join('no' if one else 'yes' for one in scene.script)}"
        match move.what:
            case "fire":
                yield from self._late_timers(scene)
                yield from self._time(scene, sent, goes_on=goes_on)
            case "stale":
                yield f"# the timer {move.detail} fires once more, though it is no longer pending"
            case "cancel":
                yield "t.cancel()"
            case "recall":
                yield "# the flow that called this one is undone, and asks it to undo what it did"
            case "operator":
                yield f"t.{move.detail}({repr(move.step) if move.step else ''})"
            case "event" | "event again":
                yield f"t.publish({self.model.events[move.detail]!r})"
            case "decision":
                action, _, how = move.detail.partition(" ")
                roles = "" if how == "without the role" else f", roles={list(self.model.parts[move.step].roles)!r}"
                yield f"t.{action}({move.step!r}{roles})"
            case _:
                assert sent is not None  # all else is an answer to something
                yield from self._answer(scene, sent)

    def _late_timers(self, scene: Scene) -> Iterator[str]:
        """Timers may fire late, and so in any order; in a test they fire in the order in which they are due."""
        now = scene.before.now
        dues = {one.name: one.due or now + timedelta(seconds=one.delay) for one in scene.before.timers}
        late = [name.partition("/")[0] for name, due in dues.items() if due < dues[scene.move.detail]]
        if late:
            yield f"# here timers that are due earlier are late: {', '.join(late)}"

    def _time(self, scene: Scene, sent: Sent | None, *, goes_on: bool) -> Iterator[str]:
        if sent is None or (not goes_on and self._is_tried_again(scene)):
            yield f't.advance("{brief(scene.now - scene.before.now)}")'
            return
        more = self.tries.get((sent.step, sent.phase), 0) - 1
        if goes_on and more > 1 and len(sent.ids) == 1 and self.uses.get(sent.ids[-1], 0) == 1:
            yield f"for _ in range({more}):"
            yield f"    {self._expect(sent)}.times_out()"
            self.taken.add(sent.ids[-1])
            return
        yield from self._take(sent, sent.ids[-1])
        yield f"{self._named(sent, sent.ids[-1])}.times_out()"

    def _is_tried_again(self, scene: Scene) -> bool:
        timers = scene.decision.timers if scene.decision else ()
        return any(one.name == scene.move.detail for one in timers)

    def _answer(self, scene: Scene, sent: Sent) -> Iterator[str]:
        message = self._message(scene)
        assert message is not None
        what = scene.move.what
        late = not sent.awaited or what == "ghost" or what.startswith("old ")
        what = what.removeprefix("old ")
        yield from self._take(sent, message)
        to = self._named(sent, message)
        if what == "ghost" or self.answered.get(message) == what:
            yield f"{to}.reply_again()"
            return
        self.answered[message] = what
        if what in ("reply", "reject"):
            value = sample_answer(answer_class(self.model, sent, what))
            yield f"{to}.{what}{'_late' if late else ''}({value!r})"
        elif late:
            yield f"# and late comes the notice that the {sent.phase} of {sent.step} {_NOTICES[what]}"
        else:
            yield f"{to}.{'dead_letters' if what == 'dead' else 'refused'}()"

    def _take(self, sent: Sent, message: str) -> Iterator[str]:
        """Lines that must stand before a message is used: older tries are taken first, and a name is given."""
        for one in sent.ids[: sent.ids.index(message)]:
            if one not in self.taken:
                self.taken.add(one)
                yield f"{self._expect(sent)}  # an earlier try"
        if self.uses.get(message, 0) > 1 and message not in self.names:
            name = sent.step if sent.phase == "action" else f"undo_{sent.step}"
            name = name if name not in self.names.values() else f"{name}_{len(self.names)}"
            self.names[message] = name
            yield f"{name} = {self._expect(sent)}"
        self.taken.add(message)

    def _named(self, sent: Sent, message: str) -> str:
        return self.names.get(message) or self._expect(sent)

    def _expect(self, sent: Sent) -> str:
        return f"t.expect({self._class(sent.step, sent.phase)})"

    def _class(self, step: str, phase: str) -> str:
        """The command, and the step where the command does not say it."""
        command = self.model.answered[step, phase].command
        same = [one for one in self.model.answered.values() if one.command is command]
        return command.__qualname__ + (f", step={step!r}" if len(same) > 1 else "")
