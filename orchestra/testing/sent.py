"""What may a service answer to a command, or a flow to the one that called it, and when? A test's answers.

What a command is answered is typed by the command.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from orchestra.events.envelope import Envelope
from orchestra.events.message import Command, Done, Event, FlowFailed, StepFailed, StepRefused, decode_data
from orchestra.flows.decision import Definition, Emission, Outcome
from orchestra.testing.stage import Played, Stage

__all__ = ["Awaited", "Called", "Sent"]

C_co = TypeVar("C_co", bound=Command[Any, Any], covariant=True)
E = TypeVar("E", bound=Event)
R = TypeVar("R", bound=Event)
J = TypeVar("J", bound=Event)


class Awaited:
    """Something that the flow has sent, and whose answer it awaits."""

    def __init__(self, stage: Stage, played: Played, emission: Emission, name: str) -> None:
        self._stage = stage
        self._played = played
        self._emission = emission
        self._name = f"{name} of {self.step}"
        self._answer: Envelope | None = None
        self._can_be_late = played.is_awaited(emission.event.id) is not None

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

    def reply_again(self) -> None:
        """The same answer comes once more, as at least once delivery may have it."""
        __tracebackhide__ = True
        if self._answer is None:
            raise AssertionError(f"{self._name} has no answer yet that could come again")
        self._outcome(self._answer)

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


class Sent(Awaited, Generic[C_co]):
    """A command that the flow has sent, to be answered once: by its reply, its rejection, or not at all."""

    def __init__(self, stage: Stage, played: Played, emission: Emission, command: C_co) -> None:
        super().__init__(stage, played, emission, type(command).__name__)
        self._command = command

    @property
    def command(self) -> C_co:
        """The command, as it was sent."""
        return self._command

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


class Called(Awaited):
    """Another flow that the flow has called, or asked to be undone: how that one ends is for the test to say."""

    def __init__(self, stage: Stage, played: Played, emission: Emission, definition: Definition) -> None:
        super().__init__(stage, played, emission, definition.name)
        self._definition = definition

    @property
    def id(self) -> str:
        """The id of the instance that is called."""
        return (self._emission.key or b"").decode()

    def started_with(self, event: type[E], /) -> E:
        """The event that it is started with.

        Raises:
            DecodeError: it is not of this class.
        """
        return decode_data(event, self.envelope.data)

    def completes(self, event: Event | None = None, /) -> None:
        """It completes, and answers its end event; :class:`Done` where it has none. Or it is undone, as was asked."""
        __tracebackhide__ = True
        self._in_time()
        self._give(Done() if event is None else event)

    def fails(self, reason: str = "it failed", *, step: str | None = None, cause: str = "rejected") -> None:
        """It fails, and all of it is undone."""
        __tracebackhide__ = True
        self._in_time()
        self._give(FlowFailed(step=step, cause=cause, reason=reason))

    def begin(self) -> Played:
        """Start the flow that is called, on the same stage."""
        replies: dict[str, Any] = {"replyto": "stage", "replypartition": 0}
        return self._stage.start(self._definition, self.envelope.evolve(extensions=replies))
