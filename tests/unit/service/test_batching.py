"""Batch handlers: by size or time, in order per partition, failures per record, divided to find the poison."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestra.errors import PermanentError, TransientError
from orchestra.events.envelope import Envelope
from orchestra.ids import derived_id
from orchestra.retry import Retry
from orchestra.service.batch import Batch
from orchestra.service.batch_context import BatchContext
from orchestra.service.service import Service
from orchestra.transport.port import Outgoing
from tests.unit.service.rig import Placed, Rig, Watched, until

pytestmark = pytest.mark.virtual_time


class Batches:
    """A service with one batch handler, which notes what it is called with and does what it is told to."""

    def __init__(self, batch: Batch | None = None, **options: Any) -> None:
        self.service = Service("stock")
        self.seen: list[list[str]] = []
        self.times: list[float] = []
        self.contexts: list[BatchContext] = []
        self.do: Any = None

        @self.service.on(Placed, batch=batch or Batch(size=3, within="1s"), **options)
        async def store(events: list[Placed], ctx: BatchContext) -> None:
            self.seen.append([event.order_id for event in events])
            self.times.append(asyncio.get_running_loop().time())
            self.contexts.append(ctx)
            if self.do is not None:
                await self.do(events, ctx)


def orders(*numbers: int) -> list[Placed]:
    return [Placed(order_id=str(number)) for number in numbers]


async def handled(rig: Rig, process: Any, count: int) -> None:
    await until(lambda: process.runtime.statistics().handled >= count)
    await asyncio.sleep(1)


async def test_full_batch_is_handled_at_once_and_the_rest_when_it_has_waited() -> None:
    rig, batches = Rig(partitions=1), Batches()
    async with rig.running(batches.service) as process:
        start = asyncio.get_running_loop().time()
        await rig.send(*orders(1, 2, 3, 4, 5))
        await handled(rig, process, 5)

    assert batches.seen == [["1", "2", "3"], ["4", "5"]]
    assert batches.times[0] - start < 0.5
    assert batches.times[1] - start == pytest.approx(1.0, abs=0.3)
    assert rig.lag("shop.orders") == 0
    assert rig.letters() == []


async def test_events_of_two_partitions_are_two_batches_each_in_order() -> None:
    rig, batches = Rig(partitions=2), Batches(Batch(size=100, within="1s"))
    async with rig.running(batches.service) as process:
        await rig.send(*orders(*range(40)))
        await handled(rig, process, 40)

    assert len(batches.seen) == 2
    for seen in batches.seen:
        assert seen == sorted(seen, key=int)
    assert sorted(int(number) for seen in batches.seen for number in seen) == list(range(40))


async def test_next_batch_of_a_partition_waits_for_the_one_before() -> None:
    rig, batches = Rig(partitions=1), Batches()
    busy = 0

    async def slow(events: list[Placed], ctx: BatchContext) -> None:
        nonlocal busy
        busy += 1
        assert busy == 1
        await asyncio.sleep(5)
        busy -= 1

    batches.do = slow
    async with rig.running(batches.service) as process:
        await rig.send(*orders(*range(9)))
        await handled(rig, process, 9)

    assert [len(seen) for seen in batches.seen] == [3, 3, 3]


async def test_event_that_the_handler_fails_is_a_dead_letter_and_the_others_are_done() -> None:
    rig, batches = Rig(partitions=1), Batches()

    async def fail_one(events: list[Placed], ctx: BatchContext) -> None:
        ctx.publish(Watched(order_id="of the failed"), of=events[1])
        ctx.publish(Watched(order_id="of the good"), of=events[2])
        ctx.fail(events[1], PermanentError("no such order"))

    batches.do = fail_one
    async with rig.running(batches.service) as process:
        await rig.send(*orders(1, 2, 3))
        await handled(rig, process, 3)

    [letter] = rig.letters()
    assert (letter["reason"], letter["error-message"], letter["handler"]) == (
        "PERMANENT",
        "no such order",
        "stock.store",
    )
    assert [record.key for record in rig.records("stock.dead-letters")] == [b"2"]
    assert batches.seen == [["1", "2", "3"]]
    assert [event.value(Watched).order_id for event in rig.events("stock.watched")] == ["of the good"]
    assert rig.lag("shop.orders") == 0


async def test_event_that_failed_for_now_is_tried_again_alone_before_the_next_batch() -> None:
    rig, batches = Rig(partitions=1), Batches(retry=Retry(attempts=3, first="10s"))

    async def fail_first(events: list[Placed], ctx: BatchContext) -> None:
        if ctx.attempt < 3 and events[0].order_id in ("1", "2"):
            ctx.fail(len(events) // 2, TransientError("not yet"))

    batches.do = fail_first
    async with rig.running(batches.service) as process:
        await rig.send(*orders(1, 2, 3, 4, 5, 6))
        await handled(rig, process, 6)

    assert batches.seen == [["1", "2", "3"], ["2"], ["2"], ["4", "5", "6"]]
    assert [context.attempt for context in batches.contexts] == [1, 2, 3, 1]
    assert rig.letters() == []


async def test_event_that_waits_for_its_next_try_is_not_committed_and_comes_again_after_a_crash() -> None:
    rig, batches = Rig(partitions=1), Batches(retry=Retry(attempts=3, first="1h", cap="1h"))

    async def fail_second(events: list[Placed], ctx: BatchContext) -> None:
        if len(batches.seen) == 1:
            ctx.fail(1, TransientError("not yet"))

    batches.do = fail_second
    process = rig.process(batches.service)
    await process.start()
    await rig.send(*orders(1, 2, 3))
    await until(lambda: process.runtime.statistics().handled == 2)
    await asyncio.sleep(10)
    await process.crash()
    async with rig.running(batches.service) as process:
        await handled(rig, process, 1)

    assert batches.seen == [["1", "2", "3"], ["2"]]
    assert rig.lag("shop.orders") == 0


async def test_batch_that_raises_is_tried_again_as_a_whole_as_its_policy_says() -> None:
    rig, batches = Rig(partitions=1), Batches(retry=Retry(attempts=3, first="1s"))

    async def flaky(events: list[Placed], ctx: BatchContext) -> None:
        if ctx.attempt < 3:
            raise TransientError("not yet")

    batches.do = flaky
    async with rig.running(batches.service) as process:
        await rig.send(*orders(1, 2, 3))
        await handled(rig, process, 3)

    assert batches.seen == [["1", "2", "3"]] * 3
    assert process.runtime.statistics().retries == 2
    assert rig.letters() == []


async def test_batch_with_a_poison_is_divided_and_only_the_poison_is_dead_lettered() -> None:
    rig, batches = Rig(partitions=1), Batches(retry=Retry(attempts=2, first="1s"))

    async def poisoned(events: list[Placed], ctx: BatchContext) -> None:
        if any(event.order_id == "2" for event in events):
            raise ValueError("poison")

    batches.do = poisoned
    async with rig.running(batches.service) as process:
        await rig.send(*orders(1, 2, 3, 4))
        await handled(rig, process, 4)

    assert batches.seen == [["1", "2", "3"], ["1", "2", "3"], ["1"], ["2"], ["2"], ["3"], ["4"]]
    [letter] = rig.letters()
    assert (letter["reason"], letter["attempts"]) == ("TRANSIENT", "2")
    assert rig.lag("shop.orders") == 0


async def test_permanent_error_divides_a_batch_at_once() -> None:
    rig, batches = Rig(partitions=1), Batches(retry=Retry(attempts=5))

    async def poisoned(events: list[Placed], ctx: BatchContext) -> None:
        if any(event.order_id == "2" for event in events):
            raise PermanentError("never")

    batches.do = poisoned
    async with rig.running(batches.service) as process:
        await rig.send(*orders(1, 2, 3))
        await handled(rig, process, 3)

    assert batches.seen == [["1", "2", "3"], ["1"], ["2"], ["3"]]
    assert [letter["reason"] for letter in rig.letters()] == ["PERMANENT"]


async def test_dependency_that_is_down_burns_no_attempt_of_a_batch() -> None:
    rig, batches = Rig(partitions=1), Batches(retry=Retry(attempts=1))

    async def down(events: list[Placed], ctx: BatchContext) -> None:
        if len(batches.seen) < 20:
            raise ConnectionError("down")

    batches.do = down
    async with rig.running(batches.service) as process:
        await rig.send(*orders(1, 2, 3))
        await handled(rig, process, 3)

    assert batches.seen == [["1", "2", "3"]] * 20
    assert batches.contexts[-1].attempt == 1
    assert rig.letters() == []


async def test_batch_that_runs_out_of_time_is_a_failure_of_the_batch() -> None:
    rig, batches = Rig(partitions=1), Batches(retry=Retry(attempts=1), timeout="1s")

    async def stuck(events: list[Placed], ctx: BatchContext) -> None:
        assert ctx.deadline is not None
        if any(event.order_id == "2" for event in events):
            await asyncio.sleep(3600)

    batches.do = stuck
    async with rig.running(batches.service) as process:
        await rig.send(*orders(1, 2, 3))
        await handled(rig, process, 3)

    assert batches.seen == [["1", "2", "3"], ["1"], ["2"], ["3"]]
    assert [letter["reason"] for letter in rig.letters()] == ["TIMEOUT"]


async def test_batch_whose_handler_ignores_its_cancellation_is_divided_and_the_stuck_event_given_up() -> None:
    rig, batches = Rig(partitions=1), Batches(retry=Retry(attempts=1), timeout="1s")
    release = asyncio.Event()

    async def stubborn(events: list[Placed], ctx: BatchContext) -> None:
        while any(event.order_id == "2" for event in events) and not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    batches.do = stubborn
    async with rig.running(batches.service, grace=2.0) as process:
        await rig.send(*orders(1, 2, 3, 4))
        await handled(rig, process, 4)
        assert process.runtime.statistics().abandoned == 2
        release.set()
        await asyncio.sleep(1)

    assert batches.seen == [["1", "2", "3"], ["1"], ["2"], ["3"], ["4"]]
    assert [letter["reason"] for letter in rig.letters()] == ["TIMEOUT"]
    assert rig.lag("shop.orders") == 0


async def test_handler_that_was_given_up_with_its_batch_and_ends_later_disturbs_nothing() -> None:
    rig, batches = Rig(partitions=1), Batches(retry=Retry(attempts=1), timeout="1s")
    release = asyncio.Event()

    async def stubborn(events: list[Placed], ctx: BatchContext) -> None:
        if len(events) == 1:
            release.set()
            await asyncio.sleep(0.5)
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    batches.do = stubborn
    async with rig.running(batches.service, grace=2.0) as process:
        await rig.send(*orders(1, 2, 3))
        await handled(rig, process, 3)

    assert batches.seen == [["1", "2", "3"], ["1"], ["2"], ["3"]]
    assert rig.letters() == []
    assert rig.lag("shop.orders") == 0


async def test_batch_waits_unbegun_while_what_it_needs_is_down() -> None:
    rig, service = Rig(partitions=4), Service("stock")
    calls: list[float] = []

    @service.on(Placed, batch=Batch(size=5, within="1s"))
    async def store(events: list[Placed]) -> None:
        calls.append(asyncio.get_running_loop().time())
        if calls[-1] < 60:
            raise ConnectionError("down")

    async with rig.running(service) as process:
        await rig.send(*orders(*range(200)))
        await until(lambda: process.runtime.statistics().handled == 200, timeout=600)

    assert len([call for call in calls if call < 60]) < 40  # probes, not four partitions each for itself
    assert process.runtime.statistics().retries == 0
    assert rig.letters() == []


# ---- what is in a batch


async def test_record_that_is_no_event_and_data_that_is_wrong_are_dead_letters_of_their_own() -> None:
    rig, batches = Rig(partitions=1), Batches()
    async with rig.running(batches.service) as process:
        await rig.send(Placed(order_id="1"))
        await rig.put(Outgoing("shop.orders", b"k", b"nonsense", []))
        wrong = rig.event(Placed(order_id="x")).evolve(data=b'{"order_id": []}')
        await rig.put(rig.outgoing(wrong, Placed(order_id="x")))
        await rig.send(Placed(order_id="2"))
        await handled(rig, process, 3)

    assert batches.seen == [["1", "2"]]
    assert [letter["reason"] for letter in rig.letters()] == ["DECODE", "DECODE"]
    assert rig.lag("shop.orders") == 0


async def test_event_that_no_batch_wants_is_skipped_and_holds_nothing_up() -> None:
    rig, batches = Rig(partitions=1), Batches(Batch(size=2, within="1h"))
    async with rig.running(batches.service) as process:
        other = rig.event(Placed(order_id="x")).evolve(type="shop.unknown.v1")
        await rig.put(rig.outgoing(other, Placed(order_id="x")))
        await rig.send(*orders(1, 2))
        await until(lambda: process.runtime.statistics().handled == 2)
        await asyncio.sleep(10)
        assert rig.lag("shop.orders") == 0

    assert batches.seen == [["1", "2"]]
    assert process.runtime.statistics().skipped == 1


async def test_two_batch_handlers_of_one_event_are_isolated_and_the_record_is_done_after_both() -> None:
    service, rig = Service("stock"), Rig(partitions=1)
    seen: dict[str, list[int]] = {"fast": [], "slow": []}

    @service.on(Placed, batch=Batch(size=2, within="1s"))
    async def fast(events: list[Placed]) -> None:
        seen["fast"].append(len(events))

    @service.on(Placed, batch=Batch(size=4, within="1s"), retry=Retry(attempts=2, first="10s"))
    async def slow(events: list[Placed], ctx: BatchContext) -> None:
        if ctx.attempt == 1:
            raise TransientError("not yet")
        seen["slow"].append(len(events))

    async with rig.running(service) as process:
        await rig.send(*orders(1, 2, 3, 4))
        await until(lambda: seen["fast"] == [2, 2])
        await asyncio.sleep(2)
        assert rig.lag("shop.orders") == 4
        await handled(rig, process, 4)

    assert seen == {"fast": [2, 2], "slow": [4]}
    assert rig.lag("shop.orders") == 0


async def test_batch_of_raw_envelopes_is_not_decoded_and_filters_decide_first() -> None:
    service, rig = Service("stock"), Rig(partitions=1)
    seen: list[list[str | None]] = []

    @service.on(Placed, batch=Batch(size=10, within="1s"), where={"region": "eu"})
    async def raw(events: list[Envelope], ctx: BatchContext) -> None:
        seen.append([event.get("region") for event in events])

    async with rig.running(service) as process:
        for region in ("eu", "us", "eu"):
            event = rig.event(Placed(order_id="1"), region=region).evolve(data=b"no json")
            await rig.put(rig.outgoing(event, Placed(order_id="1")))
        await handled(rig, process, 2)

    assert seen == [["eu", "eu"]]
    assert rig.letters() == []


async def test_effect_ids_and_emitted_ids_repeat_in_whatever_batch_the_event_comes() -> None:
    rig, batches = Rig(partitions=1), Batches(Batch(size=2, within="1s"))
    effects: list[str] = []

    async def emit(events: list[Placed], ctx: BatchContext) -> None:
        for place, event in enumerate(events):
            effects.append(ctx.effect_id(event))
            assert ctx.effect_id(place) == effects[-1]
            ctx.publish(Watched(order_id=event.order_id), of=event)

    batches.do = emit
    async with rig.running(batches.service) as process:
        first, second = await rig.send(*orders(1, 2))
        await handled(rig, process, 2)
        await rig.put(rig.outgoing(second, Placed(order_id="2")))
        await handled(rig, process, 3)

    assert batches.seen == [["1", "2"], ["2"]]
    assert effects == [derived_id("/test", event.id, "stock.store") for event in (first, second, second)]
    emitted = rig.events("stock.watched")
    ids = {event.id for event in emitted}
    assert ids == {derived_id(effect, "stock.store", 0) for effect in effects}
    assert {event.get("causationid") for event in emitted} == {first.id, second.id}


async def test_plain_mistakes_with_the_context_are_broken_contracts() -> None:
    rig, batches = Rig(partitions=1), Batches(Batch(size=1), retry=Retry(attempts=5))

    async def mistaken(events: list[Placed], ctx: BatchContext) -> None:
        if events[0].order_id == "1":
            ctx.fail(Placed(order_id="1"), PermanentError("equal, and not the same"))
        else:
            ctx.fail(7, PermanentError("no such place"))

    batches.do = mistaken
    async with rig.running(batches.service) as process:
        await rig.send(*orders(1, 2))
        await handled(rig, process, 2)

    assert [letter["reason"] for letter in rig.letters()] == ["CONTRACT", "CONTRACT"]
    assert "is not of this batch" in rig.letters()[0]["error-message"]
    assert "there is no event 7 in this batch of 1" in rig.letters()[1]["error-message"]


# ---- waiting costs nothing


async def test_waiting_for_a_batch_occupies_no_worker_and_holds_up_no_stop() -> None:
    rig, batches = Rig(partitions=4), Batches(Batch(size=100, within="1h"))
    async with rig.running(batches.service) as process:
        await rig.send(*orders(*range(20)))
        await asyncio.sleep(10)
        statistics = process.runtime.statistics()
        assert (statistics.queued, statistics.workers) == (20, 0)
        before = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - before < 1

    assert batches.seen == []
    assert rig.lag("shop.orders") == 20


async def test_what_waits_for_its_batch_at_a_stop_is_handled_by_the_next_process() -> None:
    rig, batches = Rig(partitions=1), Batches(Batch(size=3, within="1h"))
    async with rig.running(batches.service) as process:
        await rig.send(*orders(1, 2, 3, 4))
        await handled(rig, process, 3)
    async with rig.running(batches.service) as process:
        await rig.send(*orders(5, 6))
        await handled(rig, process, 3)

    assert batches.seen == [["1", "2", "3"], ["4", "5", "6"]]


async def test_batch_larger_than_the_queue_of_a_service_fills_all_the_same() -> None:
    rig = Rig(partitions=1)
    service = Service("stock", max_in_flight=4)
    sizes: list[int] = []

    @service.on(Placed, batch=Batch(size=500, within="1h"))
    async def store(events: list[Placed]) -> None:
        sizes.append(len(events))

    async with rig.running(service) as process:
        await rig.send(*orders(*range(1000)))
        await handled(rig, process, 1000)

    assert sizes == [500, 500]


async def test_batch_that_a_whole_window_waits_behind_waits_for_no_more_and_its_poison_is_made_to_leave() -> None:
    rig = Rig(partitions=1)
    service = Service("stock")
    seen: list[list[str]] = []

    @service.on(
        Placed,
        batch=Batch(size=100, within="10h"),
        where={"region": "eu"},
        retry=Retry(attempts=1_000, first="10h", cap="10h"),
    )
    async def store(events: list[Placed]) -> None:
        seen.append([event.order_id for event in events])
        if "stuck" in seen[-1]:
            raise TransientError("not yet")

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="good"), Placed(order_id="stuck"), region="eu")
        for _ in range(25):
            await rig.send(*orders(*range(1_000)))
        await until(lambda: process.runtime.statistics().skipped == 25_000, timeout=600)

    assert seen == [["good", "stuck"], ["good"], ["stuck"]]
    assert [letter["reason"] for letter in rig.letters()] == ["HEAD_OF_LINE"]
    assert rig.lag("shop.orders") == 0


async def test_batch_is_redelivered_whole_when_its_process_dies_in_the_handler() -> None:
    rig, batches = Rig(partitions=1), Batches()
    asleep = asyncio.Event()

    async def die(events: list[Placed], ctx: BatchContext) -> None:
        asleep.set()
        if len(batches.seen) == 1:
            await asyncio.sleep(3600)

    batches.do = die
    process = rig.process(batches.service)
    await process.start()
    await rig.send(*orders(1, 2, 3))
    await asleep.wait()
    await process.crash()
    async with rig.running(batches.service) as process:
        await handled(rig, process, 3)

    assert batches.seen == [["1", "2", "3"]] * 2
    assert rig.lag("shop.orders") == 0


async def test_record_that_kills_its_process_is_found_among_batches_and_nothing_else_is_blamed() -> None:
    rig = Rig(partitions=2)
    handled_: set[str] = set()
    died = asyncio.Event()

    def service() -> Service:
        stock = Service("stock")

        @stock.on(Placed, batch=Batch(size=20, within="100ms"))
        async def store(events: list[Placed]) -> None:
            if any(event.order_id == "41" for event in events):
                died.set()
                await asyncio.Event().wait()
            handled_.update(event.order_id for event in events)

        return stock

    for start in range(12):
        died.clear()
        process = rig.process(service())
        await process.start()
        if not start:
            await rig.send(*orders(*range(100)))
        ends = asyncio.create_task(until(lambda: rig.lag("shop.orders") == 0, timeout=600))
        dies = asyncio.create_task(died.wait())
        await asyncio.wait({ends, dies}, return_when=asyncio.FIRST_COMPLETED)
        dies.cancel()
        if ends.done():
            await process.stop()
            break
        ends.cancel()
        await process.crash()

    assert [letter["reason"] for letter in rig.letters()] == ["CRASH_LOOP"]
    assert [record.key for record in rig.records("stock.dead-letters")] == [b"41"]
    assert handled_ == {str(number) for number in range(100)} - {"41"}
    assert start <= 8
