"""Misuse of flows that must not type-check. Above each line: a part of what each checker says."""

from orchestra import (
    Failure,
    Saga,
    Undo,
    any_of,
    call,
    for_each,
    on_compensated,
    on_completed,
    optional,
    pivot,
    repeat,
    settled,
    starts_on,
    step,
    wait_for,
)
from orchestra.flows.node import Step
from tests.typing.good_flow import Asked, AskedAgain, Child, Free, Good, Held, Hold, Paid, PaidLater, Pay, Said, Settled


class AnUndoThatForgetsNone(Saga, name="misuse-1"):
    asked = starts_on(Asked)

    @step
    def hold(self) -> Hold:
        return Hold(id=self.asked.id)

    # mypy says: incompatible type "Callable[[AnUndoThatForgetsNone, Held], Free]"
    # mypy says: expected "Callable[[Any, Held | None], Command[Any, Any]]"
    # pyright says: Parameter 2: type "Held | None" is incompatible with type "Held"
    @hold.undo
    def free(self, held: Held) -> Free:
        return Free(id=self.asked.id, shelf=held.shelf)


class AnUndoOfAnotherReply(Saga, name="misuse-2"):
    asked = starts_on(Asked)

    @step
    def hold(self) -> Hold:
        return Hold(id=self.asked.id)

    # mypy says: incompatible type "Callable[[AnUndoOfAnotherReply, Paid | None], Free]"
    # mypy says: expected "Callable[[Any, Held | None], Command[Any, Any]]"
    # pyright says: Parameter 2: type "Held | None" is incompatible with type "Paid | None"
    @hold.undo(timeout="1m")
    def free(self, paid: Paid | None) -> Free:
        return Free(id=self.asked.id, shelf=None)


class AStepThatTakesWhatItsNodeDoesNotYield(Saga, name="misuse-3"):
    asked = starts_on(Asked)

    @step(undo=Undo)
    def hold(self) -> Hold:
        return Hold(id=self.asked.id)

    # mypy says: incompatible type "Callable[[AStepThatTakesWhatItsNodeDoesNotYield, Paid], Pay]"
    # mypy says: expected "Callable[[Any, Held], Command[Paid | PaidLater, Any]]"
    # pyright says: Parameter 2: type "Held" is incompatible with type "Paid"
    @step(hold, undo=Undo)
    def pay(self, paid: Paid) -> Pay:
        return Pay(id=self.asked.id)


class AStepThatTakesOneOfTwoReplies(Saga, name="misuse-4"):
    asked = starts_on(Asked)

    @step(undo=Undo)
    def pay(self) -> Pay:
        return Pay(id=self.asked.id)

    # mypy says: incompatible type "Callable[[AStepThatTakesOneOfTwoReplies, Paid], Hold]"
    # mypy says: expected "Callable[[Any, Paid | PaidLater], Command[Held, Any]]"
    # pyright says: Parameter 2: type "Paid | PaidLater" is incompatible with type "Paid"
    @pivot(pay)
    def last(self, paid: Paid) -> Hold:
        return Hold(id=self.asked.id)


class AStepThatForgetsItsNode(Saga, name="misuse-5"):
    asked = starts_on(Asked)

    @step(undo=Undo)
    def hold(self) -> Hold:
        return Hold(id=self.asked.id)

    # mypy says: incompatible type "Callable[[AStepThatForgetsItsNode], Pay]"
    # mypy says: expected "Callable[[Any, Held], Command[Paid | PaidLater, Any]]"
    # pyright says: Function accepts too few positional parameters; expected 2 but received 1
    @step(hold, undo=Undo)
    def pay(self) -> Pay:
        return Pay(id=self.asked.id)


class AStepThatReturnsAnEvent(Saga, name="misuse-6"):
    asked = starts_on(Asked)

    # mypy says: incompatible type "Callable[[AStepThatReturnsAnEvent], Held]"
    # mypy says: expected "Callable[[Any], Command[Never, Any]]"
    # pyright says: Function return type "Held" is incompatible with type "Command[R@__call__, Any]"
    @step(undo=Undo)
    def hold(self) -> Held:
        return Held(shelf=1)


class AStepThatReturnsTheWrongCommand(Saga, name="misuse-7"):
    asked = starts_on(Asked)

    @step(undo=Undo)
    def hold(self) -> Hold:
        # mypy says: Incompatible return value type (got "Pay", expected "Hold")
        # pyright says: Type "Pay" is not assignable to return type "Hold"
        return Pay(id=self.asked.id)


class AMisspeltNode(Saga, name="misuse-8"):
    asked = starts_on(Asked)

    @step(undo=Undo)
    def hold(self) -> Hold:
        return Hold(id=self.asked.id)

    # mypy says: Name "hodl" is not defined
    # pyright says: "hodl" is not defined
    @step(hodl, undo=Undo)  # noqa: F821
    def pay(self, held: Held) -> Pay:
        return Pay(id=self.asked.id)


class AMisspeltField(Saga, name="misuse-9"):
    asked = starts_on(Asked)

    @step(undo=Undo)
    def hold(self) -> Hold:
        # mypy says: "Asked" has no attribute "number"
        # pyright says: Cannot access attribute "number" for class "Asked"
        return Hold(id=self.asked.number)


class AnEndingOfAnotherReply(Saga, name="misuse-10"):
    asked = starts_on(Asked)

    @step(undo=Undo)
    def hold(self) -> Hold:
        return Hold(id=self.asked.id)

    # mypy says: incompatible type "Callable[[AnEndingOfAnotherReply, Paid], Asked]"
    # mypy says: expected "Callable[[Any, Held], Event | Sequence[Event] | None]"
    # pyright says: Parameter 2: type "Held" is incompatible with type "Paid"
    @on_completed(hold)
    def over(self, paid: Paid) -> Asked:
        return self.asked

    # mypy says: incompatible type "Callable[[AnEndingOfAnotherReply], Asked]"
    # mypy says: expected "Callable[[Any, Failure], Event | Sequence[Event] | None]"
    # pyright says: Function accepts too few positional parameters; expected 2 but received 1
    @on_compensated
    def undone(self) -> Asked:
        return self.asked


class AnEndingThatReturnsACommand(Saga, name="misuse-11"):
    asked = starts_on(Asked)

    @step(undo=Undo)
    def hold(self) -> Hold:
        return Hold(id=self.asked.id)

    # mypy says: incompatible type "Callable[[AnEndingThatReturnsACommand, Failure], Hold]"
    # mypy says: expected "Callable[[Any, Failure], Event | Sequence[Event] | None]"
    # pyright says: Function return type "Hold" is incompatible with type "Events"
    @on_compensated
    def undone(self, failure: Failure) -> Hold:
        return Hold(id=self.asked.id)


class AStartThatIsNoEvent(Saga, name="misuse-12"):
    # mypy says: Value of type variable "E1" of "starts_on" cannot be "Hold"
    # pyright says: Argument of type "type[Hold]" cannot be assigned
    asked = starts_on(Hold)

    @step(kind="read_only")
    def hold(self) -> Hold:
        return Hold(id="1")


class AnUnknownKind(Saga, name="misuse-13"):
    asked = starts_on(Asked)

    # mypy says: No overload variant of "step" matches argument type "str"
    # pyright says: Argument of type "Literal['compensatable']" cannot be assigned
    @step(kind="compensatable")
    def hold(self) -> Hold:
        return Hold(id="1")


class AnUndoThatIsNone(Saga, name="misuse-14"):
    asked = starts_on(Asked)

    # mypy says: incompatible type "type[Free]"
    # mypy says: expected "type[Undo[Any]] | None"
    # pyright says: Argument of type "type[Free]" cannot be assigned
    @step(undo=Free)
    def hold(self) -> Hold:
        return Hold(id="1")


# mypy says: expression has type "Step[Paid | PaidLater]", variable has type "Step[PaidLater]"
# pyright says: Type "Step[Paid | PaidLater]" is not assignable to declared type "Step[PaidLater]"
looked_at: Step[PaidLater] = Good.pay


class AStepThatForgetsThatAGuardMaySayNo(Saga, name="misuse-20"):
    asked = starts_on(Asked)

    def always(self) -> bool:
        return True

    @optional(when=always, kind="read_only")
    def hold(self) -> Hold:
        return Hold(id=self.asked.id)

    # mypy says: expected "Callable[[Any, Held | None]
    # pyright says: Parameter 2: type "Held | None" is incompatible with type "Held"
    @step(hold, kind="read_only")
    def pay(self, held: Held) -> Pay:
        return Pay(id=self.asked.id)


class AGuardOfAnotherValue(Saga, name="misuse-21"):
    asked = starts_on(Asked)

    def is_far(self, paid: Paid) -> bool:
        return True

    @step(kind="read_only")
    def hold(self) -> Hold:
        return Hold(id=self.asked.id)

    # mypy says: No overload variant of "optional" matches
    # pyright says: Parameter 2: type "Held" is incompatible with type "Paid"
    @optional(hold, when=is_far, kind="read_only")
    def pay(self, held: Held) -> Pay:
        return Pay(id=self.asked.id)


class AStepThatForgetsWhoMayHaveWon(Saga, name="misuse-22"):
    asked = starts_on(Asked)

    @step(kind="read_only")
    def left(self) -> Hold:
        return Hold(id=self.asked.id)

    @step(kind="read_only")
    def right(self) -> Pay:
        return Pay(id=self.asked.id)

    first = any_of(left, right)

    # mypy says: expected "Callable[[Any, Held | Paid | PaidLater]
    # pyright says: is incompatible with type "Held"
    @step(first, kind="read_only")
    def last(self, held: Held) -> Hold:
        return Hold(id=self.asked.id)


class AStepThatForgetsThatABranchMayFail(Saga, name="misuse-23"):
    asked = starts_on(Asked)

    @step(kind="read_only")
    def left(self) -> Hold:
        return Hold(id=self.asked.id)

    @step(kind="read_only")
    def right(self) -> Hold:
        return Hold(id=self.asked.id)

    both = settled(left, right)

    # mypy says: expected "Callable[[Any, tuple[Held | Failure, Held | Failure]]
    # pyright says: is incompatible with type "tuple[Held, Held]"
    @step(both, kind="read_only")
    def last(self, both: tuple[Held, Held]) -> Hold:
        return Hold(id=self.asked.id)


class AWaitWhoseWhereTakesAnotherEvent(Saga, name="misuse-24"):
    asked = starts_on(Asked)

    def is_enough(self, paid: Paid) -> bool:
        return True

    # mypy says: incompatible type
    # pyright says: Parameter 2: type "Settled" is incompatible with type "Paid"
    money = wait_for(Settled, by="order", where=is_enough)


class AStepThatForgetsThatNothingMayCome(Saga, name="misuse-25"):
    asked = starts_on(Asked)
    money = wait_for(Settled, by="order", timeout="1d", on_timeout="continue")

    # mypy says: expected "Callable[[Any, Settled | None]
    # pyright says: Parameter 2: type "Settled | None" is incompatible with type "Settled"
    @step(money, kind="read_only")
    def last(self, money: Settled) -> Hold:
        return Hold(id=self.asked.id)


class ACallThatReturnsACommandsReply(Saga, name="misuse-26"):
    asked = starts_on(Asked)

    @call(Child, yields=Said)
    def child(self) -> AskedAgain:
        return AskedAgain(id=self.asked.id)

    # mypy says: expected "Callable[[Any, Said]
    # pyright says: Parameter 2: type "Said" is incompatible with type "Held"
    @step(child, kind="read_only")
    def last(self, held: Held) -> Hold:
        return Hold(id=self.asked.id)


class AnItemOfAnotherType(Saga, name="misuse-27"):
    asked = starts_on(Asked)

    def shelves(self) -> list[int]:
        return [1]

    # mypy says: expected "Callable[[Any, int], Command[Paid | PaidLater, Any]]"
    # pyright says: Parameter 2: type "int" is incompatible with type "str"
    @for_each(over=shelves, kind="read_only")
    def pay(self, shelf: str) -> Pay:
        return Pay(id=shelf)


class AnUndoThatForgetsTheItem(Saga, name="misuse-28"):
    asked = starts_on(Asked)

    def shelves(self) -> list[int]:
        return [1]

    @for_each(over=shelves)
    def pay(self, shelf: int) -> Hold:
        return Hold(id=self.asked.id)

    # mypy says: expected "Callable[[Any, int, Held | None], Command[Any, Any]]"
    # pyright says: Function accepts too few positional parameters; expected 3 but received 2
    @pay.undo
    def free(self, held: Held | None) -> Free:
        return Free(id=self.asked.id, shelf=None)


class AStepThatTakesOneOfTheReplies(Saga, name="misuse-29"):
    asked = starts_on(Asked)

    def shelves(self) -> list[int]:
        return [1]

    @for_each(over=shelves, kind="read_only")
    def hold(self, shelf: int) -> Hold:
        return Hold(id=self.asked.id)

    # mypy says: expected "Callable[[Any, list[Held]], Command[Held, Any]]"
    # pyright says: Parameter 2: type "list[Held]" is incompatible with type "Held"
    @step(hold, kind="read_only")
    def last(self, held: Held) -> Hold:
        return Hold(id=self.asked.id)


class ItemsOfAnotherNode(Saga, name="misuse-30"):
    asked = starts_on(Asked)

    @step(kind="read_only")
    def hold(self) -> Hold:
        return Hold(id=self.asked.id)

    def shelves(self, paid: Paid) -> list[int]:
        return [paid.cents]

    # mypy says: No overload variant of "for_each" matches argument types
    # mypy says: "Callable[[ItemsOfAnotherNode, Paid], list[int]]"
    # pyright says: Parameter 2: type "Held" is incompatible with type "Paid"
    @for_each(hold, over=shelves, kind="read_only")
    def pay(self, shelf: int, held: Held) -> Pay:
        return Pay(id=self.asked.id)


class ALoopThatForgetsThatThereIsNoReplyAtFirst(Saga, name="misuse-31"):
    asked = starts_on(Asked)

    def is_enough(self, held: Held) -> bool:
        return held.shelf > 1

    # mypy says: expected "Callable[[Any, Held | None], Command[Held, Any]]"
    # pyright says: Parameter 2: type "Held | None" is incompatible with type "Held"
    @repeat(until=is_enough, at_most=3, kind="read_only")
    def look(self, previous: Held) -> Hold:
        return Hold(id=self.asked.id)


class ALoopThatLooksAtAnotherReply(Saga, name="misuse-32"):
    asked = starts_on(Asked)

    def is_enough(self, paid: Paid) -> bool:
        return paid.cents > 1

    # mypy says: expected "Callable[[Any, Paid | None], Command[Paid, Any]]"
    # pyright says: Function return type "Hold" is incompatible with type "Command[Paid, Any]"
    @repeat(until=is_enough, at_most=3, kind="read_only")
    def look(self, previous: Paid | None) -> Hold:
        return Hold(id=self.asked.id)


class AStepThatForgetsThatItemsMayFail(Saga, name="misuse-33"):
    asked = starts_on(Asked)

    def shelves(self) -> list[int]:
        return [1]

    @for_each(over=shelves, tolerate=1, kind="read_only")
    def hold(self, shelf: int) -> Hold:
        return Hold(id=self.asked.id)

    # mypy says: expected "Callable[[Any, list[Held | Failure]], Command[Held, Any]]"
    # pyright says: Parameter 2: type "list[Held | Failure]" is incompatible with type "list[Held]"
    @step(hold, kind="read_only")
    def last(self, held: list[Held]) -> Hold:
        return Hold(id=self.asked.id)
