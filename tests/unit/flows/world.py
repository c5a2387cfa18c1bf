"""Random sagas, services that do as they please, and a history of everything that may happen to one instance.

Whoever makes the choices hands in ``pick``: Hypothesis, or a seeded random number generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Command, Done, Event, Key, StepFailed, StepRefused, Undo
from orchestra.flows.decision import Decision, Occurred, OperatorRequest, Outcome, Status, TimerFired
from orchestra.flows.declare import any_of, approval, delay, optional, settled, wait_for
from orchestra.flows.saga import Flow, Saga, on_compensated, on_completed, pivot, starts_on, step
from orchestra.retry import Retry
from tests.unit.flows.play import Play
from tests.unit.flows.reference import JOINS, WAITING, Reference, Rule

T = TypeVar("T")


class Pick(Protocol):
    def __call__(self, options: Sequence[T], /) -> T: ...


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


def always(self: Any, *needed: Any) -> bool:
    return True


def never(self: Any, *needed: Any) -> bool:
    return False


class Knocked(Event, type="model.knocked.v1", topic="model"):
    id: Key[str]


def end(self: Any, *given: Any) -> Ended:
    return Ended(id=self.began.id)


def random_flow(pick: Pick) -> tuple[type[Flow], Reference]:
    """A flow, and the reference's view of it."""
    base = pick([Saga, Saga, Saga, Saga, Flow])
    members: dict[str, Any] = {"began": starts_on(Began), "over": on_completed(end), "undone": on_compensated(end)}
    rules: dict[str, Rule] = {}
    for name in "abcd"[: pick([2, 3, 4])]:
        some = [one for one in rules if pick([True, False])][:3]
        _add_fallible(name, tuple(some), pick, members, rules)
    if pick([True, False]):
        _add_waiting(pick, members, rules)
    if pick([True, False]):
        _add_join(pick, members, rules)
    if base is Saga:
        if pick([True, True, False]):
            before = outside(rules)
            members["p"] = pivot(after=[members[one] for one in before], retry=Retry(attempts=2))(do)
            rules["p"] = Rule(before, "pivot", 2)
        before = outside(rules)
        for name in "xy"[: pick([0, 1, 2])]:
            members[name] = step(after=[members[one] for one in before], kind="retriable")(do)
            rules[name] = Rule(before, "retriable")
    return type(Flow)("Random", (base,), members, name="random"), Reference(rules, saga=base is Saga)


def outside(rules: dict[str, Rule]) -> tuple[str, ...]:
    """What is in no branch of a join."""
    reference = Reference(rules)
    return tuple(one for one in rules if not reference.join_of(one))


def _add_fallible(
    name: str, before: tuple[str, ...], pick: Pick, members: dict[str, Any], rules: dict[str, Rule]
) -> None:
    nodes = [members[one] for one in before]
    tries = pick([1, 2, 3])
    options: dict[str, Any] = {"retry": Retry(attempts=tries)}
    how, undo_tries = pick(["method", "method", "built-in", "read_only", "optional"]), pick([1, 2])
    omitted = how == "optional" and pick([True, False])
    if how in ("method", "optional"):
        declared: Any = optional(*nodes, **options, when=never if omitted else always) if how == "optional" else None
        members[name] = (declared or step(*nodes, **options))(do)
        members[name].undo(retry=Retry(attempts=undo_tries))(revert)
    elif how == "built-in":
        members[name] = step(*nodes, **options, undo=Undo)(do)
    else:
        members[name] = step(*nodes, **options, kind="read_only")(do)
    kind = "read_only" if how == "read_only" else "compensatable"
    rules[name] = Rule(before, kind, tries, undo_tries=10 if how == "built-in" else undo_tries, omitted=omitted)


def _add_waiting(pick: Pick, members: dict[str, Any], rules: dict[str, Rule]) -> None:
    """A node that waits for time, an event or a person, and a step behind it."""
    kind, before = pick(["delay", "wait", "approval"]), tuple(one for one in rules if pick([True, False, False]))
    after, on_time = [members[one] for one in before], pick(["done", "no"])
    how: Any = "continue" if on_time == "done" else "fail"
    if kind == "delay":
        members["w"], on_time = delay("1h", after=after), "done"
    elif kind == "wait":
        members["w"] = wait_for(Knocked, after=after, timeout="1h", on_timeout=how)
    else:
        members["w"] = approval(*after, role="boss", timeout="1h", on_timeout=how)
    rules["w"] = Rule(before, kind, on_time=on_time)
    _add_fallible("e", ("w",), pick, members, rules)


def _add_join(pick: Pick, members: dict[str, Any], rules: dict[str, Rule]) -> None:
    """Two nodes that nothing else needs, of which one may fail."""
    free = [one for one in rules if not any(one in rule.before for rule in rules.values())]
    if len(free) < 2:
        return
    ends = free[:2]
    nodes = [members[one] for one in ends]
    kind = pick(["any_of", "settled"])
    least = 1 if kind == "any_of" else pick([0, 1, 2])
    members["j"] = any_of(*nodes) if kind == "any_of" else settled(*nodes, at_least=least)
    rules["j"] = Rule(tuple(ends), kind, least=least)
    if pick([True, False]):
        _add_fallible("f", ("j",), pick, members, rules)


@dataclass
class World:
    """What services have done, by the effect id of the action."""

    forgets: bool = False
    """There is no ledger: a repeated command is handled again. Then only the decision is checked, not the world."""
    done: set[str] = field(default_factory=set)
    undone: set[str] = field(default_factory=set)
    answers: dict[str, Event] = field(default_factory=dict)
    """The stored outcome of each effect id."""
    shut: set[str] = field(default_factory=set)
    """Effects that were refused: never done after that."""

    def take(self, command: Envelope, how: str) -> Event | None:
        """One delivery. Returns what is answered."""
        effect = str(command.get("effectid"))
        if (stored := self.answers.get(effect)) is not None and not self.forgets:
            return None if how == "silent" else stored
        action = effect.replace("/undo/", "/action/")
        if how == "dead":
            return StepFailed(dead_letter_id="dl", reason="PERMANENT")
        if command.get("flowphase") == "undo":
            return self._undo(effect, action, how)
        if action in self.undone:
            return StepRefused(reason="barred")
        if effect in self.shut or (how == "refuse" and command.get("expirytime") is not None):
            self.shut.add(effect)
            return StepRefused(reason="expired")
        return self._do(effect, "lost" if how == "refuse" else how)

    def _do(self, effect: str, how: str) -> Event | None:
        if how == "lost":
            return None
        if how == "reject":
            self.answers[effect] = No()
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


HOW = ("do", "do", "do", "silent", "silent", "lost", "reject", "reject", "refuse", "dead")
_MEANING = {
    "orchestra.done.v1": "reply",
    "model.no.v1": "reject",
    "orchestra.step.failed.v1": "dead",
    "orchestra.step.refused.v1": "refuse",
}


class History:
    """One instance, its commands and answers under way, and somebody at the console. Each step is compared with the
    reference, and every end with the world."""

    def __init__(self, pick: Pick) -> None:
        owner, self.model = random_flow(pick)
        self.world = World(forgets=pick([False, False, False, True]))
        self.commands: list[Envelope] = []
        self.answers: list[Outcome] = []
        self.old_timers: list[TimerFired] = []
        self.left: set[str] = set()
        self.play = Play(owner, Began(id="k"))
        self._compare(self.play.last, self.model.settled_sends(set()))

    # ---- what happens

    def serve(self, command: Envelope, how: str) -> None:
        answer = self.world.take(command, how)
        if answer is None:
            return
        effect = str(command.get("effectid"))
        extensions: dict[str, Any] = {"effectid": effect, "causationid": command.id}
        event = compose(answer, id=f"r-{len(self.answers)}", source="/s", time=self.play.now, extensions=extensions)
        self.answers.append(Outcome(effect, event))

    def arrive(self, outcome: Outcome) -> None:
        _, name, phase, iteration = outcome.effect_id.rsplit("/", 3)
        newest = self.play.command(name, phase).event  # type: ignore[arg-type]
        is_newest = newest.id == outcome.event.get("causationid")
        is_of_this_effect = phase == "undo" or self._iteration(name) == int(iteration)
        kind = _MEANING[outcome.event.type]
        is_answer = not (newest.type.endswith(".undo") and outcome.event.type == "model.no.v1")
        decision = self.play.give(outcome)
        sent: set[tuple[str, str]] = set()
        if is_answer and is_of_this_effect and (is_newest or kind == "reply"):
            if phase == "action":
                getattr(self.model, kind)(name)
            else:
                self.model.undo_reply(name) if kind == "reply" else self.model.undo_fails(name)
            sent = self.model.settled_sends(set())
        self._compare(decision, sent)

    def _iteration(self, name: str) -> int:
        return int(str(self.play.command(name).event.get("effectid")).rsplit("/", 1)[1])

    def fire(self, timer: Any) -> None:
        name, phase, _ = timer.name.split("/")
        fired = TimerFired(timer.name, timer.generation)
        self.old_timers.append(fired)
        self.play.now = max(self.play.now, timer.due or self.play.now + timedelta(seconds=timer.delay))
        decision = self.play.give(fired)
        sent: set[tuple[str, str]] = set()
        if self.model.rules[name].kind in WAITING:
            self.model.time_is_up(name)
        elif timer.due is not None:
            sent = self.model.resend(name) if phase == "action" else self.model.undo_again(name)
        else:
            self.model.timeout(name) if phase == "action" else self.model.undo_fails(name)
        self._compare(decision, self.model.settled_sends(sent))

    def fire_stale(self, timer: TimerFired) -> None:
        assert not self.play.give(timer).changed

    def knock(self, number: int) -> None:
        """An event from outside: a new one, or one that has come before."""
        event = compose(Knocked(id="k"), id=f"knock-{number}", source="/door", time=self.play.now)
        decision = self.play.give(Occurred(event))
        is_awaited = "w" in self.model.rules and self.model.rules["w"].kind == "wait"
        changed = is_awaited and self.model.event("w", number)
        assert decision.changed == changed
        self._compare(decision, self.model.settled_sends(set()) if changed else set())

    def decide(self, *, yes: bool, role: str) -> None:
        """Somebody decides, perhaps without the right to."""
        request = OperatorRequest("approve" if yes else "reject", by="ann", reason="so", step="w", roles=(role,))
        decision = self.play.give(request)
        is_asked = "w" in self.model.rules and self.model.rules["w"].kind == "approval"
        changed = is_asked and role == "boss" and self.model.decide("w", yes=yes)
        assert decision.changed == changed
        self._compare(decision, self.model.settled_sends(set()) if changed else set())

    def cancel(self) -> None:
        possible = self.model.cancel()
        decision = self.play.operate("cancel")
        assert decision.changed == possible
        self._compare(decision, self.model.settled_sends(set()) if possible else set())

    def operate(self, name: str, action: Any) -> None:
        decision = self.play.operate(action, name)
        if action == "retry":
            sent = self.model.retry(name)
        else:
            sent = set() if self.model.leave(name) else None
            if sent is not None:
                self.left.add(name)
        assert decision.changed == (sent is not None)
        self._compare(decision, set() if sent is None else self.model.settled_sends(sent))

    def go_well(self, pick: Pick) -> None:
        """A command is done and answered at once. Without this most histories would never see the pivot."""
        before = len(self.answers)
        self.serve(self.commands.pop(pick(range(len(self.commands)))), "do")
        if len(self.answers) > before:
            self.arrive(self.answers.pop())

    def finish(self) -> None:
        """From wherever it is, it ends, once services answer and somebody looks at what is stuck."""
        for _ in range(600):
            if self.play.last.status.is_final and not self.commands and not self.answers:
                break
            self._help()
        assert self.play.last.status.is_final
        assert len([one for one in self.play.sent if one.kind == "event"]) == 1, "it says once that it is over"
        if not self.world.forgets:
            self._account()

    def _help(self) -> None:
        if self.answers:
            self.arrive(self.answers.pop(0))
        elif self.commands:
            self.serve(self.commands.pop(0), "do")
        elif self.model.fact.get("w") == "wait" and self.model.rules["w"].kind == "approval":
            self.decide(yes=True, role="boss")
        elif self.model.fact.get("w") == "wait" and self.model.rules["w"].kind == "wait":
            self.knock(99)
        elif self.play.last.timers:
            self.fire(self.play.last.timers[0])
        else:
            names = [name for name, undo in self.model.undo.items() if undo == "stuck"]
            names += [
                one for one, fact in self.model.fact.items() if fact in ("no", "maybe") and one not in self.model.lost
            ]
            if names and self.model.rules[names[0]].kind not in JOINS:
                self.operate(names[0], "retry")
            else:
                self.cancel()

    # ---- what must hold

    def _compare(self, decision: Decision, sent: set[tuple[str, str]]) -> None:
        commands = [one.event for one in decision.messages if one.kind == "command"]
        self.commands += commands
        assert {(str(one.get("flowstep")), str(one.get("flowphase"))) for one in commands} == sent
        assert len(commands) == len(sent)
        assert decision.status.value == self.model.status
        assert len({one.event.id for one in self.play.sent}) == len(self.play.sent), "a message id was used twice"
        self._waits_for_something()

    def _waits_for_something(self) -> None:
        last = self.play.last
        assert last.journal
        waits = self.play.definition.waits_for(last.state)
        if last.status.is_final:
            assert not last.timers
        else:
            assert waits
            assert last.timers or last.status in (Status.STUCK, Status.HALTED)
        if last.status is Status.STUCK:
            assert "compensation.stuck" in self.play.codes()

    def _account(self) -> None:
        """Nothing was done that the end does not account for."""
        completed = self.play.last.status is Status.COMPLETED
        for name, of in self.model.rules.items():
            standing = {one for one in self.world.done if f"/{name}/" in one} - self.world.undone
            if of.kind in JOINS | WAITING:
                continue
            if completed and of.omitted:
                assert not standing
            elif completed and name not in self.model.lost:
                assert len(standing) == 1, f"{name} was done {len(standing)} times"
            elif of.kind == "compensatable" and name not in self.left:
                assert not standing, f"{name} was done and never undone"
            elif of.kind in ("pivot", "retriable"):
                assert not standing, f"{name} was done, and the rest undone"
