"""Misuse of a story that must not type-check. Above each line: a part of what each checker says."""

from orchestra import Undo
from orchestra.testing import run
from tests.typing.good_flow import Asked, Free, Good, Held, Hold, Paid, Pay, SoldOut

t = run(Good, Asked(id="1"))

# mypy says: Argument 1 to "reply" of "Sent" has incompatible type "Paid"; expected "Held"
# pyright says: "Paid" is not assignable to "Held"
t.expect(Hold).reply(Paid(cents=1))

# mypy says: Argument 1 to "reply" of "Sent" has incompatible type "SoldOut"; expected "Held"
# pyright says: "SoldOut" is not assignable to "Held"
t.expect(Hold(id="1")).reply(SoldOut())

# mypy says: Argument 1 to "reject" of "Sent" has incompatible type "Held"; expected "SoldOut"
# pyright says: "Held" is not assignable to "SoldOut"
t.expect(Hold).reject(Held(shelf=1))

# mypy says: Argument 1 to "reject" of "Sent" has incompatible type "SoldOut"; expected "Never"
# pyright says: Type "SoldOut" is not assignable to type "Never"
t.expect(Free).reject(SoldOut())

# mypy says: Argument 1 to "reply" of "Sent" has incompatible type "Held"; expected "Paid | PaidLater"
# pyright says: Type "Held" is not assignable to type "Paid | PaidLater"
t.expect(Pay).reply(Held(shelf=1))

# mypy says: Argument 1 to "reply" of "Sent" has incompatible type "Held"; expected "Done"
# pyright says: "Held" is not assignable to "Done"
t.expect(Undo[Hold]).reply(Held(shelf=1))

# mypy says: Argument 1 to "reply_late" of "Sent" has incompatible type "Paid"; expected "Held"
# pyright says: "Paid" is not assignable to "Held"
t.expect(Hold).reply_late(Paid(cents=1))

# mypy says: Value of type variable "C" of "expect" of "Story" cannot be "Asked"
# pyright says: No overloads for "expect" match the provided arguments
t.expect(Asked)

# mypy says: "Hold" has no attribute "shelf"
# pyright says: Cannot access attribute "shelf" for class "Hold"
t.expect(Hold, where=lambda command: command.shelf == 1)

# mypy says: Argument 1 to "refused" of "Sent" has incompatible type "Literal['late']"
# pyright says: Argument of type "Literal['late']" cannot be assigned
t.expect(Hold).refused("late")

# mypy says: "Asked" has no attribute "number"
# pyright says: Cannot access attribute "number" for class "Asked"
number = t.completed(Asked).number

# mypy says: Value of type variable "E" of "published" of "Story" cannot be "Hold"
# pyright says: Argument of type "type[Hold]" cannot be assigned
t.published(Hold)

# mypy says: Argument 2 to "run" has incompatible type "Hold"; expected "Event"
# pyright says: "Hold" is not assignable to "Event"
run(Good, Hold(id="1"))


# mypy says: Argument "migrates" to "__init_subclass__" of "Flow" has incompatible type "tuple[type[Asked]]"
# pyright says: "type[Asked]" is not assignable to "type[Flow]"
class AVersionOfNoFlow(Good, name="good", version=2, migrates=(Asked,)):
    pass


# mypy says: Argument 1 to "expect_call" of "Story" has incompatible type "type[Hold]"
# pyright says: Argument of type "type[Hold]" cannot be assigned
t.expect_call(Hold)
