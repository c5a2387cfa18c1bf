"""A small second opinion on what a flow must do, written from the rules and not from the code.

It knows steps as names with predecessors and a kind, and nothing of messages, timers or JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FINISHED = {"done", "left"}
WAITING = {"delay", "wait", "approval"}
JOINS = {"any_of", "settled"}
ACTIVE = {"out", "pause", "wait"}


@dataclass
class Rule:
    """One step: what comes before it, its kind, and how many tries its action and its undo have."""

    before: tuple[str, ...]
    kind: str
    tries: int = 1
    undo_tries: int = 2
    omitted: bool = False
    """Its guard says no."""
    on_time: str = "done"
    """What becomes of a node that waits when its time is up: done, or no."""
    least: int = 1
    """Of a join: how many branches must be done."""


@dataclass
class Reference:
    """``fact`` is what is known of each node: out, pause, wait, done, no, maybe, dropped. ``undo`` likewise: planned,
    out, pause, done, stuck, left."""

    rules: dict[str, Rule]
    saga: bool = True
    fact: dict[str, str] = field(default_factory=dict)
    tried: dict[str, int] = field(default_factory=dict)
    undo: dict[str, str] = field(default_factory=dict)
    undo_tried: dict[str, int] = field(default_factory=dict)
    proven: set[str] = field(default_factory=set)
    """Steps whose last try is proven not done, while they pause."""
    lost: set[str] = field(default_factory=set)
    """Nodes of branches that failed or lost, while the flow goes on."""
    early: dict[str, set[int]] = field(default_factory=dict)
    """Waits, and the events that have come before they began."""
    failing: bool = False
    planned: bool = False
    cancelled: bool = False
    over: bool = False

    # ---- what it would say

    @property
    def status(self) -> str:
        if not self.failing:
            if self.over:
                return "completed"
            return "stuck" if "stuck" in self.undo.values() and self._is_forward_over() else "running"
        if not self.saga and not self.cancelled:
            return "halted"
        if self.planned and "stuck" in self.undo.values():
            return "stuck"
        return "compensated" if self.over else "compensating"

    def settled_sends(self, sent: set[tuple[str, str]]) -> set[tuple[str, str]]:
        """Everything that follows, as the set of (step, phase) sent."""
        if not self.failing:
            while not self.failing and (self._let_go(sent) or self._begin(sent)):
                pass
            if self.failing:
                return self.settled_sends(sent)
            self.over = self._is_forward_over() and set(self.undo.values()) <= FINISHED
        elif self.status == "halted":
            if not any(fact in ("no", "maybe") and not self.join_of(step) for step, fact in self.fact.items()):
                self.failing = False
                return self.settled_sends(sent)
        else:
            self._drain()
            if self.planned:
                self._undo(sent)
                self.over = set(self.undo.values()) <= FINISHED
        return sent

    # ---- forward

    def _begin(self, sent: set[tuple[str, str]]) -> bool:
        for step, rule in self.rules.items():
            if step in self.fact or step in self.lost or not self._is_ready(step, rule):
                continue
            if rule.kind in JOINS:
                self._join(step, rule)
            elif rule.kind in WAITING:
                self.fact[step] = "done" if step in self.early else "wait"
            elif rule.omitted:
                self.fact[step] = "done"
            else:
                self.fact[step], self.tried[step] = "out", 1
                sent.add((step, "action"))
            return True
        return False

    def _is_ready(self, step: str, rule: Rule) -> bool:
        done = [one for one in rule.before if self.fact.get(one) == "done"]
        if rule.kind not in JOINS:
            return len(done) == len(rule.before)
        if done and rule.kind == "any_of":
            return True
        return all(one in done or self._has_failed_quietly(self._branch(step, one)) for one in rule.before)

    def _join(self, step: str, rule: Rule) -> None:
        done = [one for one in rule.before if self.fact.get(one) == "done"]
        if len(done) < rule.least:
            self.fact[step] = "no"
            self._fail(step)
            return
        self.fact[step] = "done"
        if rule.kind == "any_of":
            self._lose(step, [one for one in rule.before if one != done[0]])

    def _branch(self, join: str, end: str) -> set[str]:
        """The end of a branch, and whatever leads nowhere but to the join."""
        before = {one for one in self.rules if self._comes_after(end, one)}
        return {one for one in (end, *before) if self.join_of(one) == join}

    def join_of(self, step: str) -> str | None:
        """The join that takes the failure of a step upon itself: every way on from the step leads into it."""
        after = [one for one, rule in self.rules.items() if step in rule.before]
        joins = {one if self.rules[one].kind in JOINS else self.join_of(one) for one in after}
        return joins.pop() if len(joins) == 1 else None

    def _has_failed(self, branch: set[str]) -> bool:
        return any(self.fact.get(one) in ("no", "maybe") for one in branch)

    def _has_failed_quietly(self, branch: set[str]) -> bool:
        return self._has_failed(branch) and not any(self.fact.get(one) in ACTIVE for one in branch)

    def _lose(self, join: str, ends: list[str]) -> None:
        kept: set[str] = set()
        for end in self.rules[join].before:
            if end not in ends:
                kept |= self._branch(join, end)
        for end in ends:
            self.lost |= self._branch(join, end) - kept

    def _let_go(self, sent: set[tuple[str, str]]) -> bool:
        """Branches that failed, and what is left of those that are lost. Whether anything changed."""
        was = (set(self.lost), dict(self.fact), dict(self.undo))
        for join, rule in self.rules.items():
            if rule.kind in JOINS and join not in self.fact:
                self._lose(join, [end for end in rule.before if self._has_failed(self._branch(join, end))])
        for step in self.lost:
            self._drop(step)
        for step in self.lost:
            later = {one for one in self.lost if one == step or self._comes_after(one, step)}
            if step not in self.undo and not any(self.fact.get(one) in ACTIVE for one in later):
                self._plan(step)
        if self.lost:
            self._undo(sent)
        return was != (self.lost, self.fact, self.undo)

    def _is_forward_over(self) -> bool:
        facts = {step: self.fact.get(step) for step in self.rules}
        return all(
            fact not in ACTIVE and (step in self.lost or fact == "done" or (fact is not None and self.join_of(step)))
            for step, fact in facts.items()
        )

    # ---- back

    def _drop(self, step: str) -> None:
        """Nothing more is tried; what need not be awaited is not."""
        fact = self.fact.get(step)
        if fact == "pause":
            self.fact[step] = "no" if step in self.proven else "maybe"
        elif fact == "wait" or (fact == "out" and self.rules[step].kind == "read_only"):
            self.fact[step] = "dropped"

    def _plan(self, step: str) -> None:
        is_sent = step in self.tried  # and not omitted
        if self.fact.get(step) in ("done", "maybe") and self.rules[step].kind == "compensatable" and is_sent:
            self.undo.setdefault(step, "planned")

    def _drain(self) -> None:
        if not self.planned:
            for step in self.fact:
                self._drop(step)
        if self.planned or ACTIVE & set(self.fact.values()):
            return
        self.planned = True
        for step in self.fact:
            self._plan(step)

    def _undo(self, sent: set[tuple[str, str]]) -> None:
        waiting = {step for step, undo in self.undo.items() if undo not in FINISHED}
        for step in [step for step, undo in self.undo.items() if undo == "planned"]:
            if not any(self._comes_after(other, step) for other in waiting):
                self.undo[step], self.undo_tried[step] = "out", 1
                sent.add((step, "undo"))

    def _comes_after(self, later: str, step: str) -> bool:
        return any(one == step or self._comes_after(one, step) for one in self.rules[later].before)

    def _fail(self, step: str) -> None:
        if not self.join_of(step):
            self.failing = True

    def _lets_go(self, step: str) -> bool:
        is_draining = self.failing and self.status in ("compensating", "stuck") and not self.planned
        return is_draining or step in self.lost

    # ---- inputs about an action

    def reply(self, step: str) -> None:
        fact = self.fact[step]
        if fact in ("out", "pause") or (fact in ("no", "maybe") and self.status == "halted"):
            self.fact[step] = "done"
        elif fact in ("no", "maybe") and self._can_still_be_undone(step):
            self.fact[step] = "done"
            if self.planned or step in self.lost:
                self.undo[step] = "planned"
                self.over = False

    def _can_still_be_undone(self, step: str) -> bool:
        return self.rules[step].kind == "compensatable" and self.undo.get(step) in (None, "planned")

    def reject(self, step: str) -> None:
        fact = self.fact[step]
        if fact == "maybe":
            is_over = step in self.undo or self.status in ("completed", "compensated")
            if not is_over and (self._lets_go(step) or self.status == "halted"):
                self.fact[step] = "no"
        elif fact in ("out", "pause"):
            if self.rules[step].kind == "retriable" and not self._lets_go(step):
                self.fact[step] = "pause"
                self.proven.add(step)
            else:
                self.fact[step] = "no"
                self._fail(step)

    def refuse(self, step: str) -> None:
        if self.fact[step] != "out":
            return
        rule = self.rules[step]
        if not self._lets_go(step) and (rule.kind == "retriable" or self.tried[step] < rule.tries):
            self.fact[step] = "pause"
            self.proven.add(step)
        else:
            self.fact[step] = "no"
            self._fail(step)

    def dead(self, step: str) -> None:
        insists = self.rules[step].kind in ("pivot", "retriable")
        if self.fact[step] == "out" or (self.fact[step] == "pause" and not insists):
            self._unknown(step, again=insists)

    def timeout(self, step: str) -> None:
        rule = self.rules[step]
        self._unknown(step, again=rule.kind in ("pivot", "retriable") or self.tried[step] < rule.tries)

    def _unknown(self, step: str, *, again: bool) -> None:
        if again and not self._lets_go(step):
            self.fact[step] = "pause"
            self.proven.discard(step)
        else:
            self.fact[step] = "maybe"
            self._fail(step)

    def resend(self, step: str) -> set[tuple[str, str]]:
        """A pause is over, or an operator wants no pause."""
        self.fact[step] = "out"
        self.proven.discard(step)
        self.tried[step] += 1
        return {(step, "action")}

    # ---- inputs about a node that waits

    def time_is_up(self, step: str) -> None:
        self.fact[step] = self.rules[step].on_time
        if self.fact[step] == "no":
            self._fail(step)

    def event(self, step: str, number: int) -> bool:
        """One of the events that a node waits for. Returns whether it made a difference."""
        if self.fact.get(step) == "wait":
            self.fact[step] = "done"
            return True
        if step in self.fact or self.failing or step in self.lost or number in self.early.get(step, ()):
            return False
        self.early.setdefault(step, set()).add(number)
        return True

    def decide(self, step: str, *, yes: bool) -> bool:
        if self.fact.get(step) != "wait":
            return False
        self.fact[step] = "done" if yes else "no"
        if not yes:
            self._fail(step)
        return True

    # ---- inputs about an undo

    def undo_reply(self, step: str) -> None:
        if self.undo[step] in ("out", "pause", "stuck"):
            self.undo[step] = "done"

    def undo_fails(self, step: str) -> None:
        if self.undo[step] == "out":
            self.undo[step] = "pause" if self.undo_tried[step] < self.rules[step].undo_tries else "stuck"

    def undo_again(self, step: str) -> set[tuple[str, str]]:
        self.undo[step] = "out"
        self.undo_tried[step] += 1
        return {(step, "undo")}

    # ---- operators

    def cancel(self) -> bool:
        final = [step for step, rule in self.rules.items() if rule.kind in ("pivot", "retriable")]
        if self.failing and self.status != "halted":
            return False
        if self.status == "completed":
            return False
        if any(self.fact.get(step) in ("out", "pause", "done") for step in final):
            return False
        self.failing = self.cancelled = True
        return True

    def retry(self, step: str) -> set[tuple[str, str]] | None:
        """None where it is refused."""
        if self.undo.get(step, "planned") != "planned":
            if self.undo[step] not in ("stuck", "pause"):
                return None
            self.undo_tried[step] = 0
            return self.undo_again(step)
        if step in self.lost or self.rules[step].kind in JOINS:
            return None
        if self.rules[step].kind in WAITING:
            if self.status != "halted" or self.fact.get(step) != "no":
                return None
            self.fact[step] = "wait"
            return set()
        if self.fact.get(step) == "pause":
            return self.resend(step)
        if self.status == "halted" and self.fact.get(step) in ("no", "maybe"):
            self.tried[step] = 0
            return self.resend(step)
        return None

    def leave(self, step: str) -> bool:
        """Skip or resolve."""
        if self.undo.get(step) != "stuck":
            return False
        self.undo[step] = "left"
        return True
