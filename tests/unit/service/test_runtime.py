"""A service from start to drained stop: commits, rebalances, crashes, back-pressure, shutdown."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from orchestra.errors import DefinitionError, OffsetLostError, TopicError, TransientError, UnreachableError
from orchestra.retry import Retry
from orchestra.service.context import Context
from orchestra.service.offsets import read_place
from orchestra.service.runtime import ServiceRuntime
from orchestra.service.service import Service
from orchestra.transport.memory import MemoryTransport
from orchestra.transport.partitioner import partition_for
from orchestra.transport.port import Outgoing, Partition, TopicSpec
from tests.unit.service.rig import Placed, Reserve, Reserved, Rig, until

pytestmark = pytest.mark.virtual_time


class Work:
    """A service whose handler takes as long as the record's note says, and what it did."""

    def __init__(self, **options: int) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.cancelled: list[str] = []
        self.service = Service("stock", **options)

        @self.service.on(Placed)
        async def placed(event: Placed) -> None:
            self.begun.append(event.order_id)
            try:
                if event.note:
                    await asyncio.sleep(float(event.note))
            except asyncio.CancelledError:
                self.cancelled.append(event.order_id)
                raise
            self.ended.append(event.order_id)


def orders(count: int, note: str = "", prefix: str = "") -> list[Placed]:
    return [Placed(order_id=f"{prefix}{number}", note=note) for number in range(count)]


# ---- commits


async def test_place_is_committed_within_a_second_of_being_done() -> None:
    rig, work = Rig(), Work()
    async with rig.running(work.service):
        await rig.send(*orders(20))
        await asyncio.sleep(1.2)
        assert rig.lag("shop.orders") == 0


async def test_thousand_records_are_committed_without_waiting_for_the_second() -> None:
    rig, work = Rig(partitions=1), Work()
    async with rig.running(work.service):
        await rig.send(*orders(2000))
        await until(lambda: rig.committed().get(Partition("shop.orders", 0), 0) >= 1000, timeout=0.5)


async def test_commit_stops_below_a_slow_record_and_remembers_what_is_done_above_it() -> None:
    rig, work = Rig(partitions=1), Work()
    first = rig.process(work.service)
    await first.start()
    await rig.send(Placed(order_id="slow", note="3600"), *orders(5))
    await asyncio.sleep(3)

    stored = rig.cluster.group("stock").committed[Partition("shop.orders", 0)]
    assert stored.offset == 0
    assert read_place(stored.offset, stored.metadata).done == {1, 2, 3, 4, 5}
    await first.crash()

    async with rig.running(work.service):  # the next owner handles the slow one again, and nothing else
        await until(lambda: len(work.begun) > 6, timeout=120)
        await asyncio.sleep(5)
    assert Counter(work.begun) == {"slow": 2, **{str(n): 1 for n in range(5)}}


async def test_lag_goes_to_zero_behind_offsets_that_hold_no_record() -> None:
    rig, work = Rig(partitions=1), Work()
    rig.cluster.create(TopicSpec("shop.orders", config={"cleanup.policy": "compact"}))
    await rig.send(*(Placed(order_id="same") for _ in range(5)), Placed(order_id="last"))
    rig.cluster.compact("shop.orders")
    async with rig.running(work.service) as process:
        await process.idle()
        await asyncio.sleep(1.5)
        assert rig.committed()[Partition("shop.orders", 0)] == 6


async def test_commit_that_is_not_answered_is_tried_again_and_stops_nothing() -> None:
    rig, work = Rig(request_timeout=2.0), Work()
    async with rig.running(work.service) as process:
        await rig.send(*orders(5))
        rig.cluster.fail_commits = 2
        await asyncio.sleep(8)
        await rig.send(*orders(5, prefix="more-"))
        await asyncio.sleep(4)
        assert len(work.ended) == 10
        assert rig.lag("shop.orders") == 0
        assert process.runtime.statistics().commit_failures == 2


async def test_offset_is_not_committed_before_its_record_is_done_when_the_process_crashes() -> None:
    rig, work = Rig(), Work()
    first = rig.process(work.service)
    await first.start()
    await rig.send(*orders(8, note="3600"))
    await asyncio.sleep(5)
    await first.crash()
    assert rig.lag("shop.orders") == 8

    async with rig.running(work.service):
        await until(lambda: len(work.begun) == 16, timeout=120)


# ---- rebalances


async def test_rebalance_waits_for_what_is_under_way_and_hands_over_the_rest() -> None:
    rig, work = Rig(), Work(max_in_flight=4)
    async with rig.running(work.service) as first:
        await rig.send(*orders(40, note="2"))
        await until(lambda: len(work.begun) >= 4)
        async with rig.running(work.service) as second:
            await until(lambda: len(work.ended) == 40, timeout=300)
            assert first.runtime.statistics().handled + second.runtime.statistics().handled == 40
            assert second.runtime.statistics().handled > 0
    assert Counter(work.begun) == Counter({str(n): 1 for n in range(40)})
    assert rig.lag("shop.orders") == 0


async def test_handler_that_outlasts_the_drain_is_cancelled_and_its_record_handled_again() -> None:
    rig, work = Rig(drain_timeout=5.0), Work()
    async with rig.running(work.service):
        await rig.send(Placed(order_id="long", note="30"), Placed(order_id="short", note="3"))
        await until(lambda: len(work.begun) == 2)
        async with rig.running(work.service):
            await until(lambda: "long" in work.ended, timeout=120)

    assert work.cancelled == ["long"]
    assert Counter(work.begun)["long"] == 2
    assert Counter(work.ended) == {"long": 1, "short": 1}
    assert rig.lag("shop.orders") == 0


async def test_result_that_comes_after_the_partition_left_changes_nothing_for_its_new_owner() -> None:
    rig = Rig(drain_timeout=1.0)
    service = Service("stock")
    stubborn = asyncio.Event()
    begun = 0

    @service.on(Placed)
    async def placed(event: Placed) -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                await stubborn.wait()
                return
        await asyncio.sleep(3600)

    first = rig.process(service)
    await first.start()
    await rig.send(Placed(order_id="1"))
    await until(lambda: begun == 1)
    async with rig.running(service):
        await until(lambda: begun == 2)  # the partition is somebody else's, or ours again
        stubborn.set()
        await asyncio.sleep(5)
        assert rig.lag("shop.orders") == 1, "only the second handling may end it"
        await first.crash()


async def test_handling_that_waits_for_a_dependency_does_not_hold_up_a_rebalance() -> None:
    rig = Rig()
    service = Service("stock")
    is_down = True

    @service.on(Placed)
    async def placed(event: Placed) -> None:
        if is_down:
            raise ConnectionRefusedError

    async with rig.running(service):
        await rig.send(*orders(4))
        await asyncio.sleep(30)
        began = asyncio.get_running_loop().time()
        async with rig.running(service):
            assert asyncio.get_running_loop().time() - began < 10
            is_down = False
            await asyncio.sleep(10)
            assert rig.lag("shop.orders") == 0
    assert rig.letters() == []


async def test_records_that_wait_for_their_next_try_are_left_to_the_next_owner_and_not_committed() -> None:
    rig = Rig()
    service = Service("stock")
    tries: list[str] = []

    @service.on(Placed, retry=Retry(attempts=2, first="1h", cap="1h"))
    async def placed(event: Placed, ctx: Context) -> None:
        tries.append(f"{event.order_id}/{ctx.attempt}")
        if len(tries) <= 4:
            raise TransientError("not yet")

    async with rig.running(service) as process:
        await rig.send(*orders(4))
        await asyncio.sleep(5)
        assert process.runtime.statistics().queued == 4
    assert process.runtime.statistics().queued == 0
    assert rig.lag("shop.orders") == 4
    async with rig.running(service) as process:
        await process.idle()
    assert len(tries) == 8
    assert rig.lag("shop.orders") == 0


async def test_member_that_was_frozen_past_its_session_does_no_harm_when_it_wakes() -> None:
    rig, work = Rig(session_timeout=10.0), Work()
    async with rig.running(work.service) as first, rig.running(work.service) as second:
        await rig.send(*orders(20, note="1"))
        await asyncio.sleep(0.5)
        first.transport.freeze()
        await asyncio.sleep(60)
        first.transport.thaw()
        await rig.send(*orders(20, note="1", prefix="b"))
        await until(lambda: len(set(work.ended)) == 40, timeout=300)
        await asyncio.sleep(3)
        assert rig.lag("shop.orders") == 0
        assert second.runtime.statistics().partitions < 4


# ---- brokers away


async def test_brokers_that_are_away_for_minutes_stop_nothing_for_good() -> None:
    rig = Rig()
    service = Service("stock")

    @service.handles(Reserve)
    async def reserve(command: Reserve, ctx: Context) -> Reserved:
        await asyncio.sleep(1)
        return Reserved(order_id=command.order_id)

    async with rig.running(service):
        for number in range(10):
            await rig.command(Reserve(order_id=str(number)), flow=f"food/{number}")
        rig.cluster.go_down()
        await asyncio.sleep(180)
        assert rig.answers() == []
        rig.cluster.come_back()
        await until(lambda: len({answer.id for answer in rig.answers()}) == 10, timeout=300)
        await asyncio.sleep(3)
        assert rig.lag("stock.commands") == 0
    assert rig.letters() == []


# ---- back-pressure


async def test_full_partition_is_paused_and_goes_on_at_half() -> None:
    rig, work = Rig(partitions=1), Work(max_in_flight=16)
    async with rig.running(work.service) as process:
        await rig.send(*orders(3000, note="1"))
        await asyncio.sleep(0.9)
        statistics = process.runtime.statistics()
        assert statistics.paused == 1
        assert len(work.begun) == 16
        assert statistics.queued <= 1024
        await until(lambda: len(work.ended) == 3000, timeout=1000)
        assert process.runtime.statistics().paused == 0


async def test_one_hot_key_does_not_starve_the_others() -> None:
    rig, work = Rig(), Work(max_in_flight=16)
    async with rig.running(work.service):
        await rig.send(*(Placed(order_id="hot", note="60") for _ in range(200)))
        await asyncio.sleep(5)
        cold = [each for each in orders(50) if partition_for(each.order_id.encode(), 4) != partition_for(b"hot", 4)]
        await rig.send(*cold)
        await asyncio.sleep(1)
        assert len(work.ended) == len(cold) > 20


async def test_large_values_are_not_piled_up_in_memory() -> None:
    rig = Rig()
    service = Service("stock")
    is_free = asyncio.Event()

    @service.on(Placed)
    async def placed(event: Placed) -> None:
        await is_free.wait()

    rig.cluster.create(TopicSpec("shop.orders", config={"max.message.bytes": str(4 << 20)}))
    async with rig.running(service) as process:
        for _ in range(5):
            await rig.send(*orders(20, note="x" * (1 << 20)))
        await asyncio.sleep(5)
        assert process.runtime._lanes.queued_bytes < 40 << 20
        assert process.runtime.statistics().paused == 4
        is_free.set()
        await process.idle()
        await until(lambda: rig.lag("shop.orders") == 0)


async def test_many_keys_leave_nothing_behind() -> None:
    rig, work = Rig(), Work()
    async with rig.running(work.service) as process:
        await rig.send(*orders(3000))
        await process.idle()
        shares = process.runtime._assignment.shares.values()
        assert len(work.ended) == 3000
        assert all(not share.lanes for share in shares)


async def test_records_without_a_key_run_at_once() -> None:
    rig, work = Rig(partitions=1), Work()
    async with rig.running(work.service) as process:
        for placed in orders(10, note="5"):
            outgoing = rig.outgoing(rig.event(placed), placed)
            await rig.put(Outgoing(outgoing.topic, None, outgoing.value, outgoing.headers))
        await process.idle()
        assert asyncio.get_running_loop().time() < 10


# ---- stop


async def test_stop_finishes_what_is_under_way_commits_and_leaves_the_rest() -> None:
    rig, work = Rig(), Work(max_in_flight=4)
    async with rig.running(work.service):
        await rig.send(*orders(30, note="2"))
        await until(lambda: len(work.begun) == 4)
    assert len(work.ended) == 4
    assert work.cancelled == []
    assert rig.lag("shop.orders") == 26 or rig.lag("shop.orders") > 20

    async with rig.running(work.service):
        await until(lambda: len(work.ended) == 30, timeout=200)
    assert Counter(work.begun) == Counter({str(n): 1 for n in range(30)})


async def test_second_stop_waits_for_nothing() -> None:
    rig, work = Rig(), Work()
    process = rig.process(work.service)
    await process.start()
    await rig.send(Placed(order_id="1", note="15"))
    await until(lambda: len(work.begun) == 1)
    began = asyncio.get_running_loop().time()

    process.runtime.stop()
    await asyncio.sleep(1)
    process.runtime.stop()
    await process.stop()

    assert asyncio.get_running_loop().time() - began < 3
    assert work.cancelled == ["1"]
    assert rig.lag("shop.orders") == 1


async def test_handler_that_ignores_everything_does_not_keep_the_process() -> None:
    rig = Rig(drain_timeout=2.0)
    service = Service("stock")
    has_begun = asyncio.Event()
    freed = asyncio.Event()

    @service.on(Placed)
    async def placed(event: Placed) -> None:
        has_begun.set()
        while not freed.is_set():
            try:
                await freed.wait()
            except asyncio.CancelledError:
                continue

    process = rig.process(service, grace=1.0)
    await process.start()
    await rig.send(Placed(order_id="1"))
    await has_begun.wait()
    await process.stop()
    assert asyncio.get_running_loop().time() < 20
    freed.set()
    await asyncio.sleep(0.1)


async def test_run_that_is_cancelled_drains_too() -> None:
    rig, work = Rig(), Work()
    process = rig.process(work.service)
    await process.start()
    await rig.send(Placed(order_id="1", note="3"))
    await until(lambda: len(work.begun) == 1)
    assert process.task is not None

    process.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await process.task

    assert work.ended == ["1"]
    assert rig.lag("shop.orders") == 0


# ---- start, and what ends a service


async def test_resources_are_opened_before_the_first_record_and_closed_after_the_last() -> None:
    rig = Rig()
    service = Service("stock")
    events: list[str] = []

    class Client: ...

    @service.resource
    async def client() -> AsyncIterator[Client]:
        events.append("open")
        yield Client()
        events.append("close")

    @service.on(Placed)
    async def placed(event: Placed, client: Client) -> None:
        await asyncio.sleep(2)
        events.append("handled")

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await until(lambda: process.runtime.statistics().queued == 1)
    assert events == ["open", "handled", "close"]


async def test_start_that_fails_closes_what_it_opened() -> None:
    rig = Rig()
    service = Service("stock")
    closed: list[str] = []

    class Client: ...

    @service.resource
    async def client() -> AsyncIterator[Client]:
        yield Client()
        closed.append("client")

    @service.on(Placed)
    async def placed(event: Placed, client: Client) -> None: ...

    runtime = ServiceRuntime(service, MemoryTransport(rig.cluster, rig.settings), rig.settings, clock=rig.clock)
    with pytest.raises(TopicError, match=r"shop\.orders"):
        await runtime.start()
    assert closed == ["client"]


async def test_service_without_brokers_does_not_start() -> None:
    rig, work = Rig(), Work()
    rig.cluster.create(TopicSpec("shop.orders"))
    rig.cluster.go_down()
    runtime = ServiceRuntime(work.service, MemoryTransport(rig.cluster, rig.settings), rig.settings)
    with pytest.raises(UnreachableError):
        await runtime.start()


def test_service_that_cannot_be_served_is_refused_before_it_starts() -> None:
    rig = Rig()
    with pytest.raises(DefinitionError, match="has no handler"):
        ServiceRuntime(Service("stock"), MemoryTransport(rig.cluster), rig.settings)


async def test_lost_offsets_end_the_service_with_an_error_and_are_not_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig, work = Rig(), Work()
    process = rig.process(work.service)
    await process.start()

    async def lost(**_: object) -> None:
        raise OffsetLostError("shop.orders[0]@7 was deleted")

    monkeypatch.setattr(process.runtime._consumer, "fetch", lost)
    assert process.task is not None
    with pytest.raises(OffsetLostError, match="deleted"):
        await process.task


def test_needed_topics_say_what_each_must_be() -> None:
    rig = Rig(namespace="team")
    service = Service("stock")

    @service.handles(Reserve)
    async def reserve(command: Reserve) -> Reserved:
        return Reserved(order_id="1")

    @service.on(Placed)
    async def placed(event: Placed) -> None: ...

    runtime = ServiceRuntime(service, MemoryTransport(rig.cluster, rig.settings), rig.settings)
    specs = {spec.name: spec for spec in runtime.needed_topics()}
    assert set(specs) == {"team.shop.orders", "team.stock.commands", "team.stock.dead-letters"}
    letters = specs["team.stock.dead-letters"].config
    assert letters["cleanup.policy"] == "delete"
    assert int(letters["retention.ms"]) >= 14 * 24 * 3600 * 1000
