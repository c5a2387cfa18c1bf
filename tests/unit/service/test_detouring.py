"""Retry topics: what goes there, when it comes back, in which order, and what a restart changes: nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from orchestra.clock import LoopClock
from orchestra.errors import DefinitionError, PermanentError, RetryAfter, TransientError
from orchestra.events.message import StepFailed
from orchestra.retry import TIERS, Retry
from orchestra.service.batch import Batch
from orchestra.service.batch_context import BatchContext
from orchestra.service.context import Context
from orchestra.service.service import Service
from orchestra.transport.port import Outgoing, Partition, Record, TopicSpec
from tests.unit.service.rig import EPOCH, Placed, Process, Reserve, Reserved, Rig, SoldOut, Watched, until

pytestmark = pytest.mark.virtual_time


class Tried:
    """A service whose handler fails as a test says, and the calls of it: order id, count, attempt, time."""

    def __init__(self, retry: Retry, fails: Callable[[Reserve, Context], Exception | None], **options: Any) -> None:
        self.service = Service("stock", **options)
        self.calls: list[tuple[str, int, int, float]] = []
        self.done: list[tuple[str, int]] = []

        @self.service.handles(Reserve, retry=retry)
        async def reserve(command: Reserve, ctx: Context) -> Reserved | SoldOut:
            now = asyncio.get_running_loop().time()
            self.calls.append((command.order_id, command.count, ctx.attempt, now))
            if (failure := fails(command, ctx)) is not None:
                raise failure
            self.done.append((command.order_id, command.count))
            return Reserved(order_id=command.order_id)

    @property
    def attempts(self) -> list[int]:
        return [attempt for _, _, attempt, _ in self.calls]


def headers(record: Record) -> dict[str, str]:
    return {name: (value or b"").decode() for name, value in record.headers if name.startswith("orchestra-retry-")}


def told(record: Record, name: str) -> str:
    return headers(record)["orchestra-retry-" + name]


def times(record: Record) -> float:
    return record.timestamp_ms / 1000


async def settled(rig: Rig, process: Process, *topics: str) -> None:
    """Return when nothing is left anywhere."""
    retry = list(process.runtime._detouring.topics)
    async with asyncio.timeout(20_000):
        while rig.lag(*topics, *retry):
            await asyncio.sleep(1)
    await process.idle()


# ---- in and out


async def test_a_record_goes_through_the_retry_topics_byte_for_byte_and_is_tried_once_after_each() -> None:
    tried = Tried(Retry(attempts=2, first="1s", later=("5s", "2m"), order="unordered"), lambda *_: TransientError("no"))
    rig = Rig()
    async with rig.running(tried.service) as process:
        command = await rig.command(Reserve(order_id="1"))
        await settled(rig, process, "stock.commands")

    assert tried.attempts == [1, 2, 3, 4]
    [source] = rig.records("stock.commands")
    [first], [second] = rig.records("stock.retry.5s"), rig.records("stock.retry.2m")
    for record in (first, second):
        plain = tuple(header for header in record.headers if not header[0].startswith("orchestra-retry-"))
        assert (record.key, record.value, plain) == (source.key, source.value, tuple(source.headers))
        assert record.partition == source.partition
        assert record.append_time
        assert told(record, "source-topic") == "stock.commands"
        assert told(record, "source-partition") == str(source.partition)
        assert told(record, "source-offset") == "0"
        assert told(record, "source-timestamp") == str(source.timestamp_ms)
        assert told(record, "handler") == "stock.reserve"
        assert told(record, "error-class") == "TransientError"
    assert [told(record, "attempt") for record in (first, second)] == ["3", "4"]
    assert [told(record, "tier") for record in (first, second)] == ["5s", "2m"]
    assert told(first, "first-failure") == told(second, "first-failure")

    [letter] = rig.letters()
    assert (letter["source-topic"], letter["source-partition"], letter["source-offset"]) == (
        "stock.commands",
        str(source.partition),
        "0",
    )
    assert letter["source-timestamp"] == str(source.timestamp_ms)
    assert letter["attempts"] == "4"
    assert letter["first-failure"] == told(first, "first-failure")
    assert letter["id"] == f"stock/stock.commands/{source.partition}/0"
    [dead] = rig.records("stock.dead-letters")
    assert headers(dead) == {}
    assert (dead.key, dead.value) == (source.key, source.value)
    [answer] = rig.answers()
    assert answer.value(StepFailed).dead_letter_id == letter["id"]
    assert answer.get("causationid") == command.id
    assert process.runtime.statistics().diverted == 2


@pytest.mark.parametrize("tier", ["5s", "30s", "2m", "10m", "1h"])
async def test_a_retry_is_never_early_and_hardly_late(tier: str) -> None:
    tried = Tried(
        Retry(attempts=1, later=(tier,), order="unordered"),
        lambda _, ctx: TransientError("") if ctx.attempt == 1 else None,
    )
    rig = Rig()
    async with rig.running(tried.service) as process:
        for number in range(100):
            await rig.command(Reserve(order_id=f"{number}"), flow=f"food/{number}")
            await asyncio.sleep(0.05)
        await settled(rig, process, "stock.commands")

    appended = {record.key: times(record) for record in rig.records(f"stock.retry.{tier}")}
    epoch = rig.clock.now().timestamp() - asyncio.get_running_loop().time()
    late = [
        time + epoch - appended[order_id.encode()] - TIERS[tier]
        for order_id, _, attempt, time in tried.calls
        if attempt == 2
    ]
    assert len(late) == 100
    assert min(late) >= -0.001  # the append time has milliseconds
    assert max(late) < 0.7
    assert process.runtime.statistics().latest_retry == pytest.approx(max(late), abs=0.002)


async def test_retry_after_holds_in_a_retry_topic_whose_delay_is_shorter() -> None:
    tried = Tried(
        Retry(attempts=1, later=("5s",), order="unordered"), lambda _, ctx: RetryAfter(20) if ctx.attempt == 1 else None
    )
    rig = Rig()
    async with rig.running(tried.service) as process:
        await rig.command(Reserve(order_id="1"))
        await settled(rig, process, "stock.commands")

    (_, _, _, first), (_, _, _, second) = tried.calls
    assert 20 <= second - first < 21


class Skewed(LoopClock):
    """A machine's clock that differs from the broker's by some seconds, which may change."""

    def __init__(self, ahead: float) -> None:
        super().__init__(EPOCH)
        self.ahead = ahead

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)


@pytest.mark.parametrize("ahead", [-2.0, 2.0])
async def test_due_differs_by_as_much_as_the_clocks_of_machine_and_broker(ahead: float) -> None:
    tried = Tried(
        Retry(attempts=1, later=("5s",), order="unordered"),
        lambda _, ctx: TransientError("no") if ctx.attempt == 1 else None,
    )
    rig = Rig()
    rig.clock = Skewed(ahead)
    async with rig.running(tried.service) as process:
        await rig.command(Reserve(order_id="1"))
        await settled(rig, process, "stock.commands")

    (_, _, _, first), (_, _, _, second) = tried.calls
    assert second - first == pytest.approx(5.0 - ahead, abs=0.3)


async def test_a_clock_that_is_put_back_meanwhile_makes_no_retry_early() -> None:
    tried = Tried(
        Retry(attempts=1, later=("5s",), order="unordered"),
        lambda _, ctx: TransientError("no") if ctx.attempt == 1 else None,
    )
    rig = Rig()
    rig.clock = clock = Skewed(0.0)
    async with rig.running(tried.service) as process:
        await rig.command(Reserve(order_id="1"))
        await asyncio.sleep(3)
        clock.ahead = -10.0
        await settled(rig, process, "stock.commands")

    (_, _, _, first), (_, _, _, second) = tried.calls
    assert second - first == pytest.approx(15.0, abs=0.3), "by its own clock, which is asked again"


async def test_what_waits_in_a_retry_topic_holds_nobody_up_and_little_of_it_is_in_memory() -> None:
    tried = Tried(
        Retry(attempts=1, later=("2m",), order="unordered"),
        lambda command, ctx: TransientError("") if command.count == 0 and ctx.attempt == 1 else None,
        max_in_flight=16,
    )
    rig = Rig(partitions=3)
    async with rig.running(tried.service) as process:
        for number in range(1000):
            await rig.command(Reserve(order_id=f"{number}", count=number % 2), flow=f"food/{number}")
        await until(lambda: rig.lag("stock.commands") == 0)
        await asyncio.sleep(5)

        assert len(tried.done) == 500
        assert process.runtime.statistics().queued <= 96
        assert process.runtime.statistics().paused == 0
        before = len(tried.calls)
        await rig.command(Reserve(order_id="new", count=1))
        await until(lambda: len(tried.calls) == before + 1, timeout=1)
        await settled(rig, process, "stock.commands")
    assert len(tried.done) == 1001
    assert process.runtime.statistics().latest_retry < 2


async def test_only_the_handler_that_failed_runs_again_and_emits_the_same_ids() -> None:
    service, rig, calls = Service("stock"), Rig(), list[str]()

    @service.on(Placed, retry=Retry(attempts=1, later=("5s",), order="unordered"))
    async def flaky(event: Placed, ctx: Context) -> Watched:
        calls.append(f"flaky {ctx.attempt}")
        if ctx.attempt == 1:
            raise TransientError("no")
        return Watched(order_id=ctx.effect_id)

    @service.on(Placed)
    async def steady(event: Placed) -> Watched:
        calls.append("steady")
        return Watched(order_id="steady")

    async with rig.running(service) as process:
        [placed] = await rig.send(Placed(order_id="1"))
        await settled(rig, process, "shop.orders")

    assert sorted(calls) == ["flaky 1", "flaky 2", "steady"]
    effect = next(each for each in rig.events("stock.watched") if each.value(Watched).order_id != "steady")
    from orchestra.ids import derived_id

    assert effect.value(Watched).order_id == derived_id("/test", placed.id, "stock.flaky")
    assert effect.id == derived_id(effect.value(Watched).order_id, "stock.flaky", 0)


async def test_a_command_that_expires_before_its_retry_topic_is_through_is_a_dead_letter_at_once() -> None:
    tried = Tried(Retry(attempts=1, later=("2m",), order="unordered"), lambda *_: TransientError("no"))
    rig = Rig()
    async with rig.running(tried.service) as process:
        await rig.command(Reserve(order_id="1"), expirytime=rig.clock.now() + timedelta(seconds=60))
        await process.idle()

    assert rig.records("stock.retry.2m") == []
    assert len(rig.letters()) == 1
    assert [answer.type for answer in rig.answers()] == ["orchestra.step.failed.v1"]


async def test_an_answer_from_a_retry_topic_goes_where_the_command_said() -> None:
    tried = Tried(
        Retry(attempts=1, later=("5s",), order="divert_key"),
        lambda _, ctx: TransientError("no") if ctx.attempt == 1 else None,
    )
    rig = Rig()
    async with rig.running(tried.service) as process:
        await rig.command(Reserve(order_id="1"))
        await settled(rig, process, "stock.commands")

    [record], [reply] = rig.records("food.inbox"), rig.answers()
    assert (record.partition, record.key, reply.type) == (2, b"food/1", "stock.reserved.v1")
    assert reply.get("effectid") == "food/1/1/reserve/action/0"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ((), "DECODE"),
        ((("handler", b"stock.reserve"),), "DECODE"),
        ((("handler", b"stock.reserve"), ("attempt", b"soon")), "DECODE"),
        (
            (
                ("handler", b"stock.renamed"),
                ("attempt", b"2"),
                ("hop", b"1"),
                ("source-topic", b"stock.commands"),
                ("source-partition", b"0"),
                ("source-offset", b"7"),
                ("source-timestamp", b"7"),
            ),
            "UNKNOWN_TYPE",
        ),
    ],
)
async def test_a_record_of_a_retry_topic_that_says_nothing_useful_is_a_dead_letter(
    told: tuple[tuple[str, bytes], ...], reason: str
) -> None:
    tried = Tried(Retry(attempts=1, later=("5s",), order="divert_key"), lambda *_: None)
    rig = Rig()
    async with rig.running(tried.service) as process:
        command = rig.outgoing(
            rig.event(Reserve(order_id="1"), effectid="e", replyto="food.inbox"), Reserve(order_id="1")
        )
        added = [*command.headers, *((f"orchestra-retry-{name}", value) for name, value in told)]
        await rig.put(Outgoing("stock.retry.5s", command.key, command.value, added))
        await until(lambda: rig.lag("stock.retry.5s") == 0)
        await process.idle()

    assert tried.calls == []
    [letter] = rig.letters()
    assert letter["reason"] == reason
    if reason == "UNKNOWN_TYPE":
        assert letter["source-offset"] == "7"
        assert [answer.type for answer in rig.answers()] == ["orchestra.step.failed.v1"]


async def test_headers_of_a_retry_topic_on_a_record_of_another_topic_mean_nothing() -> None:
    """Somebody copied it back by hand, headers and all."""
    tried = Tried(
        Retry(attempts=1, later=("5s",), order="divert_key"),
        lambda _, ctx: TransientError("no") if ctx.attempt == 1 else None,
    )
    rig = Rig(partitions=1)
    async with rig.running(tried.service) as process:
        await send(rig, "a")
        await settled(rig, process, "stock.commands")
        [there] = rig.records("stock.retry.5s")
        await rig.put(Outgoing("stock.commands", there.key, there.value, there.headers))
        await settled(rig, process, "stock.commands")

    assert tried.attempts == [1, 2, 1, 2]
    first, second = rig.records("stock.retry.5s")
    assert [told(record, "source-offset") for record in (first, second)] == ["0", "1"]
    assert len(second.headers) == len(first.headers)


async def test_a_record_that_the_retry_topic_does_not_take_is_a_dead_letter() -> None:
    tried = Tried(Retry(attempts=1, later=("5s",), order="unordered"), lambda *_: TransientError("no"))
    rig = Rig()
    from orchestra.errors import RecordTooLargeError
    from orchestra.transport.memory import Fate

    rig.cluster.rules.append(
        lambda write: (
            Fate(stored=False, error=RecordTooLargeError("too large"))
            if write.partition.topic == "stock.retry.5s"
            else None
        )
    )
    async with rig.running(tried.service) as process:
        await rig.command(Reserve(order_id="1"))
        await settled(rig, process, "stock.commands")

    [letter] = rig.letters()
    assert (letter["reason"], letter["attempts"]) == ("TRANSIENT", "1")
    assert "the retry topic does not take it" in letter["error-stack"]


async def test_the_source_is_not_done_before_the_retry_topic_has_the_record() -> None:
    tried = Tried(Retry(attempts=1, later=("5s",), order="unordered"), lambda *_: TransientError("no"))
    rig = Rig(delivery_timeout=5.0)
    from orchestra.errors import UnreachableError
    from orchestra.transport.memory import Fate

    rig.cluster.rules.append(
        lambda write: (
            Fate(stored=False, error=UnreachableError("away")) if write.partition.topic == "stock.retry.5s" else None
        )
    )
    async with rig.running(tried.service) as process:
        await rig.command(Reserve(order_id="1"))
        await asyncio.sleep(30)
        assert rig.lag("stock.commands") == 1
        rig.cluster.rules.clear()
        await settled(rig, process, "stock.commands")

    assert tried.attempts == [1, 2]


# ---- order


def first_of_a(command: Reserve, ctx: Context) -> Exception | None:
    """The first record of key "a" fails until the last delay."""
    return TransientError("no") if (command.order_id, command.count) == ("a", 0) and ctx.attempt < 3 else None


async def send(rig: Rig, *keys: str) -> None:
    counts: dict[str, int] = {}
    for key in keys:
        counts[key] = counts.get(key, -1) + 1
        await rig.command(Reserve(order_id=key, count=counts[key]), flow=f"food/{key}{counts[key]}", replypartition=0)


async def test_block_key_waits_in_place_and_only_its_key_does() -> None:
    tried = Tried(Retry(attempts=1, later=("5s", "30s")), first_of_a)
    rig = Rig(partitions=1)
    async with rig.running(tried.service) as process:
        await send(rig, "a", "a", "b")
        await asyncio.sleep(1)
        assert tried.done == [("b", 0)]
        await settled(rig, process, "stock.commands")

    assert tried.done == [("b", 0), ("a", 0), ("a", 1)]
    assert rig.records("stock.retry.5s") == []
    times_of_a = [time for key, count, _, time in tried.calls if (key, count) == ("a", 0)]
    assert [round(b - a, 3) for a, b in pairwise(times_of_a)] == [5.0, 30.0]


async def test_unordered_overtakes() -> None:
    tried = Tried(Retry(attempts=1, later=("5s", "30s"), order="unordered"), first_of_a)
    rig = Rig(partitions=1)
    async with rig.running(tried.service) as process:
        await send(rig, "a", "a", "b")
        await settled(rig, process, "stock.commands")

    assert tried.done == [("a", 1), ("b", 0), ("a", 0)]


async def test_divert_key_takes_the_later_records_of_the_key_along_and_nobody_else() -> None:
    tried = Tried(Retry(attempts=1, later=("5s", "30s"), order="divert_key"), first_of_a)
    rig = Rig(partitions=1)
    async with rig.running(tried.service) as process:
        await send(rig, "a", "a", "b")
        await until(lambda: rig.lag("stock.commands") == 0)
        assert tried.done == [("b", 0)]
        await asyncio.sleep(20)
        await rig.command(Reserve(order_id="a", count=2), flow="food/later", replypartition=0)
        await settled(rig, process, "stock.commands")
        assert len(process.runtime._assignment.shares[Partition("stock.commands", 0)].detour or ()) == 0
        await rig.command(Reserve(order_id="a", count=3), flow="food/after", replypartition=0)
        await process.idle()

    assert tried.done == [("b", 0), ("a", 0), ("a", 1), ("a", 2), ("a", 3)]
    assert [attempt for key, count, attempt, _ in tried.calls if (key, count) == ("a", 1)] == [1]
    assert process.runtime.statistics().followed >= 2
    assert rig.letters() == []


async def test_a_diverted_key_goes_on_behind_a_dead_letter() -> None:
    tried = Tried(
        Retry(attempts=1, later=("5s",), order="divert_key"),
        lambda command, _: TransientError("no") if command.count == 0 else None,
    )
    rig = Rig(partitions=1)
    async with rig.running(tried.service) as process:
        await send(rig, "a", "a", "a")
        await settled(rig, process, "stock.commands")

    assert tried.done == [("a", 1), ("a", 2)]
    assert [letter["attempts"] for letter in rig.letters()] == ["2"]


async def test_a_follower_that_fails_has_all_its_tries_and_those_behind_it_follow_it() -> None:
    tried = Tried(
        Retry(attempts=2, first="100ms", later=("5s", "30s"), order="divert_key"),
        lambda command, ctx: TransientError("no") if command.count < 2 and ctx.attempt < 4 else None,
    )
    rig = Rig(partitions=1)
    async with rig.running(tried.service) as process:
        await send(rig, "a", "a", "a", "a")
        await settled(rig, process, "stock.commands")

    assert tried.done == [("a", 0), ("a", 1), ("a", 2), ("a", 3)]
    for count in (0, 1):
        assert [attempt for _, number, attempt, _ in tried.calls if number == count] == [1, 2, 3, 4]
    assert rig.letters() == []


async def test_records_without_a_key_go_alone_whatever_the_order() -> None:
    tried = Tried(
        Retry(attempts=1, later=("5s",)),
        lambda command, ctx: TransientError("no") if command.count == 0 and ctx.attempt == 1 else None,
    )
    rig = Rig(partitions=1)
    async with rig.running(tried.service) as process:
        for count in range(3):
            command = Reserve(order_id="x", count=count)
            out = rig.outgoing(rig.event(command), command)
            await rig.put(Outgoing(out.topic, None, out.value, out.headers, 0))
        await settled(rig, process, "stock.commands")

    assert [count for _, count in tried.done] == [1, 2, 0]
    assert len(rig.records("stock.retry.5s")) == 1


@pytest.mark.parametrize("ending", ["crash", "stop"])
async def test_a_diverted_key_stays_diverted_across_a_restart(ending: str) -> None:
    tried = Tried(Retry(attempts=1, later=("5s", "30s"), order="divert_key"), first_of_a)
    rig = Rig(partitions=1, session_timeout=10.0)
    process = rig.process(tried.service)
    await process.start()
    await send(rig, "a", "b")
    await until(lambda: len(rig.records("stock.retry.5s")) == 1)
    await (process.crash() if ending == "crash" else process.stop())

    async with rig.running(tried.service) as after:
        await rig.command(Reserve(order_id="a", count=1), flow="food/a1", replypartition=0)
        await settled(rig, after, "stock.commands")

    of_a = [count for key, count in tried.done if key == "a"]
    assert list(dict.fromkeys(of_a)) == [0, 1]


async def test_a_record_that_is_on_its_detour_already_does_not_go_there_twice() -> None:
    """The process died between the retry topic's acknowledgement and the commit of the source."""
    tried = Tried(Retry(attempts=1, later=("30s",), order="divert_key"), lambda _, ctx: (
        TransientError("no") if ctx.attempt == 1 else None
    ))  # fmt: skip
    rig = Rig(partitions=1, session_timeout=10.0)
    process = rig.process(tried.service)
    await process.start()
    await send(rig, "a")
    await until(lambda: len(rig.records("stock.retry.30s")) == 1)
    await process.crash()
    assert rig.lag("stock.commands") == 1

    async with rig.running(tried.service) as after:
        await settled(rig, after, "stock.commands")

    assert tried.attempts == [1, 2]
    assert len(rig.records("stock.retry.30s")) == 1


async def test_a_retry_topic_that_is_narrower_than_a_source_that_has_grown_takes_its_records_all_the_same() -> None:
    tried = Tried(
        Retry(attempts=1, later=("5s",), order="divert_key"),
        lambda _, ctx: TransientError("no") if ctx.attempt == 1 else None,
    )
    rig = Rig(partitions=4)
    config = {"message.timestamp.type": "LogAppendTime"}
    rig.cluster.create(TopicSpec("stock.retry.5s", partitions=1, config=config))
    async with rig.running(tried.service) as process:
        await send(rig, *(str(number) for number in range(20)))
        await settled(rig, process, "stock.commands")

    assert len(tried.done) == 20
    assert rig.letters() == []


async def test_the_retry_topics_are_waited_for_while_the_brokers_are_away() -> None:
    tried = Tried(Retry(attempts=1, later=("5s",), order="divert_key"), lambda *_: None)
    rig = Rig(partitions=1, request_timeout=2.0)
    process = rig.process(tried.service)
    for spec in process.runtime.needed_topics():
        rig.cluster.create(spec)
    await process.transport.start()
    await process.runtime.start()
    rig.cluster.go_down()
    process.task = asyncio.create_task(process.runtime.run())
    await asyncio.sleep(30)
    rig.cluster.come_back()
    await send(rig, "a")
    await until(lambda: tried.done)
    await process.stop()


async def test_partitions_of_one_number_are_one_members_whoever_comes_and_goes() -> None:
    tried = Tried(Retry(attempts=1, later=("5s", "30s"), order="divert_key"), lambda *_: None)
    rig = Rig(partitions=4)
    async with rig.running(tried.service) as first, rig.running(tried.service) as second:
        await until(lambda: len(second.runtime._assignment.shares) == 6 == len(first.runtime._assignment.shares))
        for process in (first, second):
            owned = {topic: set[int]() for topic in ("stock.commands", "stock.retry.5s", "stock.retry.30s")}
            for topic, number in process.runtime._assignment.shares:
                owned[topic].add(number)
            assert len(set(map(frozenset, owned.values()))) == 1


# ---- what is needed


async def test_retry_topics_exist_only_where_a_policy_asks_for_them() -> None:
    service = Service("stock")

    @service.handles(Reserve, retry=Retry(later=("5s", "10m")))
    async def reserve(command: Reserve) -> Reserved | SoldOut:
        raise PermanentError

    @service.on(Placed)
    async def watch(event: Placed) -> None: ...

    specs = {spec.name: spec for spec in Rig().process(service).runtime.needed_topics()}

    assert {name for name in specs if ".retry." in name} == {"stock.retry.5s", "stock.retry.10m"}
    spec = specs["stock.retry.5s"]
    assert spec.config["message.timestamp.type"] == "LogAppendTime"
    assert spec.config["cleanup.policy"] == "delete"
    assert int(spec.config["retention.ms"]) > 3600 * 1000
    assert spec.takes_from == {"stock.commands"}


async def test_a_service_without_later_delays_needs_no_retry_topic() -> None:
    service = Service("stock")

    @service.on(Placed)
    async def watch(event: Placed) -> None: ...

    assert not [spec for spec in Rig().process(service).runtime.needed_topics() if ".retry." in spec.name]


async def test_a_record_that_a_whole_window_waits_behind_goes_to_its_retry_topic_and_its_key_with_it() -> None:
    tried = Tried(
        Retry(attempts=1_000, first="1h", cap="1h", later=("5s",)),
        lambda command, ctx: (
            TransientError("no") if (command.order_id, command.count, ctx.attempt) == ("stuck", 0, 1) else None
        ),
    )
    rig = Rig(partitions=1)
    async with rig.running(tried.service) as process:
        await rig.send(Reserve(order_id="stuck", count=0), Reserve(order_id="stuck", count=1))
        for _ in range(25):
            await rig.send(*(Reserve(order_id=str(number)) for number in range(1_000)))
        await settled(rig, process, "stock.commands")

    assert [count for key, count in tried.done if key == "stuck"] == [0, 1]
    assert [told(record, "source-offset") for record in rig.records("stock.retry.5s")] == ["0", "1"]
    assert rig.letters() == []
    assert process.runtime.statistics().pressed == 1


async def test_a_batch_that_fails_is_divided_and_its_poison_waits_in_the_retry_topic() -> None:
    service, rig, done = Service("stock"), Rig(partitions=1), list[str]()
    failed: list[str] = []

    @service.on(Placed, batch=Batch(size=10, within="1s"), retry=Retry(attempts=1, later=("5s",), order="unordered"))
    async def store(events: list[Placed], ctx: BatchContext) -> None:
        for event in events:
            if event.order_id == "3" and len(failed) < 2:
                failed.append(event.order_id)
                raise TransientError("no")
        done.extend(event.order_id for event in events)

    async with rig.running(service) as process:
        await rig.send(*(Placed(order_id=str(number)) for number in range(5)))
        await settled(rig, process, "shop.orders")

    assert sorted(done) == ["0", "1", "2", "3", "4"]
    assert done[-1] == "3"
    assert [record.key for record in rig.records("stock.retry.5s")] == [b"3"]
    assert rig.letters() == []


async def test_a_batch_handler_cannot_divert_a_key() -> None:
    service = Service("stock")

    @service.on(Placed, batch=Batch(), retry=Retry(later=("5s",), order="divert_key"))
    async def store(events: list[Placed]) -> None: ...

    with pytest.raises(DefinitionError, match="order='unordered'"):
        service.check()
