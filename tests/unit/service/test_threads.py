"""Plain functions: in a bounded pool of threads, never two tries of one record at once, given up when they stick.

These run in real time: virtual time jumps ahead of threads.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from orchestra.errors import DefinitionError, TransientError
from orchestra.events.envelope import Envelope
from orchestra.retry import Retry
from orchestra.service.batch import Batch
from orchestra.service.batch_context import BatchContext
from orchestra.service.context import Context
from orchestra.service.middleware import Call
from orchestra.service.service import Service
from orchestra.service.threads import Threads
from tests.unit.service.rig import Placed, Reserve, Reserved, Rig, SoldOut, Watched, until

SEEN: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="")


class Stop:
    """An event that threads wait for, and that is set in the end, whatever happens."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.running = 0
        self.most = 0
        self._lock = threading.Lock()

    def wait(self) -> None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.event.wait(20)
        with self._lock:
            self.running -= 1


@pytest.fixture
def stop() -> Iterator[Stop]:
    stop = Stop()
    yield stop
    stop.event.set()


async def attempt(threads: Threads, function: Any, *arguments: Any, **named: Any) -> Any:
    reservation = await threads.reserve()
    try:
        return await threads.run(function, *arguments, **named)
    finally:
        reservation.leave()


# ---- the pool


async def test_function_runs_in_a_thread_with_the_callers_context_variables() -> None:
    threads = Threads(2, "stock")
    SEEN.set("by the caller")

    def look(number: int, *, more: int) -> tuple[str, str, int]:
        seen = SEEN.get()
        SEEN.set("by the function")
        return seen, threading.current_thread().name, number + more

    assert await attempt(threads, look, 1, more=2) == ("by the caller", "orchestra-stock-1", 3)
    assert SEEN.get() == "by the caller"
    threads.aclose()


async def test_no_more_than_the_limit_run_at_once_and_threads_are_used_again(stop: Stop) -> None:
    threads = Threads(3, "pooled")
    calls = [asyncio.create_task(attempt(threads, stop.wait)) for _ in range(9)]
    await until(lambda: stop.running == 3)
    stop.event.set()
    await asyncio.gather(*calls)

    assert stop.most == 3
    assert sum(thread.name.startswith("orchestra-pooled") for thread in threading.enumerate()) == 3
    threads.aclose()
    await until(lambda: not any(thread.name.startswith("orchestra-pooled") for thread in threading.enumerate()))


async def test_error_of_the_function_is_the_callers() -> None:
    threads = Threads(1, "stock")

    def raising(error: BaseException) -> None:
        raise error

    with pytest.raises(ValueError, match="no luck"):
        await attempt(threads, raising, ValueError("no luck"))
    for unusual in (StopIteration(), SystemExit(3)):
        with pytest.raises(RuntimeError, match=f"the function raised {type(unusual).__name__}"):
            await attempt(threads, raising, unusual)
    threads.aclose()


async def test_function_that_returns_a_coroutine_is_a_mistake() -> None:
    threads = Threads(1, "stock")

    async def hidden() -> None: ...

    with pytest.raises(DefinitionError, match="write async def"):
        await attempt(threads, partial(hidden))
    threads.aclose()


async def test_call_that_is_cancelled_while_it_runs_is_waited_for_and_its_result_counts(stop: Stop) -> None:
    threads = Threads(1, "stock")
    call = asyncio.create_task(attempt(threads, lambda: stop.wait() or "done"))
    await until(lambda: stop.running == 1)
    call.cancel()
    await asyncio.sleep(0.01)
    assert not call.done()
    stop.event.set()

    assert await call == "done"
    threads.aclose()


async def test_call_that_is_cancelled_twice_is_lost_and_its_thread_comes_back_in_the_end(stop: Stop) -> None:
    threads = Threads(1, "stock")
    call = asyncio.create_task(attempt(threads, stop.wait))
    await until(lambda: stop.running == 1)
    for _ in range(2):
        call.cancel()
        await asyncio.sleep(0.01)

    assert call.cancelled()
    assert threads.lost == 1
    assert await attempt(threads, lambda: "beside it") == "beside it"
    stop.event.set()
    await until(lambda: threads.lost == 0)
    threads.aclose()


async def test_threads_that_are_lost_are_replaced_as_often_as_there_are_threads_and_no_more(stop: Stop) -> None:
    threads = Threads(2, "stock")
    for number in range(4):
        call = asyncio.create_task(attempt(threads, stop.wait))
        await until(lambda wanted=number + 1: stop.running == wanted)
        threads.give_up(call)
        for _ in range(2):
            call.cancel()
            await asyncio.sleep(0)
        with suppress(asyncio.CancelledError):
            await call
    assert threads.lost == 4

    waiting = asyncio.create_task(attempt(threads, lambda: "in the end"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    stop.event.set()
    assert await waiting == "in the end"
    threads.aclose()


async def test_who_waits_for_a_thread_and_is_cancelled_ends_at_once_and_takes_no_place(stop: Stop) -> None:
    threads = Threads(1, "stock")
    first = asyncio.create_task(attempt(threads, stop.wait))
    second = asyncio.create_task(attempt(threads, lambda: "second"))
    third = asyncio.create_task(attempt(threads, lambda: "third"))
    await until(lambda: stop.running == 1)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    stop.event.set()
    await first

    assert await third == "third"
    threads.aclose()


async def test_place_that_came_to_somebody_cancelled_goes_to_the_next() -> None:
    threads = Threads(1, "stock")
    place = await threads.reserve()
    second = asyncio.create_task(attempt(threads, lambda: "second"))
    third = asyncio.create_task(attempt(threads, lambda: "third"))
    await asyncio.sleep(0)
    place.leave()
    second.cancel()  # it was woken, and does not know it yet

    assert await third == "third"
    threads.aclose()


# ---- plain functions as handlers


async def test_plain_function_answers_commands_and_emits_as_a_coroutine_does() -> None:
    service, rig = Service("stock", threads=2), Rig()
    names: set[str] = set()

    class Stock: ...

    @service.resource
    async def stock() -> AsyncIterator[Stock]:
        yield Stock()

    @service.handles(Reserve)
    def reserve(command: Reserve, ctx: Context, stock: Stock) -> Reserved | SoldOut:
        names.add(threading.current_thread().name)
        assert ctx.deadline is not None
        assert isinstance(stock, Stock)
        ctx.log.info("in a thread")
        ctx.publish(Watched(order_id="published"))
        return Reserved(order_id=command.order_id)

    @service.on(Placed)
    def watch(event: Placed) -> list[Watched]:
        return [Watched(order_id=event.order_id)]

    async with rig.running(service) as process:
        await rig.command(Reserve(order_id="1"))
        await rig.send(Placed(order_id="2"))
        await until(lambda: process.runtime.statistics().handled == 2)

    assert [answer.type for answer in rig.answers()] == ["stock.reserved.v1"]
    assert {event.value(Watched).order_id for event in rig.events("stock.watched")} == {"published", "2"}
    assert all(name.startswith("orchestra-stock-") for name in names)
    assert rig.lag("stock.commands", "shop.orders") == 0


async def test_plain_function_that_fails_is_tried_again_and_its_try_is_told() -> None:
    service, rig = Service("stock"), Rig()
    attempts: list[int] = []

    @service.on(Placed, retry=Retry(attempts=3, first="1ms"))
    def flaky(event: Placed, ctx: Context) -> None:
        attempts.append(ctx.attempt)
        raise TransientError("not yet")

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await until(lambda: process.runtime.statistics().handled == 1)

    assert attempts == [1, 2, 3]


async def test_plain_function_that_goes_on_after_its_timeout_is_given_up_and_the_key_goes_on(stop: Stop) -> None:
    service, rig = Service("stock", threads=1), Rig()
    seen: list[str] = []

    @service.on(Placed, timeout="100ms", retry=Retry(attempts=5, first="1ms"))
    def stuck(event: Placed) -> None:
        seen.append(event.note)
        if event.note == "stuck":
            stop.wait()

    async with rig.running(service, grace=0.2) as process:
        await rig.send(Placed(order_id="1", note="stuck"), Placed(order_id="1", note="next"))
        await until(lambda: process.runtime.statistics().handled == 2)
        statistics = process.runtime.statistics()
        assert (statistics.abandoned, statistics.lost_threads) == (1, 1)
        stop.event.set()
        await until(lambda: process.runtime.statistics().lost_threads == 0)

    assert seen == ["stuck", "next"]
    assert [letter["reason"] for letter in rig.letters()] == ["TIMEOUT"]
    assert rig.lag("shop.orders") == 0


async def test_waiting_for_a_thread_is_no_part_of_the_timeout_and_burns_no_attempt(stop: Stop) -> None:
    service, rig = Service("stock", threads=1), Rig()

    @service.on(Placed, timeout="300ms", retry=Retry(attempts=1))
    def slow(event: Placed) -> None:
        threading.Event().wait(0.1)

    async with rig.running(service) as process:
        await rig.send(*(Placed(order_id=str(number)) for number in range(8)))
        await until(lambda: process.runtime.statistics().handled == 8)

    assert rig.letters() == []
    assert process.runtime.statistics().retries == 0


async def test_stop_lets_a_running_function_end_and_begins_none_that_waits(stop: Stop) -> None:
    service, rig = Service("stock", threads=1), Rig()
    seen: list[str] = []

    @service.on(Placed)
    def slow(event: Placed) -> None:
        seen.append(event.order_id)
        stop.wait()

    process = rig.process(service)
    await process.start()
    await rig.send(*(Placed(order_id=str(number)) for number in range(5)))
    await until(lambda: stop.running == 1)
    asyncio.get_running_loop().call_later(0.6, stop.event.set)
    await process.stop()

    assert len(seen) == 1
    assert rig.lag("shop.orders") == 4


async def test_stop_waits_for_what_goes_on_around_a_plain_function() -> None:
    service, rig = Service("stock"), Rig()
    ended: list[str] = []
    begun = asyncio.Event()

    @service.middleware
    async def slow(call: Call, event: Any, ctx: Context) -> Any:
        returned = await call(event, ctx)
        begun.set()
        await asyncio.sleep(0.5)
        ended.append(event.order_id)
        return returned

    @service.on(Placed)
    def placed(event: Placed) -> None: ...

    process = rig.process(service)
    await process.start()
    await rig.send(Placed(order_id="1"))
    await begun.wait()
    await process.stop()

    assert ended == ["1"]
    assert rig.lag("shop.orders") == 0


async def test_plain_function_cannot_enter_an_effect() -> None:
    service, rig = Service("stock"), Rig()

    @service.on(Placed)
    def watch(event: Placed, ctx: Context) -> None:
        ctx.effect(None, event)  # type: ignore[call-overload]

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await until(lambda: process.runtime.statistics().handled == 1)

    [letter] = rig.letters()
    assert letter["reason"] == "CONTRACT"
    assert "to use ctx.effect, write async def" in letter["error-message"]


async def test_plain_function_takes_batches_and_raw_envelopes() -> None:
    service, rig = Service("stock"), Rig(partitions=1)
    seen: list[tuple[int, str]] = []

    @service.on(Placed, batch=Batch(size=2, within="1s"))
    def store(events: list[Envelope], ctx: BatchContext) -> None:
        assert ctx.deadline is not None
        seen.append((len(events), threading.current_thread().name))

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"), Placed(order_id="2"))
        await until(lambda: process.runtime.statistics().handled == 2)

    assert seen == [(2, "orchestra-stock-1")]
