"""Where does one effect stand: a command, sent under one effect id until its outcome is known?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal

from orchestra.events.envelope import Envelope
from orchestra.events.message import Event, StepFailed, StepRefused, spec_of
from orchestra.flows.decision import Answers, Json
from orchestra.flows.instance import Recorded
from orchestra.ids import derived_id


@lru_cache(maxsize=8192)
def message_id(effect_id: str, attempt: int) -> str:
    """The id of one try of an effect: of its message, and of whatever follows it up. Asked for twice in a decision."""
    return derived_id(effect_id, attempt)


Phase = Literal["action", "undo"]


class EffectStatus(StrEnum):
    """What is known about an effect."""

    PLANNED = "planned"
    RUNNING = "running"
    """A command is out, and its answer awaited."""
    BACKING_OFF = "backing-off"
    """The last try did not settle it; it is sent again when a timer fires."""
    DONE = "done"
    REJECTED = "rejected"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """Given up without knowing: it may have been done."""
    CANCELLED = "cancelled"
    """Nothing to undo, so nobody waits for it any more."""
    OMITTED = "omitted"
    """Never sent: its guard said no."""
    STUCK = "stuck"
    SKIPPED = "skipped"
    RESOLVED = "resolved"

    @property
    def is_open(self) -> bool:
        return self in (EffectStatus.RUNNING, EffectStatus.BACKING_OFF)


@dataclass(slots=True)
class Effect:
    """The state of one effect. Times are microseconds since 1970."""

    status: EffectStatus = EffectStatus.PLANNED
    attempts: int = 0
    """Tries in all: numbers the messages."""
    before: int = 0
    """Tries that belong to earlier budgets."""
    iteration: int = 0
    stride: int = 1
    """By how much the iteration grows when the effect is begun anew; not stored."""
    generation: int = 0
    """Of the pending timer; 0 for none."""
    due: int | None = None
    """When a pending back-off ends."""
    started: int | None = None
    ended: int | None = None
    last: str | None = None
    """While backing off: "rejected" or "refused" where the last try is proven not done."""
    outcome: Recorded | None = None
    key: str | None = None
    """Record key of the command, where an undo must have the same."""
    command: str | None = None
    """The command's data, where an undo carries it."""
    note: str = ""
    letter: str | None = None
    """Which dead letter its command is."""
    asked: bool = False
    """Whoever does it was asked to stop."""

    @property
    def spent(self) -> int:
        """Tries of the present budget."""
        return self.attempts - self.before

    def settle(self, status: EffectStatus, now: int, note: str = "") -> None:
        """No more tries, and no timer."""
        self.status = status
        self.ended = now
        self.generation = 0
        self.due = None
        self.note = note

    def dump(self) -> Json:
        # Each by itself: it runs at every decision, for whatever is under way.
        raw: Json = {"s": self.status._value_}
        if self.attempts:
            raw["a"] = self.attempts
        if self.iteration:
            raw["i"] = self.iteration
        if self.generation:
            raw["g"] = self.generation
        if self.started is not None:
            raw["t"] = self.started
        if self.ended is not None:
            raw["e"] = self.ended
        if self.key is not None:
            raw["k"] = self.key
        if self.command is not None:
            raw["c"] = self.command
        if self.outcome is not None:
            raw["o"] = self.outcome.dump()
        if self.before or self.due or self.last or self.note or self.letter or self.asked:
            raw |= {short: value for short, name in _RARE if (value := getattr(self, name))}
        return raw

    @classmethod
    def load(cls, raw: Mapping[str, Any]) -> Effect:
        effect = cls(_STATUSES[raw["s"]])
        for short, value in raw.items():
            if (name := _LONG.get(short)) is not None:
                setattr(effect, name, value)
        if "o" in raw:
            effect.outcome = Recorded.load(raw["o"])
        return effect


_STATUSES = {status.value: status for status in EffectStatus}
_RARE = (("b", "before"), ("d", "due"), ("l", "last"), ("w", "note"), ("x", "letter"), ("q", "asked"))
_LONG = {
    "a": "attempts",
    "i": "iteration",
    "g": "generation",
    "t": "started",
    "e": "ended",
    "k": "key",
    "c": "command",
    **dict(_RARE),
}


class Answer(StrEnum):
    """What an event says about an effect."""

    REPLY = "reply"
    REJECTION = "rejection"
    DEAD_LETTERED = "dead-lettered"
    REFUSAL = "refusal"
    FOREIGN = "foreign"
    """Nothing: its type is none of the command's answers."""


_DEAD_LETTERED = spec_of(StepFailed).type
_REFUSAL = spec_of(StepRefused).type


def read_answer(event: Envelope, answers: Answers) -> tuple[Answer, Event | None]:
    """What kind of answer it is, and its typed data.

    Raises:
        DecodeError: the data is not valid for the type.
    """
    if event.type == _DEAD_LETTERED:
        return Answer.DEAD_LETTERED, event.value(StepFailed)
    if event.type == _REFUSAL:
        return Answer.REFUSAL, event.value(StepRefused)
    for answer, classes in ((Answer.REPLY, answers.replies), (Answer.REJECTION, answers.rejections)):
        for cls in classes:
            if spec_of(cls).type == event.type:
                return answer, event.value(cls)
    return Answer.FOREIGN, None


def answer_class(kind: str, answers: Answers) -> type[Event]:
    """The class of one of the answers, by CloudEvents type."""
    for cls in answers.replies:
        if spec_of(cls).type == kind:
            return cls
    return next(cls for cls in answers.rejections if spec_of(cls).type == kind)


def answers_older_try(event: Envelope, effect_id: str, attempts: int) -> bool:
    """Whether the event answers a try before the newest.

    A rejection of an older try proves nothing while a newer one is out. Participants say by ``causationid`` which
    message they answer; one that does not is taken to answer the newest.
    """
    cause = event.get("causationid")
    if attempts < 2 or cause is None or cause == derived_id(effect_id, attempts):
        return False
    return any(cause == derived_id(effect_id, attempt) for attempt in range(attempts - 1, 0, -1))
