"""What does a flow hand to whoever advances it? The interface between flows and the coordinator.

The coordinator knows a flow only by :class:`Definition`. Values go in, values come out; nothing here waits or asks the
time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol, runtime_checkable
from urllib.parse import quote, unquote

from orchestra.events.envelope import Envelope
from orchestra.events.message import Event, Message

Json = dict[str, object]
"""A JSON object. A flow's state is one; to the coordinator it is opaque."""


class Status(StrEnum):
    """Where an instance stands."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    STUCK = "stuck"
    """A compensation's budget is spent: an operator must retry, skip with a reason, or resolve. Not final."""
    HALTED = "halted"
    """A step of a flow that is no saga failed: an operator retries. Not final."""

    @property
    def is_final(self) -> bool:
        return self in (Status.COMPLETED, Status.COMPENSATED)


class Outcome(NamedTuple):
    """An answer to a command, as it came: reply, rejection, or one of the runtime's ``orchestra.step.failed.v1`` and
    ``orchestra.step.refused.v1``."""

    effect_id: str
    event: Envelope


class TimerFired(NamedTuple):
    """A timer of the instance is due. One whose generation is not the pending one's is stale and changes nothing."""

    name: str
    generation: int


class Occurred(NamedTuple):
    """An event from outside for this instance: one that a wait or a transition may take."""

    event: Envelope


OperatorAction = Literal["cancel", "retry", "skip", "resolve", "approve", "reject", "undo", "restart"]


@dataclass(frozen=True, slots=True)
class OperatorRequest:
    """What a person, or the flow that called this one, asks of an instance.

    Attributes:
        action: ``cancel`` a flow under way; ``retry``, ``skip`` or ``resolve`` a step; ``approve`` or ``reject`` what
            waits for a decision; ``undo`` a completed flow, which only the flow that called it may ask for. ``restart``
            a halted one from its start: the coordinator does that, and no flow is ever asked for it.
        by: who asks.
        reason: why, for the journal.
        step: which step it is about. For approve and reject: needed only where several wait.
        roles: what ``by`` is known to be, where somebody has verified it.
    """

    action: OperatorAction
    by: str
    reason: str
    step: str | None = None
    roles: tuple[str, ...] = ()


OPERATOR_REQUEST = "orchestra.operator.requested.v1"
"""The type of the event whose data is an :class:`OperatorRequest`."""

Input = Outcome | TimerFired | OperatorRequest | Occurred

EmissionKind = Literal["command", "cancel", "event", "start", "request", "outcome"]


class Emission(NamedTuple):
    """A message that an instance wants sent once its decision is durable.

    ``topic`` is as declared (settings map it); ``key`` is the record key. ``event.id`` is deterministic. What the
    coordinator makes of it:

    - ``command``, ``event``: to its topic. A command is given ``replyto`` and ``replypartition``.
    - ``cancel``: likewise, behind a command that need not be done any more, if it has not been begun.
    - ``start``, ``request``: to the coordinator's own inbox, for the instance that ``key`` names: the start of a flow
      that this one calls, with ``replyto`` and ``replypartition``; or an operator's request to it. ``topic`` is "".
    - ``outcome``: what whoever called this flow waits for. ``topic`` is a topic of the cluster as it stands, and
      ``partition`` says where in it.
    """

    kind: EmissionKind
    topic: str
    key: bytes | None
    event: Envelope
    partition: int | None = None


class Timer(NamedTuple):
    """A pending timer. Either ``due`` is set, or the timer starts when the message ``after`` is acknowledged and runs
    ``delay`` seconds from then (the coordinator sets ``due``)."""

    name: str
    generation: int
    due: datetime | None = None
    after: str | None = None
    delay: float = 0.0


class JournalLine(NamedTuple):
    """One thing that a decision did, for the audit. ``what`` is a short stable word (``step.started``,
    ``step.replied``, ``step.rejected``, ``step.timed_out``, ``input.ignored``, ...); ``note`` is a sentence for a
    person."""

    what: str
    step: str | None = None
    effect_id: str | None = None
    attempt: int | None = None
    note: str = ""


class Alert(NamedTuple):
    """Something that a person must look at. ``code`` is stable: ``pivot.unknown``, ``compensation.stuck``, ..."""

    code: str
    step: str | None
    note: str


NO_VALUES: Mapping[str, bytes | None] = MappingProxyType({})


class Decision(NamedTuple):
    """What one input did to an instance.

    ``timers`` is the full set now pending, the old ones included; a timer that is left out is cancelled. When nothing
    changed (a duplicate, a stale timer) ``changed`` is False: there is nothing to store, and ``journal`` says why.
    ``values``: large parts of the state that never change, each stored beside the instance's record under a name that
    the flow uses once in a run. None removes one, once no state refers to it; when the instance is over all go.
    ``keep_state``: the instance is over, and must keep its state while it is remembered: whoever called it may ask for
    its undoing.
    """

    state: Json
    status: Status
    messages: Sequence[Emission] = ()
    timers: Sequence[Timer] = ()
    journal: Sequence[JournalLine] = ()
    alerts: Sequence[Alert] = ()
    changed: bool = True
    keep_state: bool = False
    values: Mapping[str, bytes | None] = NO_VALUES


ReadValue = Callable[[str], bytes]
"""Gives a value that an earlier decision of the same run stored, by its name. Raises KeyError."""


def no_values(name: str) -> bytes:
    """For a run that has stored none."""
    raise KeyError(name)


@dataclass(frozen=True, slots=True)
class StepView:
    """A step of an instance, for people."""

    name: str
    status: str
    kind: str
    attempts: int = 0
    started_at: str | None = None
    ended_at: str | None = None
    outcome: str | None = None
    note: str = ""


class Answers(NamedTuple):
    """A command's class, and the classes of what may answer it. For a flow that is called: its start event's class."""

    command: type[Message]
    replies: tuple[type[Event], ...]
    rejections: tuple[type[Event], ...]


class Definition(Protocol):
    """A flow, compiled: pure, deterministic, thread-safe."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def digest(self) -> str:
        """Of the graph: equal for equal definitions on any machine."""
        ...

    @property
    def starts_on(self) -> Mapping[str, str]:
        """CloudEvents type of each start event -> its declared topic."""
        ...

    @property
    def topics(self) -> Sequence[str]:
        """Declared topics that its messages go to."""
        ...

    @property
    def listens_to(self) -> Mapping[str, str]:
        """CloudEvents type of each event that a wait or a transition takes -> its declared topic."""
        ...

    @property
    def calls(self) -> Sequence[str]:
        """Names of the flows that it calls."""
        ...

    @property
    def parts(self) -> Mapping[str, Json]:
        """What the digest is made of, by node or state, and in parentheses what belongs to the whole, such as
        ``(flow)``: what ``orchestra flows diff`` compares."""
        ...

    def answers(self, command: str) -> Answers:
        """What may answer a command that it sends, by the command's CloudEvents type. Raises KeyError."""
        ...

    def keys_of(self, event: Envelope) -> Sequence[str]:
        """The business keys of the instances that an event of ``listens_to`` is for. Raises DecodeError."""
        ...

    def key_of(self, event: Envelope) -> str:
        """The business key of a start event. Raises DecodeError where its data is not valid."""
        ...

    def start_event(self, state: Json, *, values: ReadValue = no_values) -> Envelope:
        """The event that started the instance: a restart begins with it again."""
        ...

    def start_digest(self, event: Envelope) -> str:
        """A digest of the start event's validated, canonical data: equal for the same content. Raises DecodeError."""
        ...

    def start(self, event: Envelope, *, instance_id: str, run: int, now: datetime) -> Decision:
        """A new instance. ``event`` is kept in the state. Raises DecodeError for a start event that is not valid, and
        whatever a flow's own method raises: the caller parks the instance."""
        ...

    def advance(self, state: Json, given: Input, *, now: datetime, values: ReadValue = no_values) -> Decision:
        """What follows from one input. ``state`` is not changed. Any input at all is accepted: duplicates, late and
        unknown ones come back with ``changed`` False and a journal line. Raises only what a flow's own method raises,
        and DecodeError when an outcome's data is not valid for its type."""
        ...

    def steps(self, state: Json) -> Sequence[StepView]:
        """The steps in order, for ``orchestra instances show``."""
        ...

    def waits_for(self, state: Json) -> Sequence[str]:
        """In words, what the instance waits for: at least one line for each live instance."""
        ...


@runtime_checkable
class Migrating(Definition, Protocol):
    """A flow that takes over running instances of older versions of itself."""

    @property
    def migrates(self) -> Sequence[Definition]:
        """The older versions."""
        ...

    def take_over(self, version: int, state: Json, *, now: datetime, values: ReadValue = no_values) -> Decision | None:
        """What follows when an instance of that older version goes on under this one; None where it stays on its own:
        it is being undone, waits for an operator, or is over. ``state`` is not changed."""
        ...


def instance_id(flow: str, key: str) -> str:
    """``<flow>/<percent-encoded business key>``."""
    return f"{flow}/{quote(key, safe='')}"


def split_instance_id(instance: str) -> tuple[str, str]:
    """The flow's name and the business key. Raises ValueError for what is no instance id."""
    flow, slash, key = instance.partition("/")
    if not (flow and slash and key) or "/" in key:
        raise ValueError(f"{instance!r} is not an instance id: <flow>/<percent-encoded key>")
    return flow, unquote(key)


def effect_id(instance: str, run: int, step: str, phase: Literal["action", "undo"], iteration: int = 0) -> str:
    """``<instance>/<run>/<step>/<phase>/<iteration>``: the same on every retry, so it is the idempotency key."""
    return f"{instance}/{run}/{step}/{phase}/{iteration}"


def undo_of_effect(effect: str) -> str:
    """The id of the effect that undoes an action: only the phase differs."""
    parts = effect.rsplit("/", 2)
    return "/".join([*parts[:-2], "undo", parts[-1]]) if len(parts) == 3 else f"{effect}/undo"


def instance_of_effect(effect: str) -> str:
    """The instance id within an effect id. Raises ValueError for what is no effect id."""
    parts = effect.rsplit("/", 4)
    if len(parts) != 5 or not all(parts):
        raise ValueError(f"{effect!r} is not an effect id")
    return parts[0]
