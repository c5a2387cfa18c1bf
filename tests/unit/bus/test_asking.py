"""An ask ends with its command's outcome, or with an error that says what is known about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from orchestra.bus.bus import Bus
from orchestra.errors import (
    AskError,
    AskFailedError,
    AskRefusedError,
    AskTimeoutError,
    ClosedError,
    TopicError,
    UnreachableError,
)
from orchestra.events.cloudevents import STRUCTURED_HEADER
from orchestra.events.envelope import Envelope
from orchestra.events.message import Event, StepRefused
from orchestra.service.runtime import ServiceRuntime
from orchestra.transport.memory import Fate, MemoryTransport
from orchestra.transport.port import TopicSpec
from tests.unit.bus.bus_rig import EPOCH, BusRig, Placed, Reserve, Reserved, SoldOut, stock

pytestmark = pytest.mark.virtual_time


class Misread(Event, type="stock.reserved.v1"):
    """What somebody else takes for a Reserved."""

    count: str


@asynccontextmanager
async def stock_running(rig: BusRig) -> AsyncGenerator[None]:
    transport = MemoryTransport(rig.cluster, rig.settings)
    runtime = ServiceRuntime(stock(), transport, rig.settings, clock=rig.clock)
    for spec in runtime.needed_topics():
        rig.cluster.create(spec)
    await runtime.start()
    running = asyncio.create_task(runtime.run())
    try:
        yield
    finally:
        runtime.stop()
        await running
        await transport.aclose()


@asynccontextmanager
async def answered_by(rig: BusRig, answer: Callable[[Envelope], None]) -> AsyncGenerator[list[Envelope]]:
    """Another kind of participant: gets each command once."""
    seen: list[Envelope] = []

    async def serve() -> None:
        while True:
            for command in rig.events("stock.commands")[len(seen) :]:
                seen.append(command)
                answer(command)
            await asyncio.sleep(0.01)

    serving = asyncio.create_task(serve())
    try:
        yield seen
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def ask(bus: Bus, **options: Any) -> Reserved | SoldOut:
    return await bus.ask(Reserve(item="apple"), **{"timeout": "5s", **options})


async def test_reply_and_rejection_come_back_as_what_they_are() -> None:
    rig = BusRig()
    async with stock_running(rig), rig.bus() as bus:
        reply = await bus.ask(Reserve(item="apple", count=3), timeout="5s")
        rejection = await bus.ask(Reserve(item="none"), timeout=timedelta(seconds=5))

    assert (reply, rejection) == (Reserved(count=3), SoldOut())


async def test_command_says_where_its_answer_goes_and_until_when() -> None:
    rig = BusRig(namespace="eu")
    async with rig.bus(name="web") as bus:
        with pytest.raises(AskTimeoutError):
            await ask(bus, timeout="2s", effect_id="my-effect", correlation_id="order-7")

    (command,) = rig.events("eu.stock.commands")
    assert command.source == "/bus/web"
    assert (command.get("effectid"), command.get("correlationid")) == ("my-effect", "order-7")
    assert command.get("replyto") == "eu.web.replies"
    assert command.extensions["replypartition"] in range(8)
    assert command.moment("expirytime") == EPOCH + timedelta(seconds=2)


async def test_many_asks_at_once_get_each_its_own_answer() -> None:
    rig = BusRig()
    async with stock_running(rig), rig.bus() as bus:
        asks = [bus.ask(Reserve(item=f"item-{n % 9}", count=n), timeout="30s") for n in range(200)]
        replies = await asyncio.gather(*asks)

        assert bus.statistics().in_flight == 0
    assert replies == [Reserved(count=n) for n in range(200)]


async def test_several_processes_of_one_name_get_each_their_own_answers() -> None:
    rig = BusRig()
    async with stock_running(rig), rig.bus() as one, rig.bus() as other:
        for n in range(10):
            mine, theirs = Reserve(item="a", count=n), Reserve(item="a", count=n + 100)
            replies = await asyncio.gather(one.ask(mine, timeout="5s"), other.ask(theirs, timeout="5s"))
            assert replies == [Reserved(count=n), Reserved(count=n + 100)]

        assert (one.statistics().late, other.statistics().late) == (0, 0)


async def test_participant_that_only_copies_headers_can_answer() -> None:
    rig = BusRig()
    async with rig.bus() as bus, answered_by(rig, lambda command: rig.answer(command, Reserved(count=5))):
        assert await ask(bus) == Reserved(count=5)


async def test_answers_from_before_the_first_ask_are_not_read() -> None:
    rig = BusRig()
    rig.cluster.create(TopicSpec("bus.replies", 1))
    async with rig.bus() as bus, answered_by(rig, lambda command: rig.answer(command, Reserved(count=5))):
        await ask(bus, effect_id="same")
    rig.put(rig.events("stock.commands")[0], [], b"no event")
    async with rig.bus() as bus:
        with pytest.raises(AskTimeoutError):
            await ask(bus, effect_id="same")

        assert (bus.statistics().late, bus.statistics().unreadable) == (0, 0)


async def test_command_without_an_answer_is_unknown_and_can_be_asked_again() -> None:
    rig = BusRig()
    async with rig.bus() as bus:
        with pytest.raises(AskTimeoutError, match="whether it was done is unknown") as caught:
            await ask(bus)
        effect_id = caught.value.effect_id
        assert repr(effect_id) in str(caught.value)
        assert caught.value.was_sent

        async with answered_by(rig, lambda command: rig.answer(command, Reserved(count=5))):
            assert await ask(bus, effect_id=effect_id) == Reserved(count=5)

    commands = rig.events("stock.commands")
    assert {command.get("effectid") for command in commands} == {effect_id}
    assert len({command.id for command in commands}) == 2


async def test_timeout_is_a_timeout_error_too() -> None:
    rig = BusRig()
    async with rig.bus() as bus:
        with pytest.raises(TimeoutError):
            await ask(bus)


async def test_late_answer_is_counted_and_dropped() -> None:
    rig = BusRig()
    commands: list[Envelope] = []
    async with rig.bus() as bus, answered_by(rig, commands.append):
        with pytest.raises(AskTimeoutError):
            await ask(bus)
        rig.answer(commands[0], Reserved(count=5))
        rig.answer(commands[0], Reserved(count=5), effectid="somebody else's")
        await asyncio.sleep(1)

        assert bus.statistics().late == 1


async def test_dead_lettered_command_is_unknown_at_once() -> None:
    rig = BusRig()
    async with stock_running(rig), rig.bus() as bus:
        with pytest.raises(AskFailedError, match="it is poison") as caught:
            await bus.ask(Reserve(item="poison"), timeout="5m")

    assert caught.value.reason == "PERMANENT"
    assert caught.value.dead_letter_id


async def test_refused_command_was_not_done() -> None:
    rig = BusRig()
    refusal = StepRefused(reason="barred", note="its compensation came first")
    async with rig.bus() as bus, answered_by(rig, lambda command: rig.answer(command, refusal)):
        with pytest.raises(AskRefusedError, match="it was not done") as caught:
            await ask(bus)

    assert caught.value.reason == "barred"


@pytest.mark.parametrize(
    ("garbage", "counted"),
    [
        (lambda rig, command: rig.put(command, [], b"\x00 no event"), (1, 0)),
        (lambda rig, command: rig.put(command, [STRUCTURED_HEADER], b"{"), (1, 0)),
        (lambda rig, command: rig.put(command, [], None), (1, 0)),
        (lambda rig, command: rig.answer(command, Placed(order_id="1")), (0, 1)),
        (lambda rig, command: rig.answer(command, Misread(count="many")), (0, 1)),
        (lambda rig, command: rig.answer(command, StepRefused.model_construct(reason="whim")), (0, 1)),
        (lambda rig, command: rig.answer(command, Reserved(count=1), effectid="no such ask"), (0, 0)),
    ],
    ids=["bytes", "broken JSON", "null", "another type", "wrong data", "wrong refusal", "somebody else's"],
)
async def test_garbage_on_the_reply_topic_is_passed_over_and_the_ask_waits_on(garbage: Any, counted: Any) -> None:
    rig = BusRig()

    def answer(command: Envelope) -> None:
        garbage(rig, command)
        rig.answer(command, Reserved(count=5))

    async with rig.bus() as bus, answered_by(rig, answer):
        assert await ask(bus) == Reserved(count=5)

        statistics = bus.statistics()
    assert (statistics.unreadable, statistics.misfits) == counted


async def test_ask_that_got_nothing_but_garbage_says_so_at_its_end() -> None:
    rig = BusRig()
    async with rig.bus() as bus, answered_by(rig, lambda command: rig.answer(command, Placed(order_id="1"))):
        with pytest.raises(AskTimeoutError, match=r"'shop\.placed\.v1', which is no outcome of Reserve"):
            await ask(bus)


async def test_missing_command_topic_is_named_with_its_remedy_at_once() -> None:
    rig = BusRig()
    rig.cluster.delete("stock.commands")
    async with rig.bus() as bus:
        with pytest.raises(TopicError, match=r"kafka-topics.sh --create --topic stock.commands"):
            await ask(bus, timeout="5m")


async def test_reply_topic_is_made_only_where_the_settings_allow_it() -> None:
    rig = BusRig(create_topics=False)
    async with rig.bus(name="web") as bus:
        with pytest.raises(TopicError, match=r"kafka-topics.sh --create --topic web.replies"):
            await ask(bus)
        rig.cluster.create(TopicSpec("web.replies", 1))

        async with answered_by(rig, lambda command: rig.answer(command, Reserved(count=5))):
            assert await ask(bus) == Reserved(count=5)  # the next ask tries again


async def test_bus_that_only_publishes_makes_no_reply_topic() -> None:
    rig = BusRig()
    async with rig.bus() as bus:
        await bus.publish(Placed(order_id="1"))

    assert rig.cluster.describe(["bus.replies"]) == {}


async def test_brokers_that_are_away_end_an_ask_at_its_time_and_a_command_that_did_not_leave_never_will() -> None:
    rig = BusRig()
    async with rig.bus() as bus:
        with pytest.raises(AskTimeoutError):
            await ask(bus)
        rig.cluster.go_down()
        begun = asyncio.get_running_loop().time()
        with pytest.raises(AskTimeoutError):
            await ask(bus)

        assert asyncio.get_running_loop().time() - begun == pytest.approx(5.0)
        rig.cluster.come_back()
        await asyncio.sleep(60)
    assert len(rig.events("stock.commands")) == 1


async def test_command_that_cannot_be_sent_is_said_before_the_ask_ends() -> None:
    rig = BusRig(delivery_timeout=3.0)
    async with rig.bus() as bus:
        with pytest.raises(AskTimeoutError):
            await ask(bus)
        rig.cluster.go_down()
        with pytest.raises(UnreachableError):
            await ask(bus, timeout="5m")
        rig.cluster.come_back()


async def test_answers_are_read_again_after_brokers_were_away() -> None:
    rig = BusRig(request_timeout=2.0)
    async with rig.bus() as bus, answered_by(rig, lambda command: rig.answer(command, Reserved(count=5))):
        await ask(bus)
        rig.cluster.go_down()
        await asyncio.sleep(60)
        rig.cluster.come_back()

        assert await ask(bus) == Reserved(count=5)


async def test_ask_that_gives_up_while_the_reply_topic_is_opened_disturbs_no_other() -> None:
    rig = BusRig()
    async with rig.bus() as bus, answered_by(rig, lambda command: rig.answer(command, Reserved(count=5))):
        rig.cluster.go_down()
        patient = asyncio.create_task(ask(bus, timeout="60s"))
        with pytest.raises(AskTimeoutError, match="not sent within 1 s"):
            await ask(bus, timeout="1s")
        rig.cluster.come_back()

        assert await patient == Reserved(count=5)


async def test_answers_are_read_from_a_reply_topic_that_was_made_anew() -> None:
    rig = BusRig()
    rig.cluster.create(TopicSpec("bus.replies", 1))
    async with rig.bus() as bus, answered_by(rig, lambda command: rig.answer(command, Reserved(count=5))):
        for _ in range(3):
            await ask(bus)
        rig.cluster.delete("bus.replies")
        rig.cluster.create(TopicSpec("bus.replies", 1))
        await asyncio.sleep(10)

        assert await ask(bus) == Reserved(count=5)


async def test_unknown_sending_waits_for_the_answer_all_the_same() -> None:
    rig = BusRig(delivery_timeout=1.0)
    async with rig.bus() as bus, answered_by(rig, lambda command: None) as seen:
        rig.cluster.next_writes(Fate(acknowledged=False), topic="stock.commands")
        asking = asyncio.create_task(ask(bus))
        await asyncio.sleep(3)
        rig.answer(seen[0], Reserved(count=5))

        assert await asking == Reserved(count=5)


async def test_no_more_asks_are_in_flight_than_allowed_and_the_others_wait_within_their_time() -> None:
    rig = BusRig()
    async with rig.bus(max_asks=2) as bus, answered_by(rig, lambda command: None) as seen:
        asks = [asyncio.create_task(ask(bus, timeout=f"{n}s")) for n in (5, 5, 2)]
        await asyncio.sleep(1)
        assert (len(seen), bus.statistics().in_flight) == (2, 2)

        with pytest.raises(AskTimeoutError, match="not sent within 2 s: it was not done") as caught:
            await asks[2]
        assert not caught.value.was_sent
        await asyncio.wait(asks)
        assert {type(each.exception()) for each in asks} == {AskTimeoutError}
    assert len(seen) == 2


async def test_two_asks_for_one_effect_get_the_same_answer() -> None:
    rig = BusRig()
    async with rig.bus() as bus, answered_by(rig, lambda command: None) as seen:
        asks = [asyncio.create_task(ask(bus, effect_id="same")) for _ in range(2)]
        await asyncio.sleep(1)
        rig.answer(seen[0], Reserved(count=5))

        assert await asyncio.gather(*asks) == [Reserved(count=5)] * 2


async def test_cancelled_ask_leaves_nothing_behind() -> None:
    rig = BusRig()
    async with rig.bus() as bus, answered_by(rig, lambda command: None) as seen:
        asking = asyncio.create_task(ask(bus))
        await asyncio.sleep(1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        rig.answer(seen[0], Reserved(count=5))
        await asyncio.sleep(1)

        assert (bus.statistics().in_flight, bus.statistics().late) == (0, 1)
        assert bus._asking._asks == {}


async def test_end_of_the_block_waits_for_answers_and_then_ends_what_waits() -> None:
    rig = BusRig(drain_timeout=3.0)
    async with rig.bus() as bus, answered_by(rig, lambda command: None):
        asking = asyncio.create_task(ask(bus, timeout="5m"))
        await asyncio.sleep(1)
        begun = asyncio.get_running_loop().time()

    assert asyncio.get_running_loop().time() - begun == pytest.approx(3.0, abs=0.1)
    with pytest.raises(AskError, match="closed before an answer came: whether it was done is unknown"):
        await asking
    with pytest.raises(ClosedError):
        await ask(bus)
