"""A small second opinion on what a flow must do, written from the rules and not from the code.

It knows steps as names with predecessors and a kind, and nothing of messages, timers or JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FINISHED = {"done", "left"}


@dataclass
class Rule:
    """One step: what comes before it, its kind, and how many tries its action and its undo have."""

    before: tuple[str, ...]
    kind: str
    tries: int = 1
    undo_tries: int = 2


@dataclass
class Reference:
    """``fact`` is what is known of each action: out, pause, done, no, maybe, dropped. ``undo`` likewise: planned, out,
    pause, done, stuck, left."""

    rules: dict[str, Rule]
    saga: bool = True
    fact: dict[str, str] = field(default_factory=dict)
    tried: dict[str, int] = field(default_factory=dict)
    undo: dict[str, str] = field(default_factory=dict)
    undo_tried: dict[str, int] = field(default_factory=dict)
    proven: set[str] = field(default_factory=set)
    """Steps whose last try is proven not done, while they pause."""
    failing: bool = False
    planned: bool = False
    cancelled: bool = False
    over: bool = False

    # ---- what it would say

    @property
    def status(self) -> str:
        if not self.failing:
            return "completed" if self.over else "running"
        if not self.saga and not self.cancelled:
            return "halted"
        if "stuck" in self.undo.values():
            return "stuck"
        return "compensated" if self.over else "compensating"

    def settled_sends(self, sent: set[tuple[str, str]]) -> set[tuple[str, str]]:
        """Everything that follows, as the set of (step, phase) sent."""
        if not self.failing:
            for step, rule in self.rules.items():
                if step not in self.fact and all(self.fact.get(one) == "done" for one in rule.before):
                    self.fact[step], self.tried[step] = "out", 1
                    sent.add((step, "action"))
            self.over = all(self.fact.get(step) == "done" for step in self.rules)
        elif self.status == "halted":
            if not {"no", "maybe"} & set(self.fact.values()):
                self.failing = False
                return self.settled_sends(sent)
        else:
            self._drain()
            if self.planned:
                self._undo(sent)
        return sent

    def _drain(self) -> None:
        for step, fact in list(self.fact.items()):
            if fact == "pause":
                self.fact[step] = "no" if step in self.proven else "maybe"
            elif fact == "out" and self.rules[step].kind == "read_only" and not self.planned:
                self.fact[step] = "dropped"
        if self.planned or "out" in self.fact.values():
            return
        self.planned = True
        for step, fact in self.fact.items():
            if fact in ("done", "maybe") and self.rules[step].kind == "compensatable":
                self.undo[step] = "planned"

    def _undo(self, sent: set[tuple[str, str]]) -> None:
        waiting = {step for step, undo in self.undo.items() if undo not in FINISHED}
        for step in [step for step, undo in self.undo.items() if undo == "planned"]:
            if not any(self._comes_after(other, step) for other in waiting):
                self.undo[step], self.undo_tried[step] = "out", 1
                sent.add((step, "undo"))
        self.over = set(self.undo.values()) <= FINISHED

    def _comes_after(self, later: str, step: str) -> bool:
        return any(one == step or self._comes_after(one, step) for one in self.rules[later].before)

    def _fail(self) -> None:
        self.failing = True

    def _draining(self) -> bool:
        return self.status in ("compensating", "stuck") and not self.planned

    # ---- inputs about an action

    def reply(self, step: str) -> None:
        fact = self.fact[step]
        if fact in ("out", "pause") or (fact in ("no", "maybe") and self.status == "halted"):
            self.fact[step] = "done"
        elif fact in ("no", "maybe") and self._can_still_be_undone(step):
            self.fact[step] = "done"
            if self.planned:
                self.undo[step] = "planned"
                self.over = False

    def _can_still_be_undone(self, step: str) -> bool:
        return self.rules[step].kind == "compensatable" and self.undo.get(step) in (None, "planned")

    def reject(self, step: str) -> None:
        fact = self.fact[step]
        if fact == "maybe" and (self._draining() or self.status == "halted"):
            self.fact[step] = "no"
        elif fact in ("out", "pause"):
            if self.rules[step].kind == "retriable" and not self._draining():
                self.fact[step] = "pause"
                self.proven.add(step)
            else:
                self.fact[step] = "no"
                self._fail()

    def refuse(self, step: str) -> None:
        if self.fact[step] != "out":
            return
        rule = self.rules[step]
        if not self._draining() and (rule.kind == "retriable" or self.tried[step] < rule.tries):
            self.fact[step] = "pause"
            self.proven.add(step)
        else:
            self.fact[step] = "no"
            self._fail()

    def dead(self, step: str) -> None:
        insists = self.rules[step].kind in ("pivot", "retriable")
        if self.fact[step] == "out" or (self.fact[step] == "pause" and not insists):
            self._unknown(step, again=insists)

    def timeout(self, step: str) -> None:
        rule = self.rules[step]
        self._unknown(step, again=rule.kind in ("pivot", "retriable") or self.tried[step] < rule.tries)

    def _unknown(self, step: str, *, again: bool) -> None:
        if again and not self._draining():
            self.fact[step] = "pause"
            self.proven.discard(step)
        else:
            self.fact[step] = "maybe"
            self._fail()

    def resend(self, step: str) -> set[tuple[str, str]]:
        """A pause is over, or an operator wants no pause."""
        self.fact[step] = "out"
        self.proven.discard(step)
        self.tried[step] += 1
        return {(step, "action")}

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
        if self.status not in ("running", "halted"):
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
