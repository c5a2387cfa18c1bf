"""The decision against the reference and against the world, in random orders of everything.

Every history must end completed, fully compensated, or stuck with an alert, and the world must then hold what the
instance says. A seeded generator makes many histories quickly; Hypothesis makes fewer, and shrinks what fails.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.unit.flows.world import HOW, History

ACTIONS = (
    "well",
    "well",
    "well",
    "serve",
    "serve",
    "arrive",
    "arrive",
    "fire",
    "fire",
    "stale",
    "operate",
    "cancel",
    "knock",
    "decide",
)


def act(history: History, action: str, pick: Any) -> None:
    """One thing that happens, if it can."""
    timers = list(history.play.last.timers)
    if action == "well" and history.commands:
        if not history.model.undo or pick([True, False, False]):
            history.go_well(pick)
    elif action == "serve" and history.commands:
        index = pick(range(len(history.commands)))
        command = history.commands[index] if pick([True, False]) else history.commands.pop(index)
        history.serve(command, pick(HOW))
    elif action == "arrive" and history.answers:
        index = pick(range(len(history.answers)))
        history.arrive(history.answers[index] if pick([True, False]) else history.answers.pop(index))
    elif action == "fire" and timers:
        history.fire(pick(timers))
    elif action == "stale" and history.old_timers:
        history.fire_stale(pick(history.old_timers))
    elif action == "operate" and history.model.fact:
        history.operate(pick(sorted(history.model.fact)), pick(["retry", "retry", "skip", "resolve"]))
    elif action == "cancel" and pick([True, *[False] * 12]):
        history.cancel()
    else:
        act_from_outside(history, action, pick)


def act_from_outside(history: History, action: str, pick: Any) -> None:
    """Somebody knocks, or decides."""
    if action == "knock":
        history.knock(pick([1, 1, 2, 3]))
    elif action == "decide":
        history.decide(yes=pick([True, True, False]), role=pick(["boss", "boss", "clerk"]))


def test_every_random_history_ends_as_the_reference_says() -> None:
    seen: Counter[str] = Counter()
    for seed in range(800):
        random = Random(seed)
        try:
            history = History(random.choice)
            for _ in range(random.randrange(40)):
                act(history, random.choice(ACTIONS), random.choice)
            seen[history.play.last.status] += 1
            history.finish()
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
        seen.update({line.what for line in history.play.journal} | set(history.play.codes()))

    rare = {what for what in WHATS if seen[what] < 3}
    assert not rare, f"the histories hardly ever see {rare}: {seen}"


WHATS = (
    *("running", "compensating", "completed", "compensated", "stuck", "halted", "flow.resumed", "step.timed_out"),
    *("step.rejected", "step.refused", "step.dead_lettered", "step.replied_late", "step.cancelled", "step.sent_again"),
    *("undo.stuck", "undo.skipped", "undo.resolved", "undo.sent_again", "outcome.late", "outcome.superseded"),
    *("outcome.contradiction", "outcome.unexpected", "pivot.unknown", "retriable.rejected", "retriable.unknown"),
    *("operator.cancel", "operator.retry", "operator.refused", "timer.stale"),
    *("step.omitted", "branch.failed", "join.done", "join.failed", "wait.over", "wait.timed_out", "event.early"),
    *("event.late", "approval.approved", "approval.rejected", "approval.timed_out", "delay.over"),
)


class Histories(RuleBasedStateMachine):
    """The same, with Hypothesis choosing."""

    history: History

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.history = History(self._pick(data))

    @rule(action=st.sampled_from(ACTIONS), data=st.data())
    def something_happens(self, action: str, data: st.DataObject) -> None:
        act(self.history, action, self._pick(data))

    @staticmethod
    def _pick(data: st.DataObject) -> Any:
        return lambda options: data.draw(st.sampled_from(options))

    def teardown(self) -> None:
        if hasattr(self, "history"):
            self.history.finish()


Histories.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHistories = Histories.TestCase
