"""One record, one pass: what is published for it, when it is done, and what becomes of what cannot be handled."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from orchestra.errors import (
    PermanentError,
    RecordTooLargeError,
    TransientError,
    UnreachableError,
)
from orchestra.events.envelope import Envelope
from orchestra.events.message import StepFailed
from orchestra.ids import derived_id
from orchestra.retry import Retry
from orchestra.service.context import Context
from orchestra.service.service import Service
from orchestra.transport.memory import Fate
from orchestra.transport.port import Outgoing
from tests.unit.service.rig import Count, Counted, Placed, Reserve, Reserved, Rig, SoldOut, Watched

pytestmark = pytest.mark.virtual_time


def reserving(answer: Any = None, **options: Any) -> Service:
    """A service that handles Reserve: by answering, or as ``answer`` says."""
    service = Service("stock")

    @service.handles(Reserve, **options)
    async def reserve(command: Reserve, ctx: Context) -> Reserved | SoldOut:
        if answer is not None:
            returned: Reserved = await answer(command, ctx)
            return returned
        return Reserved(order_id=command.order_id)

    return service


# ---- answers


async def test_reply_goes_to_replyto_alone_with_what_the_flow_needs_to_know_it_again() -> None:
    rig = Rig()
    async with rig.running(reserving()) as process:
        command = await rig.command(Reserve(order_id="1"))
        await process.idle()

    [record] = rig.records("food.inbox")
    [reply] = rig.answers()
    assert (record.partition, record.key) == (2, b"food/1")
    assert reply.type == "stock.reserved.v1"
    assert reply.source == "/services/stock"
    assert reply.value(Reserved) == Reserved(order_id="1")
    assert dict(reply.extensions) == {
        "flowid": "food/1",
        "effectid": "food/1/1/reserve/action/0",
        "correlationid": "the-order",
        "causationid": command.id,
    }
    assert reply.id == derived_id("food/1/1/reserve/action/0", "stock.reserve", "reply", "stock.reserved.v1")


async def test_a_rejection_is_an_answer_like_a_reply() -> None:
    async def sold_out(command: Reserve, ctx: Context) -> SoldOut:
        return SoldOut(order_id=command.order_id)

    rig = Rig()
    async with rig.running(reserving(sold_out)) as process:
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    assert [reply.type for reply in rig.answers()] == ["stock.sold-out.v1"]
    assert rig.letters() == []


async def test_reply_without_replyto_goes_to_its_own_topic_by_its_own_key() -> None:
    service = Service("stock")

    @service.handles(Count)
    async def count(command: Count) -> Counted:
        return Counted(order_id=command.order_id)

    rig = Rig()
    async with rig.running(service) as process:
        [command] = await rig.send(Count(order_id="7"))
        await process.idle()

    [record] = rig.records("stock.counted")
    assert record.key == b"7"
    assert rig.events("stock.counted")[0].get("correlationid") == command.id


async def test_reply_that_nobody_asked_for_is_not_sent() -> None:
    rig = Rig()
    async with rig.running(reserving()) as process:
        await rig.send(Reserve(order_id="1"))
        await process.idle()

    assert process.runtime.statistics().handled == 1
    assert rig.answers() == []


async def test_reply_repeats_its_id_when_the_command_comes_again() -> None:
    rig = Rig()
    async with rig.running(reserving()) as process:
        for _ in range(2):
            await rig.command(Reserve(order_id="1"))
        await process.idle()

    first, second = rig.answers()
    assert first.id == second.id
    assert first.get("causationid") != second.get("causationid")


# ---- emitted events


async def test_event_handler_emits_what_it_returns_and_what_it_publishes_with_derived_ids() -> None:
    service = Service("stock")

    @service.on(Placed)
    async def watch(event: Placed, ctx: Context) -> Watched | None:
        ctx.publish(Watched(order_id=f"{event.order_id}-a"))
        return Watched(order_id=f"{event.order_id}-b")

    rig = Rig()
    async with rig.running(service) as process:
        [placed] = await rig.send(Placed(order_id="1"), traceparent="00-aa-bb-01")
        await process.idle()

    emitted = {event.value(Watched).order_id: event for event in rig.events("stock.watched")}
    effect = derived_id("/test", placed.id, "stock.watch")
    assert emitted["1-a"].id == derived_id(effect, "stock.watch", 0)
    assert emitted["1-b"].id == derived_id(effect, "stock.watch", 1)
    assert dict(emitted["1-a"].extensions) == {
        "correlationid": placed.id,
        "causationid": placed.id,
        "traceparent": "00-aa-bb-01",
        "hopcount": "1",
    }


async def test_nothing_is_emitted_by_an_attempt_that_fails() -> None:
    service = Service("stock")

    @service.on(Placed, retry=Retry(attempts=2))
    async def watch(event: Placed, ctx: Context) -> None:
        ctx.publish(Watched(order_id=f"{event.order_id}-{ctx.attempt}"))
        if ctx.attempt == 1:
            raise TransientError("not yet")

    rig = Rig()
    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await process.idle()

    assert [event.value(Watched).order_id for event in rig.events("stock.watched")] == ["1-2"]


async def test_handlers_of_one_event_are_isolated_from_each_other() -> None:
    service = Service("stock")
    seen: list[str] = []

    @service.on(Placed)
    async def one(event: Placed) -> None:
        raise PermanentError("never")

    @service.on(Placed)
    async def other(event: Placed) -> None:
        seen.append(event.order_id)

    rig = Rig()
    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await process.idle()

    assert seen == ["1"]
    assert [letter["handler"] for letter in rig.letters()] == ["stock.one"]


async def test_a_handler_that_waits_for_its_next_try_keeps_the_others_of_the_event_waiting_for_nothing() -> None:
    service = Service("stock")
    seen: list[tuple[str, float]] = []

    @service.on(Placed, retry=Retry(attempts=2, first="20s", cap="20s"))
    async def flaky(event: Placed, ctx: Context) -> None:
        seen.append(("flaky", asyncio.get_running_loop().time()))
        if ctx.attempt == 1:
            raise TransientError("not yet")

    @service.on(Placed)
    async def other(event: Placed) -> None:
        seen.append(("other", asyncio.get_running_loop().time()))

    rig = Rig()
    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await process.idle()

    assert [name for name, _ in seen] == ["flaky", "other", "flaky"]
    assert seen[1][1] - seen[0][1] < 0.1
    assert seen[2][1] - seen[0][1] == pytest.approx(10)
    assert rig.lag("shop.orders") == 0
    assert process.runtime.statistics().handled == 1


# ---- tries


async def test_what_waits_for_its_next_try_needs_no_worker_and_keeps_only_its_own_key() -> None:
    service = Service("stock", max_in_flight=1)
    seen: list[str] = []

    @service.on(Placed, retry=Retry(attempts=2, first="20s", cap="20s"))
    async def flaky(event: Placed, ctx: Context) -> None:
        if event.order_id == "1" and event.note == "first" and ctx.attempt == 1:
            raise TransientError("not yet")
        seen.append(event.order_id + event.note)

    rig = Rig()
    async with rig.running(service) as process:
        await rig.send(
            Placed(order_id="1", note="first"), Placed(order_id="1", note="second"), Placed(order_id="2", note="other")
        )
        await process.idle()

    assert seen == ["2other", "1first", "1second"]


async def test_transient_failure_is_tried_again_as_the_policy_says() -> None:
    times: list[float] = []

    async def flaky(command: Reserve, ctx: Context) -> Reserved:
        times.append(asyncio.get_running_loop().time())
        if ctx.attempt < 4:
            raise TransientError("not yet")
        return Reserved(order_id=command.order_id)

    rig = Rig()
    retry = Retry(attempts=5, first="200ms", cap="30s")
    async with rig.running(reserving(flaky, retry=retry)) as process:
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    delays = [later - earlier for earlier, later in pairwise(times)]
    assert delays == pytest.approx([0.1, 0.2, 0.4])  # half of 0.2, 0.4, 0.8: the rig's jitter
    assert len(rig.answers()) == 1
    assert rig.letters() == []


async def test_handler_that_raises_is_dead_lettered_after_its_tries_and_the_flow_is_told() -> None:
    async def broken(command: Reserve, ctx: Context) -> Reserved:
        raise ZeroDivisionError("no such luck")

    rig = Rig()
    async with rig.running(reserving(broken, retry=Retry(attempts=3, first="1s"))) as process:
        command = await rig.command(Reserve(order_id="1"))
        await process.idle()

    [letter] = rig.letters()
    assert letter["reason"] == "TRANSIENT"
    assert letter["error-class"] == "builtins.ZeroDivisionError"
    assert letter["error-message"] == "no such luck"
    assert letter["attempts"] == "3"
    assert letter["handler"] == "stock.reserve"
    assert letter["first-failure"] < letter["last-failure"]
    [answer] = rig.answers()
    told = answer.value(StepFailed)
    assert (told.dead_letter_id, told.reason) == (letter["id"], "TRANSIENT")
    assert answer.get("effectid") == command.get("effectid")
    assert answer.get("causationid") == command.id


async def test_permanent_error_is_dead_lettered_at_once() -> None:
    async def hopeless(command: Reserve, ctx: Context) -> Reserved:
        raise PermanentError("the account is closed")

    rig = Rig()
    async with rig.running(reserving(hopeless, retry=Retry(attempts=5))) as process:
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    [letter] = rig.letters()
    assert (letter["reason"], letter["attempts"]) == ("PERMANENT", "1")
    assert process.runtime.statistics().retries == 0


async def test_handler_that_returns_the_wrong_type_is_dead_lettered_as_a_broken_contract() -> None:
    async def wrong(command: Reserve, ctx: Context) -> Any:
        return Watched(order_id="1")

    rig = Rig()
    async with rig.running(reserving(wrong)) as process:
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    [letter] = rig.letters()
    assert letter["reason"] == "CONTRACT"
    assert "stock.reserve returned a Watched; it may return Reserved | SoldOut" in letter["error-message"]
    assert rig.events("food.inbox")[0].type == "orchestra.step.failed.v1"


async def test_handler_that_returns_nothing_for_a_command_is_a_broken_contract() -> None:
    async def nothing(command: Reserve, ctx: Context) -> Any:
        return None

    service = Service("stock")

    @service.handles(Reserve)
    async def reserve(command: Reserve) -> Reserved:
        returned: Reserved = await nothing(command, None)  # type: ignore[arg-type]
        return returned

    rig = Rig()
    async with rig.running(service) as process:
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    assert [letter["reason"] for letter in rig.letters()] == ["CONTRACT"]


async def test_event_handler_that_returns_no_event_is_a_broken_contract() -> None:
    service = Service("stock")

    @service.on(Placed)
    async def watch(event: Placed) -> Any:
        return "done"

    rig = Rig()
    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await process.idle()

    assert [letter["reason"] for letter in rig.letters()] == ["CONTRACT"]


async def test_handler_that_hangs_is_cancelled_tried_again_and_dead_lettered_as_a_timeout() -> None:
    cancelled: list[int] = []

    async def hang(command: Reserve, ctx: Context) -> Reserved:
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.append(ctx.attempt)
        raise AssertionError

    rig = Rig()
    async with rig.running(reserving(hang, timeout="10s", retry=Retry(attempts=2))) as process:
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    assert cancelled == [1, 2]
    [letter] = rig.letters()
    assert (letter["reason"], letter["attempts"]) == ("TIMEOUT", "2")
    assert rig.answers()[0].value(StepFailed).reason == "TIMEOUT"


async def test_handler_sees_its_deadline() -> None:
    seen: list[timedelta | None] = []

    async def look(command: Reserve, ctx: Context) -> Reserved:
        seen.append(None if ctx.deadline is None else ctx.deadline - ctx.now())
        return Reserved(order_id="1")

    for timeout in ("10s", None):
        rig = Rig()
        async with rig.running(reserving(look, timeout=timeout)) as process:
            await rig.command(Reserve(order_id="1"))
            await process.idle()

    assert seen == [timedelta(seconds=10), None]


async def test_handler_that_swallows_its_cancellation_and_answers_all_the_same_is_heard() -> None:
    async def late(command: Reserve, ctx: Context) -> Reserved:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
        return Reserved(order_id="1")

    rig = Rig()
    async with rig.running(reserving(late, timeout="10s")) as process:
        await rig.command(Reserve(order_id="1"))
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    assert [answer.type for answer in rig.answers()] == ["stock.reserved.v1"] * 2


async def test_handler_that_ignores_its_cancellation_is_given_up_and_its_key_goes_on() -> None:
    freed = asyncio.Event()

    async def stubborn(command: Reserve, ctx: Context) -> Reserved:
        while command.count == 1 and not freed.is_set():
            try:
                await freed.wait()
            except asyncio.CancelledError:
                continue
        return Reserved(order_id=command.order_id)

    rig = Rig()
    async with rig.running(reserving(stubborn, timeout="10s"), grace=5.0) as process:
        await rig.command(Reserve(order_id="1", count=1))
        await rig.command(Reserve(order_id="1", count=2))
        await process.idle()
        [letter] = rig.letters()
        assert letter["reason"] == "TIMEOUT"
        assert letter["handler"] == "stock.reserve"
        assert [answer.type for answer in rig.answers()] == ["orchestra.step.failed.v1", "stock.reserved.v1"]

        freed.set()
        await process.idle()
        assert process.runtime._lanes.failure is None
        assert all(share.busy == 0 for share in process.runtime._assignment.shares.values())

    assert process.runtime.statistics().abandoned == 1
    assert len(rig.answers()) == 2, "what a given-up handler still says is not heard"
    assert rig.lag("stock.commands") == 0


async def test_cancellation_that_comes_from_what_the_handler_awaits_is_a_failure_and_ends_no_worker() -> None:
    async def odd(command: Reserve, ctx: Context) -> Reserved:
        if ctx.attempt == 1:
            raise asyncio.CancelledError
        return Reserved(order_id="1")

    rig = Rig()
    async with rig.running(reserving(odd)) as process:
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    assert [answer.type for answer in rig.answers()] == ["stock.reserved.v1"]


# ---- infrastructure


async def test_dependency_that_is_down_burns_no_attempt_and_makes_no_dead_letter() -> None:
    attempts: list[int] = []

    async def down_for_a_minute(command: Reserve, ctx: Context) -> Reserved:
        attempts.append(ctx.attempt)
        if asyncio.get_running_loop().time() < 60:
            raise ConnectionRefusedError("database")
        return Reserved(order_id="1")

    rig = Rig()
    async with rig.running(reserving(down_for_a_minute, retry=Retry(attempts=1))) as process:
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    assert set(attempts) == {1}
    assert 10 < len(attempts) < 40
    assert rig.letters() == []
    assert len(rig.answers()) == 1


async def test_dependency_that_is_down_for_a_minute_costs_a_backlog_of_ten_thousand_no_try() -> None:
    attempts: Counter[int] = Counter()

    async def down_for_a_minute(command: Reserve, ctx: Context) -> Reserved:
        attempts[ctx.attempt] += 1
        if asyncio.get_running_loop().time() < 60:
            raise ConnectionRefusedError("database")
        return Reserved(order_id=command.order_id)

    rig = Rig()
    service = reserving(down_for_a_minute, retry=Retry(attempts=1))
    messages = [Reserve(order_id=str(number % 500), count=number) for number in range(10_000)]
    async with rig.running(service):
        await rig.send(*messages)
        await asyncio.sleep(90)
        assert rig.lag("stock.commands") == 0

    assert set(attempts) == {1}
    assert 10_000 < attempts[1] < 10_200, "each once, and a few probes"
    assert rig.letters() == []


async def test_offset_is_not_committed_while_the_reply_cannot_be_published() -> None:
    rig = Rig(delivery_timeout=5.0)
    rig.cluster.rules.append(
        lambda write: (
            Fate(stored=False, error=UnreachableError("away")) if write.partition.topic == "food.inbox" else None
        )
    )
    async with rig.running(reserving()) as process:
        await rig.command(Reserve(order_id="1"))
        await asyncio.sleep(60)
        assert rig.lag("stock.commands") == 1
        assert process.runtime.statistics().dead_letters == 0

        rig.cluster.rules.clear()
        await process.idle()
        await asyncio.sleep(2)
        assert rig.lag("stock.commands") == 0

    assert len(rig.answers()) == 1


async def test_reply_whose_acknowledgement_is_lost_is_sent_again_under_its_id() -> None:
    rig = Rig(delivery_timeout=5.0)

    def lose_one(write: Any) -> Fate | None:
        if write.partition.topic != "food.inbox":
            return None
        rig.cluster.rules.clear()
        return Fate(acknowledged=False)

    rig.cluster.rules.append(lose_one)
    async with rig.running(reserving()) as process:
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    first, second = rig.answers()
    assert first.id == second.id


async def test_dead_letter_that_cannot_be_stored_keeps_its_record_incomplete() -> None:
    rig = Rig()
    rig.cluster.rules.append(
        lambda write: Fate(stored=False, error=UnreachableError("away")) if "dead" in write.partition.topic else None
    )
    async with rig.running(reserving()) as process:
        await rig.put(Outgoing("stock.commands", b"x", b"junk"))
        await asyncio.sleep(30)
        assert rig.lag("stock.commands") == 1

        rig.cluster.rules.clear()
        await process.idle()

    assert [letter["reason"] for letter in rig.letters()] == ["DECODE"]
    assert rig.lag("stock.commands") == 0


async def test_reply_too_large_for_its_topic_is_dead_lettered_and_the_flow_is_told() -> None:
    rig = Rig()

    def too_large(write: Any) -> Fate | None:
        is_reply = write.partition.topic == "food.inbox" and b"order_id" in (write.value or b"")
        return Fate(stored=False, error=RecordTooLargeError("max.message.bytes")) if is_reply else None

    rig.cluster.rules.append(too_large)
    async with rig.running(reserving()) as process:
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    assert [letter["reason"] for letter in rig.letters()] == ["UNDELIVERABLE"]
    assert [answer.type for answer in rig.answers()] == ["orchestra.step.failed.v1"]


async def test_replyto_that_does_not_exist_blocks_no_key_for_ever() -> None:
    rig = Rig()
    async with rig.running(reserving()) as process:
        await rig.command(Reserve(order_id="1"), replyto="nowhere")
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    assert [letter["reason"] for letter in rig.letters()] == ["UNDELIVERABLE"]
    assert [answer.type for answer in rig.answers()] == ["stock.reserved.v1"]


# ---- expired commands without a ledger


async def test_command_that_expired_is_dropped_unanswered_without_a_ledger(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []

    async def note(command: Reserve, ctx: Context) -> Reserved:
        ran.append(command.order_id)
        return Reserved(order_id=command.order_id)

    rig = Rig()
    async with rig.running(reserving(note)) as process:
        await rig.command(Reserve(order_id="late"), expirytime=rig.clock.now() - timedelta(seconds=1))
        await rig.command(Reserve(order_id="early"), expirytime=rig.clock.now() + timedelta(seconds=60))
        await process.idle()

    assert ran == ["early"]
    assert len(rig.answers()) == 1
    assert process.runtime.statistics().dropped == 1
    assert "expired" in caplog.text
    assert rig.lag("stock.commands") == 0


async def test_command_that_was_begun_and_expires_while_its_dependency_is_down_ends_as_a_dead_letter() -> None:
    async def cut_off(command: Reserve, ctx: Context) -> Reserved:
        raise ConnectionResetError("cut off")

    rig = Rig()
    async with rig.running(reserving(cut_off)) as process:
        await rig.command(Reserve(order_id="1"), expirytime=rig.clock.now() + timedelta(seconds=20))
        await process.idle()

    [letter] = rig.letters()
    assert letter["error-message"].startswith("expired before attempt")
    assert "cut off" in letter["error-stack"]
    assert [answer.type for answer in rig.answers()] == ["orchestra.step.failed.v1"]


# ---- context


async def test_context_tells_what_a_handler_needs(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Context] = []

    async def look(command: Reserve, ctx: Context) -> Reserved:
        seen.append(ctx)
        ctx.log.info("reserving")
        return Reserved(order_id="1")

    caplog.set_level(logging.INFO)
    rig = Rig()
    async with rig.running(reserving(look)) as process:
        await rig.command(Reserve(order_id="1"))
        await rig.send(Reserve(order_id="1"))
        await process.idle()

    flowing, plain = seen
    assert isinstance(flowing.event, Envelope)
    assert flowing.effect_id == "food/1/1/reserve/action/0"
    assert plain.effect_id == derived_id("/test", plain.event.id)
    assert not flowing.is_replay
    [line, _] = [record for record in caplog.records if record.message == "reserving"]
    assert vars(line)["effect_id"] == "food/1/1/reserve/action/0"
    assert vars(line)["correlation_id"] == "the-order"
    assert vars(line)["handler"] == "stock.reserve"


async def test_publishing_what_has_no_topic_is_a_broken_contract() -> None:
    async def publish(command: Reserve, ctx: Context) -> Reserved:
        ctx.publish(SoldOut(order_id="1"))
        return Reserved(order_id="1")

    rig = Rig()
    async with rig.running(reserving(publish)) as process:
        await rig.command(Reserve(order_id="1"))
        await process.idle()

    [letter] = rig.letters()
    assert letter["reason"] == "CONTRACT"
    assert "SoldOut has no topic" in letter["error-message"]


async def test_different_keys_run_at_once_and_one_key_in_order() -> None:
    running: set[str] = set()
    most = 0
    order: list[tuple[str, int]] = []

    async def slow(command: Reserve, ctx: Context) -> Reserved:
        nonlocal most
        assert command.order_id not in running
        running.add(command.order_id)
        most = max(most, len(running))
        await asyncio.sleep(1)
        running.remove(command.order_id)
        order.append((command.order_id, command.count))
        return Reserved(order_id=command.order_id)

    rig = Rig()
    async with rig.running(reserving(slow)) as process:
        for number in range(3):
            await rig.send(*(Reserve(order_id=key, count=number) for key in "abcdefgh"))
        await process.idle()
        elapsed = asyncio.get_running_loop().time()

    assert most == 8
    assert elapsed < 5
    for key in "abcdefgh":
        assert [number for name, number in order if name == key] == [0, 1, 2]


async def test_settings_name_topics_and_group() -> None:
    rig = Rig(namespace="team", topics={"stock.counted": "elsewhere"})
    service = Service("stock")

    @service.handles(Count)
    async def count(command: Count) -> Counted:
        return Counted(order_id=command.order_id)

    async with rig.running(service) as process:
        await rig.send(Count(order_id="7"))
        await rig.put(Outgoing("team.stock.commands", b"x", b"junk"))
        await process.idle()

    assert len(rig.events("elsewhere")) == 1
    assert [letter["group"] for letter in rig.letters("team.stock")] == ["team.stock"]
    assert set(rig.cluster.groups) == {"team.stock"}
