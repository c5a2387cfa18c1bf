"""How do I test a flow as a story: what it sends, what it is answered, what follows?

    t = run(FoodOrder, OrderPlaced(order_id="o-1", total_cents=2500))
    t.expect(ReserveItems).reply(ItemsReserved(shelf=7))
    t.expect(ChargePayment).times_out()
    t.expect(ReleaseItems).reply(Done())
    assert t.compensated(OrderRejected).order_id == "o-1"

No Kafka, no event loop and no waiting: time is virtual, and the same test takes the same course everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, overload

from orchestra.duration import Duration, seconds
from orchestra.events.envelope import Envelope
from orchestra.events.message import Command, Event, decode_data, spec_of
from orchestra.flows.decision import (
    Emission,
    Occurred,
    OperatorAction,
    OperatorRequest,
    Status,
    split_instance_id,
)
from orchestra.flows.machine.declare import StateMachine
from orchestra.flows.narrative import brief
from orchestra.flows.saga import Flow, definition_of
from orchestra.testing.sent import Called, Sent
from orchestra.testing.stage import Played, Stage
from orchestra.testing.standing import Standing

__all__ = ["NOON", "Refused", "Sent", "Story", "run"]

C = TypeVar("C", bound=Command[Any, Any])
E = TypeVar("E", bound=Event)
T = TypeVar("T")

FlowClass = type[Flow] | type[StateMachine[Any]]

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
"""When a story begins, unless it says so itself."""


class Refused(AssertionError):  # noqa: N818  # it reads as what happened: with pytest.raises(Refused)
    """The flow did not do what a person asked of it; the text says why."""


def run(flow: FlowClass, start: Event, /, *, now: datetime = NOON) -> Story:
    """An instance of a flow that has just started.

    Args:
        flow: the class of the flow, or of the state machine.
        start: the event that starts it.
        now: the time at which it starts.

    Raises:
        DecodeError: the event does not start this flow.
    """
    stage = Stage(now)
    return Story(stage, stage.start(definition_of(flow), stage.wire(start, source="/test")))


class Story(Standing):
    """One instance of a flow, and the test's part in it. Where something is not as expected, an AssertionError tells
    what was sent instead, and the story so far."""

    # ---- what the flow sends

    @overload
    def expect(
        self, command: type[C], /, *, where: Callable[[C], bool] | None = ..., step: str | None = ...
    ) -> Sent[C]: ...
    @overload
    def expect(self, command: C, /, *, step: str | None = ...) -> Sent[C]: ...
    def expect(
        self, command: Any, /, *, where: Callable[[Any], bool] | None = None, step: str | None = None
    ) -> Sent[Any]:
        """A command that the flow has sent and the test has not yet looked at, the oldest first.

        Args:
            command: its class; or a command, which it must equal.
            where: takes the first command for which this is true.
            step: takes the first command of this step.

        Raises:
            AssertionError: no such command was sent.
        """
        __tracebackhide__ = True
        cls: type[Command[Any, Any]] = command if isinstance(command, type) else type(command)
        kind = spec_of(cls).type

        def is_meant(one: Emission) -> bool:
            return (
                one.kind == "command"
                and one.event.type == kind
                and (step is None or one.event.get("flowstep") == step)
                and (where is None or where(decode_data(cls, one.event.data)))
            )

        emission = self._first(is_meant, f"{cls.__name__}{f' of {step}' if step else ''} was expected")
        sent: Sent[Any] = Sent(self._stage, self._played, emission, decode_data(cls, emission.event.data))
        if cls is not command and sent.command != command:
            raise self._wrong(f"expected was {command!r}\n     sent was {sent.command!r}")
        return sent

    def published(self, event: type[E], /) -> E:
        """An event that the flow has published and the test has not yet looked at, the oldest first.

        Raises:
            AssertionError: no such event was published.
        """
        __tracebackhide__ = True
        kind = spec_of(event).type
        emission = self._first(
            lambda one: one.kind == "event" and one.event.type == kind, f"{event.__name__} was expected"
        )
        return decode_data(event, emission.event.data)

    def expect_call(self, flow: FlowClass, /, *, step: str | None = None) -> Calling:
        """A flow that the flow has called and the test has not yet looked at, the oldest first.

        Args:
            flow: the class of the flow that is called.
            step: takes the first call of this step.

        Raises:
            AssertionError: no such flow was called.
        """
        __tracebackhide__ = True
        return self._called(flow, "start", f"a call of {flow.__name__}", step)

    def expect_undo(self, flow: FlowClass, /, *, step: str | None = None) -> Calling:
        """The request that a flow which was called, and has completed, undoes itself. Arguments as for a call."""
        __tracebackhide__ = True
        return self._called(flow, "undo", f"the request to undo {flow.__name__}", step)

    def expect_cancel(self, flow: FlowClass, /, *, step: str | None = None) -> None:
        """The request that a flow which was called, and is under way, stops. It is still to be answered: by the call's
        ``fails`` where it could, by its ``completes`` where it was too late. Arguments as for a call."""
        __tracebackhide__ = True
        self._called(flow, "cancel", f"the request to cancel {flow.__name__}", step)

    def nothing_sent(self) -> None:
        """The flow has sent nothing that the test has not looked at.

        Raises:
            AssertionError: it has.
        """
        __tracebackhide__ = True
        if self._played.unseen:
            raise self._wrong(f"nothing more was expected, and sent was {self._unseen()}")

    # ---- what happens around it

    def publish(self, event: Event, /) -> None:
        """An event from outside, which a wait or a transition of the flow may take.

        Raises:
            AssertionError: the flow takes no such events.
        """
        __tracebackhide__ = True
        kind, definition = spec_of(type(event)).type, self._played.definition
        if kind not in definition.listens_to:
            takes = ", ".join(definition.listens_to) or "none at all"
            raise self._wrong(f"{type(event).__name__} ({kind}) was published, and of events the flow takes {takes}")
        envelope = self._stage.wire(event, source="/test")
        for played in list(self._stage.instances.values()):
            self._publish_to(played, kind, envelope)

    def advance(self, duration: Duration, /) -> None:
        """Time passes: every timer that is due by then fires, each at its own time."""
        __tracebackhide__ = True
        self._stage.advance(self._stage.now + timedelta(seconds=seconds(duration)))

    def cancel(self, *, by: str = "test", reason: str = "") -> None:
        """Somebody cancels the flow. Raises Refused where it can no longer be cancelled."""
        __tracebackhide__ = True
        self._ask("cancel", None, by, reason)

    def retry(self, step: str | None = None, *, by: str = "test", reason: str = "") -> None:
        """An operator retries a step, or all that wait for one. Raises Refused."""
        __tracebackhide__ = True
        self._ask("retry", step, by, reason)

    def skip(self, step: str, *, by: str = "test", reason: str = "") -> None:
        """An operator gives a stuck compensation up. Raises Refused."""
        __tracebackhide__ = True
        self._ask("skip", step, by, reason)

    def resolve(self, step: str, *, by: str = "test", reason: str = "") -> None:
        """An operator has undone by hand what a stuck compensation was to undo. Raises Refused."""
        __tracebackhide__ = True
        self._ask("resolve", step, by, reason)

    def approve(
        self, step: str | None = None, *, by: str = "test", reason: str = "", roles: Sequence[str] = ()
    ) -> None:
        """Somebody approves. Raises Refused where they may not, or it was decided before."""
        __tracebackhide__ = True
        self._ask("approve", step, by, reason, roles)

    def reject(self, step: str | None = None, *, by: str = "test", reason: str = "", roles: Sequence[str] = ()) -> None:
        """Somebody rejects what waits for approval. Raises Refused where they may not, or it was decided before."""
        __tracebackhide__ = True
        self._ask("reject", step, by, reason, roles)

    # ---- where it stands

    @overload
    def completed(self, event: type[E], /) -> E: ...
    @overload
    def completed(self, /) -> None: ...
    def completed(self, event: type[Any] | None = None, /) -> Any:
        """The flow is completed; returns the event that it published, if one is named.

        Raises:
            AssertionError: it is not, or has published no such event.
        """
        __tracebackhide__ = True
        return self._ended(Status.COMPLETED, event)

    @overload
    def compensated(self, event: type[E], /) -> E: ...
    @overload
    def compensated(self, /) -> None: ...
    def compensated(self, event: type[Any] | None = None, /) -> Any:
        """Everything is undone; returns the event that the flow published, if one is named.

        Raises:
            AssertionError: it is not, or the flow has published no such event.
        """
        __tracebackhide__ = True
        return self._ended(Status.COMPENSATED, event)

    def halted(self) -> None:
        """The flow, which is no saga, waits for an operator because a step failed. Raises AssertionError."""
        __tracebackhide__ = True
        self._is(Status.HALTED)

    def stuck(self) -> None:
        """A compensation's budget is spent, and an operator must decide. Raises AssertionError."""
        __tracebackhide__ = True
        self._is(Status.STUCK)

    # ---- how it is done

    def _publish_to(self, played: Played, kind: str, envelope: Envelope) -> None:
        definition = played.definition
        if kind not in definition.listens_to:
            return
        _, key = split_instance_id(played.id)
        if key in definition.keys_of(envelope):
            self._stage.give(played, Occurred(envelope))
        else:
            played.narrative.note(f"{played.narrative.message(envelope)} is for another key", now=self._stage.now)

    def _ask(self, action: OperatorAction, step: str | None, by: str, reason: str, roles: Sequence[str] = ()) -> None:
        __tracebackhide__ = True
        request = OperatorRequest(action, by=by, reason=reason, step=step, roles=tuple(roles))
        decision = self._stage.give(self._played, request)
        if not decision.changed or any(line.what == "operator.refused" for line in decision.journal):
            why = "; ".join(line.note for line in decision.journal if line.note)
            raise Refused(f"{action}{f' {step}' if step else ''} was not done: {why}\n\n{self.story()}")

    def _first(self, is_meant: Callable[[Emission], bool], expectation: str) -> Emission:
        __tracebackhide__ = True
        for one in self._played.unseen:
            if is_meant(one):
                self._played.unseen.remove(one)
                return one
        raise self._wrong(f"{expectation}, and sent was {self._unseen() or f'nothing more{self._next_timer()}'}")

    def _called(self, flow: FlowClass, what: str, expectation: str, step: str | None) -> Calling:
        __tracebackhide__ = True
        definition = definition_of(flow)

        def is_meant(one: Emission) -> bool:
            asked = json.loads(one.event.data or b"{}").get("action") if one.kind == "request" else one.kind
            name = (one.key or b"").decode().partition("/")[0]
            return asked == what and name == definition.name and step in (None, one.event.get("flowstep"))

        emission = self._first(is_meant, f"{expectation} was expected")
        return Calling(self._stage, self._played, emission, definition)

    def _unseen(self) -> str:
        narrative = self._played.narrative
        return ", ".join(narrative.message(one.event) for one in self._played.unseen)

    def _next_timer(self) -> str:
        pending = self._stage.pending()
        if not pending:
            return ""
        left = brief(pending[0].due - self._stage.now)
        return f'; the next timer, {pending[0].timer.name}, is due after t.advance("{left}")'

    def _is(self, status: Status) -> None:
        __tracebackhide__ = True
        if self._played.status is not status:
            waits = "".join(f"\n  it waits for {line}" for line in self.waits_for)
            raise self._wrong(f"{self.id} was to be {status}, and is {self._played.status}{waits}")

    def _ended(self, status: Status, event: type[Any] | None) -> Any:
        __tracebackhide__ = True
        self._is(status)
        return None if event is None else self.published(event)

    def _wrong(self, text: str) -> AssertionError:
        return AssertionError(f"{text}\n\n{self.story()}")


class Calling(Called):
    """A flow that was called; :meth:`plays` tells its own story."""

    def plays(self) -> Story:
        """The flow that is called, as a story of its own at the same time: what it answers reaches the one that called
        it, and what that one asks reaches it."""
        return Story(self._stage, self.begin())
