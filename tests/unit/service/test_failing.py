"""A try failed: when does the next one come, and when is there none?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest

from orchestra.errors import RetryAfter, TransientError
from orchestra.retry import Retry
from orchestra.service.context import Context
from orchestra.service.service import Service
from tests.unit.service.rig import Reserve, Reserved, Rig, SoldOut

pytestmark = pytest.mark.virtual_time


class Tried:
    """A service that fails as a test says, and remembers when it tried."""

    def __init__(self, retry: Retry, error: Callable[[int], Exception | None]) -> None:
        self.service = Service("stock")
        self.times: list[float] = []
        self.attempts: list[int] = []

        @self.service.handles(Reserve, retry=retry)
        async def reserve(command: Reserve, ctx: Context) -> Reserved | SoldOut:
            self.times.append(asyncio.get_running_loop().time())
            self.attempts.append(ctx.attempt)
            if (failure := error(len(self.times))) is not None:
                raise failure
            return Reserved(order_id=command.order_id)

    @property
    def gaps(self) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.times)]


async def test_retry_after_is_never_early_counts_as_a_try_and_may_exceed_the_cap() -> None:
    tried = Tried(Retry(attempts=3, cap="1s"), lambda _: RetryAfter("45s"))
    rig = Rig()
    async with rig.running(tried.service) as process:
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    assert tried.attempts == [1, 2, 3]
    assert tried.gaps == pytest.approx([45, 45], abs=0.001)
    [letter] = rig.letters()
    assert (letter["reason"], letter["attempts"]) == ("TRANSIENT", "3")


async def test_retry_after_that_says_no_time_is_a_broken_contract() -> None:
    tried = Tried(Retry(attempts=3), lambda _: RetryAfter("soon"))
    rig = Rig()
    async with rig.running(tried.service) as process:
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    [letter] = rig.letters()
    assert (letter["reason"], letter["attempts"]) == ("CONTRACT", "1")
    assert "'soon' is not a duration" in letter["error-message"]


async def test_errors_of_the_policy_decide_for_this_handler() -> None:
    tried = Tried(
        Retry(attempts=3, errors={KeyError: "permanent", ZeroDivisionError: "infrastructure"}),
        lambda number: ZeroDivisionError() if number < 9 else KeyError("unknown"),
    )
    rig = Rig()
    async with rig.running(tried.service) as process:
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    assert tried.attempts == [1] * 9
    assert [letter["reason"] for letter in rig.letters()] == ["PERMANENT"]


@pytest.mark.parametrize("error", [TransientError("not yet"), RetryAfter(25)])
async def test_command_that_expires_before_its_next_try_is_a_dead_letter_at_once(error: Exception) -> None:
    tried = Tried(Retry(attempts=9, first="50s", cap="50s"), lambda _: error)
    rig = Rig()
    async with rig.running(tried.service) as process:
        await rig.command(Reserve(order_id="1"), expirytime=rig.clock.now() + timedelta(seconds=20))
        await process.idle()
        elapsed = asyncio.get_running_loop().time()

    assert elapsed < 5
    [letter] = rig.letters()
    assert (letter["reason"], letter["attempts"]) == ("TRANSIENT", "1")
    assert "not tried again: the command expires" in letter["error-stack"]
    assert [answer.type for answer in rig.answers()] == ["orchestra.step.failed.v1"]


async def test_command_is_tried_as_long_as_it_has_not_expired() -> None:
    tried = Tried(Retry(attempts=9, first="16s", factor=1, cap="16s"), lambda _: TransientError("not yet"))
    rig = Rig()
    async with rig.running(tried.service) as process:  # the jitter of the tests is a half: every 8 seconds
        await rig.command(Reserve(order_id="1"), expirytime=rig.clock.now() + timedelta(seconds=20))
        await process.idle()

    assert tried.attempts == [1, 2, 3]
    assert len(rig.letters()) == 1


async def test_compensation_without_expiry_is_tried_to_the_end() -> None:
    tried = Tried(Retry(attempts=4, first="1h", cap="1h"), lambda _: TransientError("not yet"))
    rig = Rig()
    async with rig.running(tried.service) as process:
        await rig.command(Reserve(order_id="1"), phase="undo")
        await process.idle()

    assert tried.attempts == [1, 2, 3, 4]
