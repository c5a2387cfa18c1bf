"""Misuse of state machines that must not type-check. Above each line: a part of what each checker says."""

from typing import Any

from orchestra import Approval, Failure, StateMachine, starts_on, state
from tests.typing.good_machine import (
    Checked,
    Checks,
    ChecksAsked,
    Found,
    FoundLater,
    Machine,
    Moved,
    Opened,
    Scanned,
    Search,
    Seen,
    Things,
)


class AnActionOfAnotherEvent(StateMachine[Things], name="misuse-m-1"):
    opened = starts_on(Opened)
    first = state(initial=True)
    over = state(final=True)

    # mypy says: incompatible type "Callable[[AnActionOfAnotherEvent, Seen], Things]"
    # mypy says: expected "Callable[[Any, Scanned], Things]"
    # pyright says: Parameter 2: type "Scanned" is incompatible with type "Seen"
    @first.on(Scanned, to=over)
    def seen(self, event: Seen) -> Things:
        return self.data


class AGuardOfAnotherEvent(StateMachine[Things], name="misuse-m-2"):
    opened = starts_on(Opened)
    first = state(initial=True)
    over = state(final=True)

    def is_seen(self, event: Seen) -> bool:
        return bool(event.ids)

    # mypy says: expected "Callable[[Any, Scanned], bool] | None"
    # pyright says: Parameter 2: type "Scanned" is incompatible with type "Seen"
    first.on(Scanned, to=over, when=is_seen)


class AGuardThatSaysNoBool(StateMachine[Things], name="misuse-m-3"):
    opened = starts_on(Opened)
    first = state(initial=True)
    over = state(final=True)

    def count(self, event: Scanned) -> int:
        return self.data.count

    # mypy says: incompatible type "Callable[[AGuardThatSaysNoBool, Scanned], int]"
    # pyright says: Function return type "int" is incompatible with type "bool"
    first.on(Scanned, to=over, when=count)


class AnActionThatForgetsTheEvent(StateMachine[Things], name="misuse-m-4"):
    opened = starts_on(Opened)
    first = state(initial=True)
    over = state(final=True)

    # mypy says: expected "Callable[[Any, Scanned], Things]"
    # pyright says: Function accepts too few positional parameters; expected 2 but received 1
    @first.on(Scanned, to=over)
    def scanned(self) -> Things:
        return self.data


class AnActionThatReturnsACommand(StateMachine[Things], name="misuse-m-5"):
    opened = starts_on(Opened)
    first = state(initial=True)
    over = state(final=True)

    # mypy says: Value of type variable "C" of "__call__" of "On" cannot be "Search"
    # pyright says: "Search" is not assignable to "Event"
    @first.on(Scanned, to=over)
    def scanned(self, event: Scanned) -> Search:
        return Search(id=event.id)


class ATargetByName(StateMachine[Things], name="misuse-m-6"):
    opened = starts_on(Opened)
    first = state(initial=True)
    over = state(final=True)
    # mypy says: No overload variant of "on" of "State" matches argument types "type[Scanned]", "str"
    # pyright says: Argument of type "Literal['over']" cannot be assigned to parameter "to" of type "State | None"
    first.on(Scanned, to="over")


class AMisspeltTarget(StateMachine[Things], name="misuse-m-7"):
    opened = starts_on(Opened)
    first = state(initial=True)
    over = state(final=True)
    # mypy says: Name "ovre" is not defined
    # pyright says: "ovre" is not defined
    first.on(Scanned, to=ovre)  # noqa: F821


class ATransitionOnACommand(StateMachine[Things], name="misuse-m-8"):
    opened = starts_on(Opened)
    first = state(initial=True)
    over = state(final=True)
    # mypy says: Value of type variable "X" of "on" of "State" cannot be "Search"
    # pyright says: "Search" is not assignable to "Event"
    first.on(Search, to=over)


class ATimeoutThatTakesAnEvent(StateMachine[Things], name="misuse-m-9"):
    opened = starts_on(Opened)
    first = state(initial=True)
    over = state(final=True)

    # mypy says: expected "Callable[[Any], Things]"
    # pyright says: Extra parameter "event"
    @first.after("7d", to=over)
    def late(self, event: Scanned) -> Things:
        return self.data


class AReplyOfAnotherCommand(StateMachine[Things], name="misuse-m-10"):
    opened = starts_on(Opened)
    first = state(initial=True)
    over = state(final=True)

    @first.entry
    def search(self) -> Search:
        return Search(id=self.opened.id)

    # mypy says: expected "Callable[[Any, Found | FoundLater], Things]"
    # pyright says: Parameter 2: type "Found | FoundLater" is incompatible with type "Found"
    @search.done(to=over)
    def found(self, found: Found) -> Things:
        return self.data

    # mypy says: expected "Callable[[Any, Nowhere], Things]"
    # pyright says: Parameter 2: type "Nowhere" is incompatible with type "FoundLater"
    @search.rejected(to=over)
    def rejected(self, found: FoundLater) -> Things:
        return self.data

    # mypy says: expected "Callable[[Any, Failure], Things]"
    # pyright says: Parameter 2: type "Failure" is incompatible with type "Approval"
    @search.failed(to=over)
    def failed(self, decision: Approval) -> Things:
        return self.data


class AFlowThatYieldsSomethingElse(StateMachine[Things], name="misuse-m-11"):
    opened = starts_on(Opened)
    first = state(initial=True)
    over = state(final=True)

    @first.runs(Checks, yields=Checked)
    def check(self) -> ChecksAsked:
        return ChecksAsked(id=self.opened.id)

    # mypy says: expected "Callable[[Any, Checked], Things]"
    # pyright says: Parameter 2: type "Checked" is incompatible with type "Found"
    @check.done(to=over)
    def checked(self, found: Found) -> Things:
        return self.data


class AFlowThatIsStartedByACommand(StateMachine[Things], name="misuse-m-12"):
    opened = starts_on(Opened)
    first = state(initial=True)
    over = state(final=True)

    # mypy says: expected "Callable[[Any], Event]"
    # pyright says: Function return type "Search" is incompatible with type "Event"
    @first.runs(Checks, yields=Checked)
    def check(self) -> Search:
        return Search(id=self.opened.id)

    check.done(to=over)


class ADecisionThatIsAFailure(StateMachine[Things], name="misuse-m-13"):
    opened = starts_on(Opened)
    first = state(initial=True)
    over = state(final=True)
    question = first.approval(role="officer")

    # mypy says: expected "Callable[[Any, Approval], Things]"
    # pyright says: Parameter 2: type "Approval" is incompatible with type "Failure"
    @question.approved(to=over)
    def agreed(self, failure: Failure) -> Things:
        return self.data


class AMisspeltFieldOfTheData(StateMachine[Things], name="misuse-m-14"):
    opened = starts_on(Opened)
    first = state(initial=True)
    over = state(final=True)

    @first.on(Scanned, to=over)
    def scanned(self, event: Scanned) -> Things:
        # mypy says: "Things" has no attribute "cuont"
        # pyright says: Cannot access attribute "cuont" for class "Things"
        return Things(count=self.data.cuont)


class Plain:
    pass


# mypy says: Type argument "Plain" of "StateMachine" must be a subtype of "Data"
# pyright says: Type "Plain" cannot be assigned to type variable "D@StateMachine"
class DataThatIsNoData(StateMachine[Plain], name="misuse-m-15"):
    opened = starts_on(Opened)
    first = state(initial=True)


# mypy says: expected "Literal['ignore', 'defer', 'reject']"
# pyright says: Argument of type "Literal['crash']" cannot be assigned
class AnUnknownPolicy(StateMachine[Things], name="misuse-m-16", unexpected="crash"):
    opened = starts_on(Opened)
    first = state(initial=True)


class AlwaysWithoutATarget(StateMachine[Things], name="misuse-m-17"):
    opened = starts_on(Opened)
    first = state(initial=True)
    # mypy says: Missing named argument "to" for "always" of "State"
    # pyright says: Argument missing for parameter "to"
    first.always()


class AnExitThatPublishesAnything(StateMachine[Things], name="misuse-m-18"):
    opened = starts_on(Opened)
    first = state(initial=True)

    # mypy says: incompatible type "Callable[[AnExitThatPublishesAnything], str]"
    # pyright says: Function return type "str" is incompatible
    @first.exit
    def leave(self) -> str:
        return self.opened.id


def looked_at() -> Any:
    # mypy says: expression has type "Sending[Found | FoundLater, Nowhere]"
    # pyright says: Type "Sending[Found | FoundLater, Nowhere]" is not assignable
    found: Moved = Machine.search
    return found
