"""Plays a flow in a test: sends outcomes, fires timers, and remembers what was decided. No Kafka, no clock."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Literal

from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Event, Message, StepFailed, StepRefused
from orchestra.flows.decision import (
    Alert,
    Decision,
    Emission,
    Input,
    JournalLine,
    Occurred,
    OperatorRequest,
    Outcome,
    Status,
    TimerFired,
    instance_id,
)
from orchestra.flows.machine.declare import StateMachine
from orchestra.flows.saga import Flow, definition_of

EPOCH = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


class Play:
    """One instance of a flow."""

    def __init__(
        self,
        flow: type[Flow] | type[StateMachine[Any]],
        start: Event,
        *,
        run: int = 0,
        now: datetime = EPOCH,
        **extensions: Any,
    ) -> None:
        self.definition = definition_of(flow)
        self.now = now
        self.sent: list[Emission] = []
        self.journal: list[JournalLine] = []
        self.alerts: list[Alert] = []
        self.values: dict[str, bytes] = {}
        self._ids = count(1)
        told = {"traceparent": "00-1-2-01", **extensions}
        self.event = compose(start, id="e-1", source="/tests", time=now, extensions=told)
        self.id = instance_id(self.definition.name, self.definition.key_of(self.event))
        self.run = run
        self.last = self._take(self.definition.start(self.event, instance_id=self.id, run=run, now=now))

    def give(self, given: Input) -> Decision:
        """One input; the state goes through JSON on the way, as it does in the log."""
        before = json.dumps(self.last.state)
        decision = self.definition.advance(json.loads(before), given, now=self.now, values=self.values.__getitem__)
        assert json.dumps(self.last.state) == before, "advance changed the state that it was given"
        return self._take(decision)

    def _take(self, decision: Decision) -> Decision:
        if not decision.changed:
            assert not decision.messages
        self.last = decision
        for name, value in decision.values.items():
            if value is None:
                self.values.pop(name, None)
            else:
                assert name not in self.values, f"the value {name} is used twice"
                self.values[name] = value
        self.sent += decision.messages
        self.journal += decision.journal
        self.alerts += decision.alerts
        return decision

    # ---- outcomes

    def command(self, step: str, phase: Literal["action", "undo"] = "action", nth: int = -1) -> Emission:
        """A command that was sent for a step; the newest by default."""
        found = [one for one in self.sent if one.kind == "command" and self._is(one, step, phase)]
        assert found, f"no {phase} of {step} was sent"
        return found[nth]

    def _is(self, one: Emission, step: str, phase: str) -> bool:
        return one.event.get("flowstep") == step and one.event.get("flowphase") == phase

    def answer(
        self, step: str, message: Message, phase: Literal["action", "undo"] = "action", nth: int = -1, **more: Any
    ) -> Decision:
        """An outcome of the newest try (or of the nth one)."""
        command = self.command(step, phase, nth).event
        effect = command.get("effectid")
        assert effect
        extensions: dict[str, Any] = {"effectid": effect, "causationid": command.id, "flowid": self.id, **more}
        event = compose(message, id=f"r-{next(self._ids)}", source="/service", time=self.now, extensions=extensions)
        return self.give(Outcome(effect, event))

    def occur(self, message: Event, *, id: str | None = None, **extensions: Any) -> Decision:  # noqa: A002
        """An event from outside."""
        number = id or f"o-{next(self._ids)}"
        event = compose(message, id=number, source="/outside", time=self.now, extensions=extensions)
        return self.give(Occurred(event))

    def undone(self, step: str, message: Message) -> Decision:
        return self.answer(step, message, "undo")

    def dead_letter(self, step: str, phase: Literal["action", "undo"] = "action", nth: int = -1) -> Decision:
        return self.answer(step, StepFailed(dead_letter_id="dl-1", reason="PERMANENT"), phase, nth)

    def refuse(self, step: str, reason: Literal["expired", "barred"] = "expired", nth: int = -1) -> Decision:
        return self.answer(step, StepRefused(reason=reason), nth=nth)

    # ---- time

    def timer_of(self, step: str, phase: str = "action") -> Any:
        found = [timer for timer in self.last.timers if timer.name.startswith(f"{step}/{phase}/")]
        assert len(found) == 1, f"{step} has {len(found)} timers"
        return found[0]

    def fire(self, step: str, phase: str = "action") -> Decision:
        """The timer of a step is due: time moves on to it."""
        timer = self.timer_of(step, phase)
        self.now = max(self.now, timer.due or self.now + timedelta(seconds=timer.delay))
        return self.give(TimerFired(timer.name, timer.generation))

    def time_out(self, step: str, phase: str = "action") -> Decision:
        """The step's answer does not come; when it is tried again, that back-off passes too."""
        assert self.timer_of(step, phase).after is not None
        decision = self.fire(step, phase)
        if any(timer.name.startswith(f"{step}/{phase}/") and timer.due for timer in decision.timers):
            decision = self.fire(step, phase)
        return decision

    def give_up(self, step: str) -> None:
        """Let the step time out until it is not tried any more."""
        while any(timer.name.startswith(f"{step}/action/") for timer in self.last.timers):
            self.fire(step)

    # ---- people

    def operate(self, action: Literal["cancel", "retry", "skip", "resolve"], step: str | None = None) -> Decision:
        return self.give(OperatorRequest(action, by="ann", reason="because", step=step))

    # ---- what is seen

    @property
    def status(self) -> Status:
        return self.last.status

    def types(self) -> list[str]:
        """Types of the messages of the last decision."""
        return [one.event.type for one in self.last.messages]

    def phases(self) -> list[str]:
        """``step/phase`` of each message of the last decision."""
        return [f"{one.event.get('flowstep')}/{one.event.get('flowphase')}" for one in self.last.messages]

    def whats(self) -> list[str]:
        """The journal's words of the last decision."""
        return [line.what for line in self.last.journal]

    def statuses(self) -> dict[str, str]:
        return {view.name: view.status for view in self.definition.steps(self.last.state)}

    def codes(self) -> list[str]:
        return [alert.code for alert in self.alerts]


def without(event: Envelope, name: str) -> Envelope:
    """The event without one of its extensions."""
    return event.evolve(extensions={name: None})


__all__ = ["EPOCH", "Play", "replace", "without"]
