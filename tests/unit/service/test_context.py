"""Services without a database need no SQLAlchemy, and who asks for the ledger without it is told what to install."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_SQL = """
import sys
sys.modules["sqlalchemy"] = sys.modules["aiosqlite"] = None

from orchestra.clock import SystemClock
from orchestra.events.envelope import Envelope
from orchestra.events.message import Event, Key
from orchestra.service.context import Context, Site
from orchestra.service.retry import Course, course_of
import orchestra.service.runtime
from orchestra.transport.port import Record

class Placed(Event, type="shop.placed.v1", topic="shop.orders"):
    order_id: Key[str]

context = Context(
    Envelope("1", "/x", "t"),
    Record("t", 0, 0, 0, None, None),
    Site("h", is_command=False, types={}, clock=SystemClock()),
)
assert course_of(ValueError())[0] is Course.TRY_AGAIN
try:
    context.effect(None, Placed(order_id="1"))
except ImportError as error:
    print(error)
"""


def test_ledger_without_sqlalchemy_says_what_to_install() -> None:
    ran = subprocess.run([sys.executable, "-c", WITHOUT_SQL], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "the effect ledger and the outbox need the extra: pip install 'orchestra[sql]'"
