"""How does an instance live without a coordinator? Its state goes through JSON at each step; time is a value.

Whatever a flow's own method raises comes through, with the story so far.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from orchestra.events.attributes import Value
from orchestra.events.cloudevents import decode, encode
from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Message
from orchestra.flows.decision import (
    Alert,
    Decision,
    Definition,
    Emission,
    Input,
    OperatorRequest,
    Outcome,
    Status,
    Timer,
    TimerFired,
    instance_id,
)
from orchestra.flows.narrative import Narrative


class DueTimer(NamedTuple):
    """A timer that is pending, and when it is due."""

    due: datetime
    instance: Played
    timer: Timer


@dataclass(eq=False)
class Played:
    """One instance on a stage: what the coordinator would keep of it, and what it said."""

    definition: Definition
    id: str
    narrative: Narrative
    state: str = "{}"
    """JSON, as it is stored."""
    status: Status = Status.RUNNING
    timers: tuple[Timer, ...] = ()
    unseen: list[Emission] = field(default_factory=list[Emission])
    """What it sent, and the test has not looked at."""
    alerts: list[Alert] = field(default_factory=list[Alert])
    values: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """Large parts of the state, which stand beside it."""
    sent_at: dict[str, datetime] = field(default_factory=dict[str, datetime])
    """Message id -> when it was sent; it is acknowledged at once."""

    def is_awaited(self, message_id: str) -> Timer | None:
        """The timer that runs for the answer to a message."""
        return next((timer for timer in self.timers if timer.after == message_id and timer.due is None), None)

    def due(self, timer: Timer) -> datetime:
        """When a pending timer is due."""
        return timer.due or self.sent_at[timer.after or ""] + timedelta(seconds=timer.delay)

    def take(self, decision: Decision, now: datetime) -> None:
        """Keep what was decided."""
        self.status = decision.status
        self.alerts += decision.alerts
        if not decision.changed:
            return
        self.state = json.dumps(decision.state)
        self.timers = tuple(decision.timers)
        self.unseen += (one for one in decision.messages if one.kind != "cancel")  # nobody need act on it
        for name, value in decision.values.items():
            if value is None:
                self.values.pop(name, None)
            else:
                self.values[name] = value
        self.sent_at |= {one.event.id: now for one in decision.messages}


class Stage:
    """Instances that share one time, and answer each other where one called the other."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.instances: dict[str, Played] = {}
        self._count = 0

    def wire(self, message: Message, *, source: str, extensions: Mapping[str, Value] | None = None) -> Envelope:
        """A message as it would arrive: through its bytes, with an id that is the same in every run."""
        self._count += 1
        event = compose(message, id=f"m-{self._count}", source=source, time=self.now, extensions=extensions)
        return _arrived(event)

    def start(self, definition: Definition, event: Envelope) -> Played:
        """A new instance.

        Raises:
            DecodeError: the event does not start this flow.
        """
        name = instance_id(definition.name, definition.key_of(event))
        played = Played(definition, name, Narrative(definition, name))
        self.instances[name] = played
        decision = definition.start(event, instance_id=name, run=0, now=self.now)
        played.narrative.begin(event, decision, now=self.now)
        self._keep(played, decision)
        return played

    def give(self, played: Played, given: Input) -> Decision:
        """One input."""
        try:
            decision = played.definition.advance(
                json.loads(played.state), given, now=self.now, values=played.values.__getitem__
            )
        except Exception as error:
            error.add_note(played.narrative.text())
            raise
        played.narrative.add(given, decision, now=self.now)
        self._keep(played, decision)
        return decision

    def _keep(self, played: Played, decision: Decision) -> None:
        played.take(decision, self.now)
        for emission in decision.messages:
            self._deliver(played, emission)

    def _deliver(self, sender: Played, emission: Emission) -> None:
        """What one instance says to another that is on the stage as well."""
        event = emission.event
        if emission.kind == "outcome" and (caller := self.instances.get(event.get("flowid") or "")) is not None:
            sender.unseen.remove(emission)
            self.give(caller, Outcome(event.get("effectid") or "", _arrived(event)))
        elif emission.kind == "request" and (called := self.instances.get(_key(emission))) is not None:
            sender.unseen.remove(emission)
            self.give(called, OperatorRequest(**json.loads(event.data or b"{}")))

    # ---- time

    def pending(self) -> list[DueTimer]:
        """All timers, in the order in which they fire."""
        return sorted(self._pending(), key=lambda one: one.due)

    def _pending(self) -> Iterator[DueTimer]:
        for played in self.instances.values():
            for timer in played.timers:
                yield DueTimer(played.due(timer), played, timer)

    def advance(self, until: datetime) -> None:
        """Time passes: every timer that is due by then fires, each at its own time."""
        while (pending := self.pending()) and pending[0].due <= until:
            self.fire(pending[0])
        self.now = max(self.now, until)

    def fire(self, one: DueTimer) -> None:
        """Time goes to this timer, which fires."""
        self.now = max(self.now, one.due)
        self.give(one.instance, TimerFired(one.timer.name, one.timer.generation))

    def pass_to(self, played: Played, timer: Timer) -> bool:
        """Time goes to this timer: what is due earlier fires first. False where that has done away with it."""
        while timer in played.timers:
            due = played.due(timer)
            first = next((one for one in self.pending() if one.due < due), DueTimer(due, played, timer))
            self.fire(first)
            if first.timer is timer:
                return True
        return False


def _arrived(event: Envelope) -> Envelope:
    return decode(*encode(event))


def _key(emission: Emission) -> str:
    return (emission.key or b"").decode()
