"""What a test of a flow may say, without a cast."""

from typing import assert_type

from orchestra import Done, Undo
from orchestra.testing import Sent, run
from tests.typing.good_flow import Asked, Free, Good, Held, Hold, Paid, PaidLater, Pay, SoldOut

t = run(Good, Asked(id="1"))
hold = t.expect(Hold, step="hold")
assert_type(hold, Sent[Hold])
assert_type(hold.command, Hold)
hold.reply(Held(shelf=1)).reply_again()
assert_type(t.expect(Hold(id="1")), Sent[Hold])
t.expect(Hold, where=lambda command: command.id == "1").reject(SoldOut())
t.expect(Pay).reply(Paid(cents=1))
t.expect(Pay).reply(PaidLater(days=1))
t.expect(Free).times_out()
t.expect(Undo[Hold]).reply(Done())
hold.reply_late(Held(shelf=2))
hold.reject_late(SoldOut())
t.expect(Pay).dead_letters(reason="PERMANENT")
t.expect(Pay).refused("barred")
assert_type(t.completed(Asked), Asked)
assert_type(t.compensated(Asked), Asked)
t.completed()
assert_type(t.published(Asked), Asked)
