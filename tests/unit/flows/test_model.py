"""Random sagas, random services, random order of everything: the decision against the reference, and against the world.

The world keeps a ledger, as services with a database do: what was really done, undone or barred. Every history must end
completed, fully compensated, or stuck with an alert, and the world must then hold what the instance says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Command, Done, Event, Key, StepFailed, StepRefused, Undo
from orchestra.flows.decision import Decision, Outcome, Status, TimerFired
from orchestra.flows.saga import Flow, Saga, on_compensated, on_completed, pivot, starts_on, step
from orchestra.retry import Retry
from tests.unit.flows.play import Play
from tests.unit.flows.reference import Reference, Rule


class Began(Event, type="model.began.v1", topic="model"):
    id: Key[str]


class Ended(Event, type="model.ended.v1", topic="model"):
    id: Key[str]


class No(Event, type="model.no.v1"):
    pass


class Do(Command[Done, No], type="model.do.v1", topic="model.commands"):
    id: Key[str]


class Revert(Command[Done, No], type="model.revert.v1", topic="model.commands"):
    id: Key[str]
    known: bool


def do(self: Any, *needed: Any) -> Do:
    return Do(id=self.began.id)


def revert(self: Any, reply: Done | None) -> Revert:
    return Revert(id=self.began.id, known=reply is not None)


def end(self: Any, *given: Any) -> Ended:
    return Ended(id=self.began.id)


STEPS = "abcdef"


@st.composite
def flows(draw: st.DrawFn) -> tuple[type[Flow], Reference]:
    """A random flow, and the reference's view of it."""
    saga = draw(st.integers(0, 4)) > 0
    members: dict[str, Any] = {"began": starts_on(Began), "over": on_completed(end), "undone": on_compensated(end)}
    rules: dict[str, Rule] = {}

    def needs() -> tuple[str, ...]:
        have = [name for name in rules if rules[name].kind in ("compensatable", "read_only")]
        return tuple(sorted(draw(st.sets(st.sampled_from(have), max_size=2)))) if have else ()

    for name in STEPS[: draw(st.integers(1, 4))]:
        before, tries = needs(), draw(st.integers(1, 3))
        kind = draw(st.sampled_from(["compensatable", "compensatable", "compensatable", "read_only"]))
        options: dict[str, Any] = {"retry": Retry(attempts=tries)}
        if kind == "read_only":
            options["kind"] = kind
        made = step(*(members[one] for one in before), **options)(do)
        if kind == "compensatable":
            if draw(st.booleans()):
                made.undo(retry=Retry(attempts=2))(revert)
            else:
                made = step(*(members[one] for one in before), **options, undo=Undo)(do)
        members[name] = made
        is_built_in = kind == "compensatable" and made.options.undo is not None
        rules[name] = Rule(before, kind, tries, undo_tries=10 if is_built_in else 2)
    first = tuple(rules)
    if saga and draw(st.booleans()):
        members["p"] = pivot(after=[members[one] for one in first], retry=Retry(attempts=2))(do)
        rules["p"] = Rule(first, "pivot", 2)
    if saga and draw(st.booleans()):
        before = tuple(rules)
        for name in ("x", "y")[: draw(st.integers(1, 2))]:
            members[name] = step(after=[members[one] for one in before], kind="retriable")(do)
            rules[name] = Rule(before, "retriable")
    owner = type(Flow)("Random", (Saga if saga else Flow,), members, name="random")
    return owner, Reference(rules, saga)


@dataclass
class World:
    """What services with a ledger have done, by effect id without the phase."""

    forgets: bool = False
    """There is no ledger: a repeated command is handled again. Then only the decision is checked, not the world."""
    done: set[str] = field(default_factory=set)
    undone: set[str] = field(default_factory=set)
    answers: dict[str, Event] = field(default_factory=dict)
    """The stored outcome of each effect id."""
    expired: dict[str, str] = field(default_factory=dict)
    """The latest expiry that was refused, of each effect id: time does not go back."""

    def take(self, command: Envelope, how: str) -> Event | None:
        """One delivery. Returns what is answered."""
        effect = str(command.get("effectid"))
        if (stored := self.answers.get(effect)) is not None and not self.forgets:
            return None if how == "silent" else stored
        step_of = effect.replace("/undo/", "/action/")
        if how == "dead":
            return StepFailed(dead_letter_id="dl", reason="PERMANENT")
        if command.get("flowphase") == "undo":
            return self._undo(effect, step_of, how)
        if step_of in self.undone:
            return StepRefused(reason="barred")
        expiry = command.get("expirytime")
        if expiry is not None and (how == "refuse" or expiry <= self.expired.get(effect, "")):
            self.expired[effect] = max(expiry, self.expired.get(effect, ""))
            return StepRefused(reason="expired")
        return self._do(effect, "lost" if how == "refuse" else how)

    def _do(self, effect: str, how: str) -> Event | None:
        if how == "reject":
            self.answers[effect] = No()
        elif how == "lost":
            return None
        else:
            self.done.add(effect)
            self.answers[effect] = Done()
        return None if how == "silent" else self.answers[effect]

    def _undo(self, effect: str, action: str, how: str) -> Event | None:
        if how in ("reject", "refuse"):
            return No()
        if how == "lost":
            return None
        self.undone.add(action)
        self.answers[effect] = Done()
        return None if how == "silent" else Done()


HOW = st.sampled_from(["do", "do", "do", "do", "silent", "lost", "reject", "refuse", "dead"])
ANSWERED = {"orchestra.done.v1": "reply", "model.no.v1": "reject"}
RUNTIME = {"orchestra.step.failed.v1": "dead", "orchestra.step.refused.v1": "refuse"}


class Histories(RuleBasedStateMachine):
    """One instance, its commands and answers under way, and somebody at the console."""

    play: Play
    model: Reference

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.commands: list[Envelope] = []
        self.answers: list[Outcome] = []
        self.old_timers: list[TimerFired] = []
        self.left: set[str] = set()

    @initialize(flow=flows(), forgets=st.integers(0, 3).map(lambda one: one == 0))
    def begin(self, flow: tuple[type[Flow], Reference], forgets: bool) -> None:
        owner, self.model = flow
        self.world.forgets = forgets
        self.play = Play(owner, Began(id="k"))
        self._compare(self.play.last, self.model.settled_sends(set()))

    # ---- what happens

    @precondition(lambda self: self.commands)
    @rule(data=st.data(), how=HOW, again=st.booleans())
    def a_service_takes_a_command(self, data: st.DataObject, how: str, again: bool) -> None:
        index = data.draw(st.integers(0, len(self.commands) - 1))
        command = self.commands[index] if again else self.commands.pop(index)
        self._serve(command, how)

    def _serve(self, command: Envelope, how: str) -> None:
        answer = self.world.take(command, how)
        if answer is None:
            return
        effect = str(command.get("effectid"))
        extensions: dict[str, Any] = {"effectid": effect, "causationid": command.id}
        event = compose(answer, id=f"r-{len(self.answers)}", source="/s", time=self.play.now, extensions=extensions)
        self.answers.append(Outcome(effect, event))

    @precondition(lambda self: self.answers)
    @rule(data=st.data(), again=st.booleans())
    def an_answer_arrives(self, data: st.DataObject, again: bool) -> None:
        index = data.draw(st.integers(0, len(self.answers) - 1))
        self._arrive(self.answers[index] if again else self.answers.pop(index))

    def _arrive(self, outcome: Outcome) -> None:
        _, name, phase, iteration = outcome.effect_id.rsplit("/", 3)
        newest = self.play.command(name, phase).event  # type: ignore[arg-type]
        is_newest = newest.id == outcome.event.get("causationid")
        kind = ANSWERED.get(outcome.event.type) or RUNTIME[outcome.event.type]
        was_newest_effect = self._iteration(name) == int(iteration)
        is_answer = not (newest.type.endswith(".undo") and outcome.event.type == "model.no.v1")
        decision = self.play.give(outcome)
        sent: set[tuple[str, str]] = set()
        if is_answer and (is_newest or kind == "reply") and (phase == "undo" or was_newest_effect):
            if phase == "action":
                getattr(self.model, kind)(name)
            elif kind == "reply":
                self.model.undo_reply(name)
            else:
                self.model.undo_fails(name)
            sent = self.model.settled_sends(set())
        self._compare(decision, sent)

    def _iteration(self, name: str) -> int:
        return int(str(self.play.command(name).event.get("effectid")).rsplit("/", 1)[1])

    @precondition(lambda self: self.play.last.timers)
    @rule(data=st.data())
    def a_timer_fires(self, data: st.DataObject) -> None:
        self._fire(data.draw(st.sampled_from(list(self.play.last.timers))))

    def _fire(self, timer: Any) -> None:
        name, phase, _ = timer.name.split("/")
        fired = TimerFired(timer.name, timer.generation)
        self.old_timers.append(fired)
        self.play.now = max(self.play.now, timer.due or self.play.now + timedelta(seconds=timer.delay))
        decision = self.play.give(fired)
        if timer.due is not None:
            sent = self.model.resend(name) if phase == "action" else self.model.undo_again(name)
        else:
            sent = set()
            self.model.timeout(name) if phase == "action" else self.model.undo_fails(name)
        self._compare(decision, self.model.settled_sends(sent))

    @precondition(lambda self: self.old_timers)
    @rule(data=st.data())
    def a_stale_timer_fires(self, data: st.DataObject) -> None:
        assert not self.play.give(data.draw(st.sampled_from(self.old_timers))).changed

    @rule(dice=st.integers(0, 7))
    def somebody_cancels(self, dice: int) -> None:
        if dice:
            return
        possible = self.model.cancel()
        decision = self.play.operate("cancel")
        assert decision.changed == possible
        self._compare(decision, self.model.settled_sends(set()) if possible else set())

    @precondition(lambda self: self.model.fact)
    @rule(data=st.data(), action=st.sampled_from(["retry", "retry", "skip", "resolve"]))
    def an_operator_acts(self, data: st.DataObject, action: Any) -> None:
        self._operate(data.draw(st.sampled_from(sorted(self.model.fact))), action)

    def _operate(self, name: str, action: Any) -> None:
        decision = self.play.operate(action, name)
        if action == "retry":
            sent = self.model.retry(name)
        else:
            sent = set() if self.model.leave(name) else None
            if sent is not None:
                self.left.add(name)
        assert decision.changed == (sent is not None)
        self._compare(decision, set() if sent is None else self.model.settled_sends(sent))

    # ---- what must hold

    def _compare(self, decision: Decision, sent: set[tuple[str, str]]) -> None:
        commands = [one.event for one in decision.messages if one.kind == "command"]
        self.commands += commands
        assert {(str(one.get("flowstep")), str(one.get("flowphase"))) for one in commands} == sent
        assert len(commands) == len(sent)
        assert decision.status.value == self.model.status
        assert len({one.event.id for one in self.play.sent}) == len(self.play.sent), "a message id was used twice"

    @invariant()
    def every_live_instance_waits_for_something(self) -> None:
        status = self.play.last.status
        waits = self.play.definition.waits_for(self.play.last.state)
        if status.is_final:
            assert not self.play.last.timers
        else:
            assert waits
            assert self.play.last.timers or status in (Status.STUCK, Status.HALTED)
        if status is Status.STUCK:
            assert "compensation.stuck" in self.play.codes()

    @invariant()
    def every_change_is_in_the_journal(self) -> None:
        assert self.play.last.journal

    def teardown(self) -> None:
        """From wherever it is, it ends, once services answer and somebody looks at what is stuck."""
        if not hasattr(self, "play"):
            return
        for _ in range(400):
            if self.play.last.status.is_final and not self.commands and not self.answers:
                break
            self._help()
        assert self.play.last.status.is_final
        if not self.world.forgets:
            self._account()

    def _help(self) -> None:
        if self.answers:
            self._arrive(self.answers.pop(0))
        elif self.commands:
            self._serve(self.commands.pop(0), "do")
        elif self.play.last.timers:
            self._fire(self.play.last.timers[0])
        else:
            names = [name for name, undo in self.model.undo.items() if undo == "stuck"]
            names += [name for name, fact in self.model.fact.items() if fact in ("no", "maybe")]
            self._operate(names[0], "retry")

    def _account(self) -> None:
        """Nothing was done that the end does not account for."""
        completed = self.play.last.status is Status.COMPLETED
        steps = self.model.rules
        for name in steps:
            effects = {one for one in self.world.done if f"/{name}/" in one}
            standing = effects - self.world.undone
            if completed:
                assert len(standing) == 1, f"{name} was done {len(standing)} times"
            elif steps[name].kind == "compensatable" and name not in self.left:
                assert not standing, f"{name} was done and never undone"
            assert steps[name].kind != "pivot" or completed or not standing
        ends = [one for one in self.play.sent if one.kind == "event"]
        assert len(ends) == 1


Histories.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHistories = Histories.TestCase

__all__ = ["TestHistories"]
