"""What does the class of a state machine hold? States and what they were told, as it was told, not yet checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, Literal, TypeVar, overload

from pydantic import BaseModel, ConfigDict

from orchestra.duration import Duration
from orchestra.errors import DefinitionError
from orchestra.events.message import Command, Event
from orchestra.flows.approval import Approval
from orchestra.flows.failure import Failure
from orchestra.flows.method import says
from orchestra.flows.node import DEFAULT_RETRY, DEFAULT_TIMEOUT, DEFAULT_UNDO_RETRY
from orchestra.retry import Retry


class Data(BaseModel):
    """Base of what a machine remembers: an immutable pydantic model. An action returns a new one."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


Change = Data | Event | Sequence[Data | Event] | None
"""What an action gives: the new data, an event to publish, several of these in a list or tuple, or nothing."""

E = TypeVar("E")
X = TypeVar("X", bound=Event)
Y = TypeVar("Y", bound=Event)
R = TypeVar("R", bound=Event)
J = TypeVar("J", bound=Event)
C = TypeVar("C", bound=Change)

Trigger = Literal["event", "done", "rejected", "failed", "after", "always", "cancel"]


@dataclass(slots=True, eq=False)
class Declared:
    """A transition, as it was told. ``of`` is what it depends on: event classes, a part of the state, a duration."""

    source: State
    trigger: Trigger
    of: Any = None
    to: State | None = None
    when: Callable[..., bool] | None = None
    action: Callable[..., Any] | None = None
    by: str | None = None


class On(Generic[E]):
    """Takes the action of a transition: a method that gets the event."""

    def __init__(self, declared: Declared) -> None:
        self._declared = declared

    def __call__(self, action: Callable[[Any, E], C], /) -> Callable[[Any, E], C]:
        self._declared.action = action
        return action


class OnNothing:
    """Takes the action of a transition that no message triggers: a method that gets nothing but self."""

    def __init__(self, declared: Declared) -> None:
        self._declared = declared

    def __call__(self, action: Callable[[Any], C], /) -> Callable[[Any], C]:
        self._declared.action = action
        return action


class Part:
    """Something that a state does, whose outcome can trigger transitions of that state."""

    def __init__(self, state: State, label: str) -> None:
        self.state = state
        self.label = label

    def __set_name__(self, owner: type, name: str) -> None:
        self.label = name

    def _transition(self, trigger: Trigger, to: State | None, when: Callable[..., bool] | None) -> Declared:
        return self.state.declare(Declared(self.state, trigger, self, to, when))


class Sending(Part, Generic[R, J]):
    """A command that a state sends when it is entered. Its outcome can trigger transitions while that visit lasts."""

    def __init__(
        self, state: State, make: Callable[..., Command[R, J]], retry: Retry, timeout: Duration | None, when: str
    ) -> None:
        super().__init__(state, make.__name__)
        self.make = make
        self.retry = retry
        self.timeout = timeout
        self.when = when

    def done(self, *, to: State | None = None, when: Callable[[Any, R], bool] | None = None) -> On[R]:
        """On the reply: go to a state, or stay. Put it above an action that takes the reply, or let it stand alone."""
        return On(self._transition("done", to, when))

    def rejected(self, *, to: State | None = None, when: Callable[[Any, J], bool] | None = None) -> On[J]:
        """On the rejection. Without such a transition a rejection counts as ``failed``."""
        return On(self._transition("rejected", to, when))

    def failed(self, *, to: State | None = None, when: Callable[[Any, Failure], bool] | None = None) -> On[Failure]:
        """When its tries are spent: it was not done, or nobody knows. Without such a transition an alert says so."""
        return On(self._transition("failed", to, when))


class Child(Part, Generic[R]):
    """A flow that runs while a state is active."""

    def __init__(
        self, state: State, make: Callable[..., Event], flow: type[Any], yields: type[R], undo: bool | None
    ) -> None:
        super().__init__(state, make.__name__)
        self.make = make
        self.flow = flow
        self.yields = yields
        self.undo = undo

    def done(self, *, to: State | None = None, when: Callable[[Any, R], bool] | None = None) -> On[R]:
        """When the flow has completed. The action takes the event that it ended with."""
        return On(self._transition("done", to, when))

    def failed(self, *, to: State | None = None, when: Callable[[Any, Failure], bool] | None = None) -> On[Failure]:
        """When the flow was compensated, or ended otherwise. Without such a transition an alert says so."""
        return On(self._transition("failed", to, when))


class Question(Part):
    """A decision of a person that a state waits for."""

    def __init__(self, state: State, role: str, requester: Callable[[Any], str] | None) -> None:
        super().__init__(state, "?")
        self.role = role
        self.requester = requester

    def approved(self, *, to: State | None = None, when: Callable[[Any, Approval], bool] | None = None) -> On[Approval]:
        """When somebody has said yes."""
        return On(self._transition("done", to, when))

    def rejected(self, *, to: State | None = None, when: Callable[[Any, Approval], bool] | None = None) -> On[Approval]:
        """When somebody has said no."""
        return On(self._transition("rejected", to, when))


class SendingDecorator:
    """``@lost.entry(retry=..., timeout=...)``."""

    def __init__(self, state: State, when: str, retry: Retry, timeout: Duration | None) -> None:
        self._state = state
        self._when = when
        self._retry = retry
        self._timeout = timeout

    def __call__(self, make: Callable[[Any], Command[R, J]], /) -> Sending[R, J]:
        sending = Sending(self._state, make, self._retry, self._timeout, self._when)
        self._state.doing(self._when, sending)
        return sending


class ChildDecorator(Generic[R]):
    """``@checking.runs(CreditChecks, yields=ChecksPassed)``."""

    def __init__(self, state: State, flow: type[Any], yields: type[R], undo: bool | None) -> None:
        self._state = state
        self._flow = flow
        self._yields = yields
        self._undo = undo

    def __call__(self, make: Callable[[Any], Event], /) -> Child[R]:
        child = Child(self._state, make, self._flow, self._yields, self._undo)
        self._state.doing("entry", child)
        return child


Unexpected = Literal["ignore", "defer", "reject"]


@dataclass(slots=True)
class Surplus:
    """What a state does with an event that it has no transition for."""

    event: type[Event]
    policy: Unexpected
    by: str | None = None


@dataclass(slots=True, eq=False)
class State:
    """A state of a machine. Made by :func:`state`."""

    within: State | None = None
    initial: bool = False
    final: bool = False
    parallel: bool = False
    failed: bool = False
    label: str = "?"
    owner: str | None = None
    """The class, once it is made."""
    transitions: list[Declared] = field(default_factory=list[Declared])
    entries: list[Any] = field(default_factory=list[Any])
    """What is done on entry, in this order: sendings, children, questions, plain methods."""
    exits: list[Any] = field(default_factory=list[Any])
    surplus: list[Surplus] = field(default_factory=list[Surplus])

    def __set_name__(self, owner: type, name: str) -> None:
        # A state with two names is a mistake, which is told of when the class is compiled: the first name stays.
        self.label = name if self.label == "?" else self.label

    def declare(self, declared: Declared) -> Declared:
        self._check_made()
        self.transitions.append(declared)
        return declared

    def _check_made(self) -> None:
        if self.owner is not None:
            raise DefinitionError(
                f"{self.owner}.{self.label}: the class is made, and this would have no effect; write it in the class"
            )

    def doing(self, when: str, what: Any) -> None:
        self._check_made()
        (self.entries if when == "entry" else self.exits).append(what)

    # ---- transitions

    @overload
    def on(
        self,
        event: type[X],
        /,
        *,
        to: State | None = ...,
        when: Callable[[Any, X], bool] | None = ...,
        by: str | None = ...,
    ) -> On[X]: ...
    @overload
    def on(
        self,
        event: type[X],
        other: type[Y],
        /,
        *,
        to: State | None = ...,
        when: Callable[[Any, X | Y], bool] | None = ...,
        by: str | None = ...,
    ) -> On[X | Y]: ...
    def on(
        self,
        *events: type[Event],
        to: State | None = None,
        when: Callable[[Any, Any], bool] | None = None,
        by: str | None = None,
    ) -> On[Any]:
        """On an event from outside: go to a state, or stay. Above an action that takes the event, or standing alone.

        Args:
            events: one class, or two.
            to: the state to go to. Default: none is left and none entered (an internal transition). A state named as
                its own target is left and entered again.
            when: the guard, a method that takes the event too. When it says no, the states around this one are asked,
                and then the event is unexpected.
            by: the field of the event that holds the business key of the instance, or a list of keys. Default: its Key.
        """
        return On(self.declare(Declared(self, "event", events, to, when, by=by)))

    def after(
        self,
        delay: Duration | Callable[[Any], timedelta],
        /,
        *,
        to: State | None = None,
        when: Callable[[Any], bool] | None = None,
    ) -> OnNothing:
        """When the state has been active for so long. The clock starts anew whenever the state is entered.

        Args:
            delay: such as "7d", or a method that returns a ``timedelta``, asked when the state is entered.
            to: the state to go to. Default: it stays, and the action runs once.
            when: the guard. When it says no, that time-out is over.
        """
        return OnNothing(self.declare(Declared(self, "after", delay, to, when)))

    def always(self, *, to: State, when: Callable[[Any], bool] | None = None) -> OnNothing:
        """As soon as the guard says yes: looked at after every change of the machine, before any further event."""
        return OnNothing(self.declare(Declared(self, "always", None, to, when)))

    def done(self, *, to: State | None = None, when: Callable[[Any], bool] | None = None) -> OnNothing:
        """When a final state inside this one is reached; of a parallel state, one in each region."""
        return OnNothing(self.declare(Declared(self, "done", self, to, when)))

    def on_cancel(self, *, to: State | None = None, when: Callable[[Any], bool] | None = None) -> OnNothing:
        """When an operator, or the flow that called this machine, cancels it. Without one: the machine leaves all its
        states and is over. With one that has no ``to``, it stays: the way to refuse."""
        return OnNothing(self.declare(Declared(self, "cancel", None, to, when)))

    # ---- what it does

    @overload
    def entry(self, make: Callable[[Any], Command[R, J]], /) -> Sending[R, J]: ...
    @overload
    def entry(self, make: Callable[[Any], C], /) -> Callable[[Any], C]: ...
    @overload
    def entry(self, /, *, retry: Retry = ..., timeout: Duration | None = ...) -> SendingDecorator: ...
    def entry(
        self,
        make: Callable[..., Any] | None = None,
        /,
        *,
        retry: Retry = DEFAULT_RETRY,
        timeout: Duration | None = DEFAULT_TIMEOUT,
    ) -> Any:
        """Declare what happens whenever the state is entered: a method that returns a command, whose outcome can then
        trigger transitions; or new data, or an event to publish, or both.

        Args:
            make: the method.
            retry: how often the command is sent when no answer comes. Default: once.
            timeout: how long one try may stay unanswered. Default "30s". None: for ever.
        """
        return self._does("entry", make, retry, timeout)

    @overload
    def exit(self, make: Callable[[Any], Command[R, J]], /) -> Sending[R, J]: ...
    @overload
    def exit(self, make: Callable[[Any], C], /) -> Callable[[Any], C]: ...
    @overload
    def exit(self, /, *, retry: Retry = ..., timeout: Duration | None = ...) -> SendingDecorator: ...
    def exit(
        self,
        make: Callable[..., Any] | None = None,
        /,
        *,
        retry: Retry = DEFAULT_UNDO_RETRY,
        timeout: Duration | None = DEFAULT_TIMEOUT,
    ) -> Any:
        """Declare what happens whenever the state is left: as for :meth:`entry`. Such a command is sent until it is
        answered, however the machine goes on, and nothing waits for it but the machine's end. When its tries (10 by
        default) are spent, an alert says so and an operator decides."""
        return self._does("exit", make, retry, timeout)

    def _does(self, when: str, make: Callable[..., Any] | None, retry: Retry, timeout: Duration | None) -> Any:
        decorator = SendingDecorator(self, when, retry, timeout)
        if make is None:
            return decorator
        if any(isinstance(one, type) and issubclass(one, Command) for one in says(make.__qualname__, make)):
            return decorator(make)
        self.doing(when, make)
        return make

    def runs(self, flow: type[Any], /, *, yields: type[R], undo: bool | None = None) -> ChildDecorator[R]:
        """Declare the flow that runs while the state is active: a method that returns the flow's start event.

        Args:
            flow: the class of a flow.
            yields: the event that it ends with when all is well (``Done`` for one that ends without an event).
            undo: whether a flow that has completed is undone when the state is left otherwise than by its ``done``.
                Default: where it is a saga. A flow still running is cancelled.
        """
        return ChildDecorator(self, flow, yields, undo)

    def approval(self, *, role: str, requester: Callable[[Any], str] | None = None) -> Question:
        """Declare that the state waits for a person: ``orchestra approvals approve|reject``. The first decision counts.

        Args:
            role: who may decide.
            requester: a method that says who asked for it, and therefore does not decide. Default: anybody may.
        """
        question = Question(self, role, requester)
        self.doing("entry", question)
        return question

    # ---- what it does not expect

    def _surplus(self, policy: Unexpected, events: Sequence[type[Event]], by: str | None) -> None:
        self._check_made()
        self.surplus += [Surplus(event, policy, by) for event in events]

    def defer(self, *events: type[Event], by: str | None = None) -> None:
        """Keep these events, at most 20 in a machine, until a state is active that does not defer them."""
        self._surplus("defer", events, by)

    def ignore(self, *events: type[Event], by: str | None = None) -> None:
        """Take these events without effect, with a line in the journal."""
        self._surplus("ignore", events, by)

    def reject(self, *events: type[Event], by: str | None = None) -> None:
        """Raise an alert for these events; the journal keeps a line."""
        self._surplus("reject", events, by)


@dataclass(slots=True, eq=False)
class Begin:
    """The method that gives the data at the start."""

    make: Callable[..., Data]
