"""What may a service answer to a command, and when? A test's answers, typed by the command."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from orchestra.events.envelope import Envelope
from orchestra.events.message import Command, Event, StepFailed, StepRefused
from orchestra.flows.decision import Emission, Outcome
from orchestra.testing.stage import Played, Stage

__all__ = ["Sent"]

C_co = TypeVar("C_co", bound=Command[Any, Any], covariant=True)
R = TypeVar("R", bound=Event)
J = TypeVar("J", bound=Event)


class Sent(Generic[C_co]):
    """A command that the flow has sent, to be answered once: by its reply, its rejection, or not at all."""

    def __init__(self, stage: Stage, played: Played, emission: Emission, command: C_co) -> None:
        self._stage = stage
        self._played = played
        self._emission = emission
        self._command = command
        self._answer: Envelope | None = None
        self._can_be_late = played.is_awaited(emission.event.id) is not None

    @property
    def command(self) -> C_co:
        """The command, as it was sent."""
        return self._command

    @property
    def envelope(self) -> Envelope:
        """The CloudEvent that carries it."""
        return self._emission.event

    @property
    def step(self) -> str:
        """The step that it is of."""
        return self.envelope.get("flowstep") or ""

    @property
    def effect_id(self) -> str:
        """The idempotency key: equal for each try of a step."""
        return self.envelope.get("effectid") or ""

    def __repr__(self) -> str:
        return f"Sent({self._command!r})"

    # ---- answers

    def reply(self: Sent[Command[R, Any]], reply: R, /) -> Sent[Command[R, Any]]:
        """It is done, says the service in time."""
        __tracebackhide__ = True
        self._in_time()
        self._give(reply)
        return self

    def reject(self: Sent[Command[Any, J]], rejection: J, /) -> Sent[Command[Any, J]]:
        """It is not done, and the service says why, in time."""
        __tracebackhide__ = True
        self._in_time()
        self._give(rejection)
        return self

    def reply_late(self: Sent[Command[R, Any]], reply: R, /) -> None:
        """It was done after all: the reply comes when the flow no longer waits for it."""
        __tracebackhide__ = True
        self._late()
        self._give(reply)

    def reject_late(self: Sent[Command[Any, J]], rejection: J, /) -> None:
        """The rejection comes when the flow no longer waits for it."""
        __tracebackhide__ = True
        self._late()
        self._give(rejection)

    def reply_again(self) -> None:
        """The same answer comes once more, as at least once delivery may have it."""
        __tracebackhide__ = True
        if self._answer is None:
            raise AssertionError(f"{self._name} has no answer yet that could come again: call .reply(...) first")
        self._outcome(self._answer)

    def dead_letters(self, *, reason: str = "PERMANENT", error: str = "") -> None:
        """The service could not handle it: it is a dead letter. Nobody knows what of it was done."""
        __tracebackhide__ = True
        self._in_time()
        self._give(StepFailed(dead_letter_id=f"dead-{self.envelope.id}", reason=reason, error=error))

    def refused(self, reason: Literal["expired", "barred"] = "expired") -> None:
        """The service refused to begin it: proven not done."""
        __tracebackhide__ = True
        self._in_time()
        self._give(StepRefused(reason=reason))

    def times_out(self) -> None:
        """No answer comes: time goes to the step's timeout, and where it is tried again, on to the next try.

        Timers that are due earlier fire first.

        Raises:
            AssertionError: nothing waits for the answer, or waits for ever.
        """
        __tracebackhide__ = True
        self._in_time()
        timer = self._played.is_awaited(self.envelope.id)
        if timer is None:
            raise AssertionError(f"{self._name} has no timeout: its answer is awaited for ever")
        if not self._stage.pass_to(self._played, timer):
            return
        for again in self._played.timers:
            if again.name == timer.name and again.due is not None:
                self._stage.pass_to(self._played, again)
                return

    # ---- how it is done

    @property
    def _name(self) -> str:
        return f"{type(self._command).__name__} of {self.step}"

    def _in_time(self) -> None:
        __tracebackhide__ = True
        if self._answer is not None:
            raise AssertionError(f"{self._name} is answered already; .reply_again() sends the same answer again")
        if self._is_late():
            raise AssertionError(
                f"{self._name} is not awaited any more; an answer that comes now is .reply_late(...) or "
                f".reject_late(...)\n\n{self._played.narrative.text()}"
            )

    def _late(self) -> None:
        __tracebackhide__ = True
        if not self._is_late():
            raise AssertionError(f"{self._name} is still awaited: .times_out() lets its time pass")

    def _is_late(self) -> bool:
        return self._can_be_late and self._played.is_awaited(self.envelope.id) is None

    def _give(self, answer: Event) -> None:
        extensions = {
            name: value
            for name in ("effectid", "flowid", "correlationid")
            if (value := self.envelope.get(name)) is not None
        }
        extensions["causationid"] = self.envelope.id
        self._answer = self._stage.wire(answer, source="/service", extensions=extensions)
        self._outcome(self._answer)

    def _outcome(self, answer: Envelope) -> None:
        self._stage.give(self._played, Outcome(self.effect_id, answer))
