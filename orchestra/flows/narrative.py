"""What happened to an instance, in words? For tests and checks, and for whoever reads why one failed.

narrative = Narrative(definition, "food-order/o-1")
narrative.begin(event, definition.start(event, ...), now=now)
narrative.add(given, definition.advance(state, given, now=now), now=now)
print(narrative.text())
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

from orchestra.events.envelope import Envelope
from orchestra.events.message import Message, spec_of
from orchestra.flows.decision import (
    Decision,
    Definition,
    Emission,
    Input,
    JournalLine,
    Occurred,
    OperatorRequest,
    Outcome,
    Status,
    TimerFired,
)

__all__ = ["Narrative", "brief", "told"]

_MAX_FIELDS = 120
"""Characters of a message's fields."""

_SAID_OTHERWISE = frozenset(
    ["flow.started", "step.started", "step.sent_again", "step.replied", "undo.started", "undo.sent_again", "undo.done"]
)
"""Journal words that say no more than the message or the input that stands beside them."""


class Narrative:
    """The story of one instance so far: what came in, what followed, and after how long."""

    def __init__(self, definition: Definition, instance_id: str) -> None:
        self._definition = definition
        self._title = f"{instance_id} (version {definition.version})"
        self._lines: list[str] = []
        self._sent: dict[str, str] = {}
        """Type of the command that was sent under each effect id."""
        self._tries: dict[str, int] = {}
        self._began: datetime | None = None
        self._status: Status | None = None

    def begin(self, event: Envelope, decision: Decision, *, now: datetime) -> None:
        """The instance starts."""
        self._began = now
        self._told(f"{self.message(event)} starts it", decision, now)

    def add(self, given: Input, decision: Decision, *, now: datetime) -> None:
        """An input, and what followed from it."""
        self._told(self._headline(given), decision, now)

    def note(self, text: str, *, now: datetime) -> None:
        """Something that was no input."""
        self._lines.append(f"{self._since(now):>9}  {text}")

    def text(self) -> str:
        """The whole story, one line for each thing that happened."""
        end = "" if self._status is None else f"\n{'':>9}  it is {self._status}"
        return "\n".join([self._title, *self._lines]) + end

    def message(self, event: Envelope) -> str:
        """A message as a person would write it: ``OrderPlaced(order_id='o-1', total_cents=2500)``."""
        return told(event, self._name(event))

    # ---- lines

    def _told(self, headline: str, decision: Decision, now: datetime) -> None:
        self._lines.append(f"{self._since(now):>9}  {headline}")
        self._lines += [f"{'':>9}    {line}" for line in self._followed(decision)]
        self._status = decision.status

    def _since(self, now: datetime) -> str:
        return brief(now - (self._began or now))

    def _headline(self, given: Input) -> str:
        match given:
            case Outcome():
                return f"{_label(*given.effect_id.split('/')[-3:-1])} is answered {self.message(given.event)}"
            case TimerFired():
                return f"time is up for {_label(*given.name.split('/')[:2])}"
            case OperatorRequest():
                about = f" {given.step}" if given.step else ""
                who = f"{given.by} ({', '.join(given.roles)})" if given.roles else given.by
                reason = f": {given.reason}" if given.reason else ""
                return f"{given.action}{about}, asks {who}{reason}"
            case Occurred():
                return f"{self.message(given.event)} happens"

    def _followed(self, decision: Decision) -> Iterator[str]:
        for line in decision.journal:
            if line.what not in _SAID_OTHERWISE and (text := self._journaled(line)):
                yield text
        for alert in decision.alerts:
            yield f"ALERT {alert.code}{f' of {alert.step}' if alert.step else ''}: {alert.note}"
        for emission in decision.messages:
            yield self._emitted(emission)

    def _journaled(self, line: JournalLine) -> str:
        kind, _, words = line.what.replace("_", " ").partition(".")
        if kind == "operator" and words != "refused":
            return ""
        if kind == "flow":
            subject = "the flow is" if words != "failed" else "the flow has"
        else:
            subject = f"{_label(line.step, kind)}:" if line.step else f"{kind}"
        return f"{subject} {words}{f': {line.note}' if line.note else ''}"

    def _emitted(self, emission: Emission) -> str:
        event = emission.event
        step = _label(event.get("flowstep"), event.get("flowphase"))
        key = (emission.key or b"").decode(errors="replace")
        match emission.kind:
            case "command":
                effect = event.get("effectid") or ""
                self._sent[effect] = event.type
                self._tries[effect] = attempt = self._tries.get(effect, 0) + 1
                return f"-> {step}: {self.message(event)}{f', try {attempt}' if attempt > 1 else ''}"
            case "cancel":
                return f"-> {step}: need not be done, if it has not been begun"
            case "start":
                return f"-> {step}: {key} is called with {self.message(event)}"
            case "request":
                return f"-> {step}: {json.loads(event.data or b'{}').get('action')} is asked of {key}"
            case "outcome":
                return f"-> answers its caller {self.message(event)}"
            case "event":
                return f"-> publishes {self.message(event)}"

    def _name(self, event: Envelope) -> str:
        effect = event.get("effectid")
        try:
            command, replies, rejections = self._definition.answers(self._sent[effect or ""])
        except KeyError:
            return _class_name(event.type)
        classes = (command, *replies, *rejections)
        return next((cls.__name__ for cls in classes if spec_of(cls).type == event.type), _class_name(event.type))


def _class_name(kind: str) -> str:
    """The name of the message class of this type, among all that there are: an envelope knows only the type."""
    waiting: list[type[Message]] = [Message]
    while waiting:
        cls = waiting.pop()
        if cls.__orchestra_spec__.type == kind:
            return cls.__name__
        waiting += cls.__subclasses__()
    return kind


def _label(step: str | None = None, phase: str | None = None) -> str:
    return f"undo of {step}" if phase == "undo" else step or "it"


def told(event: Envelope, name: str) -> str:
    """A message by its class's name, with its data's fields, shortened where they are long."""
    try:
        data: object = json.loads(event.data or b"{}")
    except ValueError:
        return f"{name}(...)"
    if not isinstance(data, dict):
        return f"{name}({_short(repr(data))})"
    return f"{name}({_short(', '.join(f'{field}={value!r}' for field, value in data.items()))})"


def _short(text: str) -> str:
    return text if len(text) <= _MAX_FIELDS else f"{text[: _MAX_FIELDS - 3]}..."


_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60))


def brief(length: timedelta) -> str:
    """A length of time as a person, and ``orchestra.duration``, would write it: ``30s``, ``1.25s``, ``1d2h``."""
    rest = length.total_seconds()
    parts: list[str] = []
    for unit, size in _UNITS:
        whole, rest = divmod(rest, size)
        if whole:
            parts.append(f"{int(whole)}{unit}")
    if rest or not parts:
        parts.append(f"{rest:.3f}".rstrip("0").rstrip(".") + "s")
    return "".join(parts)
