"""What is a state machine, once compiled? States in document order, with their transitions by what triggers them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, Literal

from orchestra.events.message import Command, Event, spec_of
from orchestra.flows.decision import Answers, Json
from orchestra.flows.graph import described, described_event
from orchestra.flows.machine.state import Data, Unexpected
from orchestra.retry import Retry

Doing = Literal["entry", "exit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """An action: it gives new data, events, or nothing."""

    label: str
    make: Callable[..., Any]
    gives: tuple[type[Any], ...]
    """The classes that it says it returns."""

    @property
    def events(self) -> list[type[Event]]:
        """Those that it may publish."""
        return [one for one in self.gives if issubclass(one, Event)]

    def describe(self) -> Json:
        return {"events": [described_event(one) for one in self.events]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """A command, sent when its state is entered or left."""

    name: str
    state: str
    doing: Doing
    make: Callable[..., Command[Any, Any]]
    command: type[Command[Any, Any]]
    retry: Retry
    timeout: float | None
    is_owed: bool
    """The machine is not over before it is answered: on leaving, and in a final state of the whole machine."""

    @property
    def answers(self) -> Answers:
        spec = spec_of(self.command)
        return Answers(self.command, spec.replies, spec.rejections)

    def describe(self) -> Json:
        return {"form": "command", "doing": self.doing, "command": described(self.answers)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A flow that runs while its state is active."""

    name: str
    state: str
    make: Callable[..., Event]
    flow: str
    """The name of the flow that is called."""
    starts: tuple[type[Event], ...]
    yields: type[Event]
    undo: bool

    def describe(self) -> Json:
        return {
            "form": "flow",
            "flow": self.flow,
            "starts": [described_event(one) for one in self.starts],
            "yields": described_event(self.yields),
            "undo": self.undo,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A decision of a person that its state waits for."""

    name: str
    state: str
    role: str
    requester: Callable[[Any], str] | None

    def describe(self) -> Json:
        return {"form": "approval"}


Doer = Method | Send | Run | Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """From a state, to a state or nowhere."""

    source: str
    trigger: str
    """See :func:`trigger_of`; "" is for eventless ones."""
    label: str
    """In words, for people."""
    event: type[Event] | None = None
    to: str | None = None
    when: Callable[..., bool] | None = None
    action: Method | None = None
    delay: float | Callable[[Any], timedelta] | None = None
    has_value: bool = False
    """Guard and action are given the event, beside self."""

    def describe(self) -> Json:
        raw: Json = {"on": self.trigger, "to": self.to, "guarded": self.when is not None}
        if self.action is not None:
            raw |= self.action.describe()
        return raw


@dataclass(frozen=True, kw_only=True)
class ChartState:
    """A state. ``order`` is its place in the document: a state comes before the states inside it."""

    name: str
    parent: str | None
    order: int
    initial: bool
    final: bool
    parallel: bool
    failed: bool
    children: tuple[str, ...] = ()
    ancestors: tuple[str, ...] = ()
    """The states around it, innermost first."""
    transitions: Mapping[str, tuple[Transition, ...]] = field(default_factory=dict[str, tuple[Transition, ...]])
    """By trigger, in document order."""
    timers: tuple[Transition, ...] = ()
    entries: tuple[Doer, ...] = ()
    exits: tuple[Method | Send, ...] = ()
    surplus: Mapping[str, Unexpected] = field(default_factory=dict[str, Unexpected])
    """What it does with an event that it does not expect, by the event's type."""

    @cached_property
    def hears(self) -> bool:
        """Whether an event from outside can move it."""
        return any(trigger.startswith("event:") for trigger in self.transitions)

    def describe(self) -> Json:
        return {
            "form": "state",
            "parent": self.parent,
            "kind": [name for name in ("initial", "final", "parallel", "failed") if getattr(self, name)],
            "transitions": [one.describe() for many in self.transitions.values() for one in many],
            "entry": [one.describe() for one in self.entries],
            "exit": [one.describe() for one in self.exits],
            "surplus": dict(self.surplus),
        }


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A whole machine. ``states`` are in document order."""

    name: str
    version: int
    label: str
    """The class, for messages to people."""
    owner: type
    data: type[Data]
    begin: Callable[..., Data] | None
    starts: Mapping[str, type[Event]]
    states: Mapping[str, ChartState]
    events: Mapping[str, type[Event]]
    """What it takes from outside, by CloudEvents type."""
    keys: Mapping[str, str]
    """The field that holds an event's business key, by type, where it is not its Key."""
    unexpected: Unexpected

    @cached_property
    def roots(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.states.values() if one.parent is None)

    @cached_property
    def sends(self) -> Mapping[str, Send]:
        return {one.name: one for one in self._doers() if isinstance(one, Send)}

    @cached_property
    def runs(self) -> Mapping[str, Run]:
        return {one.name: one for one in self._doers() if isinstance(one, Run)}

    @cached_property
    def asks(self) -> Mapping[str, Ask]:
        return {one.name: one for one in self._doers() if isinstance(one, Ask)}

    @cached_property
    def eventless(self) -> bool:
        """Whether any state has a transition that no event triggers."""
        return any("" in one.transitions for one in self.states.values())

    def _doers(self) -> Iterable[Doer]:
        for one in self.states.values():
            yield from one.entries
            yield from one.exits

    def methods(self) -> Iterable[Method]:
        """All actions."""
        for one in self.states.values():
            yield from (action for many in one.transitions.values() for each in many if (action := each.action))
        yield from (one for one in self._doers() if isinstance(one, Method))

    @cached_property
    def says(self) -> tuple[type[Event], ...]:
        """The events that whoever called it may get: what its final states publish on entry, failed ones apart."""
        ends = [one for one in self.states.values() if one.final and one.parent is None and not one.failed]
        doers = [doer for end in ends for doer in end.entries]
        return tuple(dict.fromkeys(event for doer in doers if isinstance(doer, Method) for event in doer.events))

    @cached_property
    def published(self) -> Sequence[type[Event]]:
        """The events that it publishes, each once."""
        return list(dict.fromkeys(one for method in self.methods() for one in method.events))

    @cached_property
    def parts(self) -> Mapping[str, Json]:
        """What the digest is made of, by state, and ``(flow)`` for the whole: what running instances rely on, and
        nothing that may be tuned."""
        whole: Json = {
            "form": "machine",
            "starts": [described_event(event) for event in self.starts.values()],
            "unexpected": self.unexpected,
        }
        return {**{name: one.describe() for name, one in self.states.items()}, "(flow)": whole}

    @cached_property
    def digest(self) -> str:
        """Equal for equal machines on any machine. Delays, timeouts and retries may be tuned without changing it."""
        whole = {"name": self.name, "parts": self.parts}
        return hashlib.sha256(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]

    @cached_property
    def topics(self) -> Sequence[str]:
        """The declared topics that its messages go to, each once."""
        sent = [spec_of(one.command).topic for one in self.sends.values()]
        told = [spec_of(one).topic for one in self.published]
        return list(dict.fromkeys(topic for topic in (*sent, *told) if topic))


def trigger_of(kind: str, name: str) -> str:
    """What a transition waits for, as one text: ``event:<type>``, ``done:<part or state>``, ``rejected:``, ``failed:``,
    ``after:<place>``; "cancel"; "" for nothing."""
    return f"{kind}:{name}" if name else kind
