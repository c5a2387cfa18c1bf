"""Programs that wait for an instance's end are told, whoever owns the shard by then."""

from __future__ import annotations

import asyncio

import pytest

from orchestra.coordinator.inbox import caller_header, caller_of
from orchestra.coordinator.record import Caller
from orchestra.events.cloudevents import decode, encode
from orchestra.events.envelope import Envelope
from orchestra.transport.memory import Fate
from orchestra.transport.port import Outgoing, TopicSpec
from tests.unit.coordinator.harness import World, always, reply_to, world
from tests.unit.coordinator.tiny_flow import TOPIC, start_event

pytestmark = pytest.mark.virtual_time
REPLIES = "web.replies"


async def place(w: World, key: str, caller: str, **data: object) -> None:
    headers, value = encode(start_event(key, **data))
    header = caller_header("tiny", Caller(caller, REPLIES, 1))
    await w.send(Outgoing(TOPIC, key.encode(), value, [*headers, header]))


def answers(w: World) -> list[Envelope]:
    return [decode(record.headers, record.value) for record in w.cluster.records(REPLIES)]


def told(w: World) -> list[str]:
    """Who was told, each once."""
    return sorted({str(answer.get("effectid")) for answer in answers(w)})


async def test_a_caller_is_told_by_the_next_owner() -> None:
    async with world() as w:
        w.cluster.create(TopicSpec(REPLIES, 2))
        first = await w.process()
        w.answer = lambda _: None
        await place(w, "o1", "ask-1")
        await w.until(lambda: len(w.commands) == 1)
        await first.crash()
        w.answer = always

        await w.process()
        await w.send(reply_to(w.commands[0]))

        await w.until(lambda: told(w) == ["ask-1"])
        [answer] = answers(w)
        assert (answer.type, answer.get("flowstatus"), answer.get("flowid")) == (
            "orchestra.done.v1",
            "completed",
            "tiny/o1",
        )
        [record] = w.cluster.records(REPLIES)
        assert (record.partition, record.key) == (1, b"tiny/o1")


async def test_an_answer_that_was_not_sent_before_a_crash_is_sent_after_it() -> None:
    async with world() as w:
        w.cluster.create(TopicSpec(REPLIES, 2))
        first = await w.process()
        never = Fate(stored=False, acknowledged=False)
        w.cluster.rules.append(lambda write: never if write.partition.topic == REPLIES else None)
        await place(w, "o1", "ask-1")
        await w.until(lambda: "tiny/o1" in w.completed())
        await asyncio.sleep(1)
        await first.crash()
        w.cluster.rules.clear()

        await w.process()

        await w.until(lambda: told(w) == ["ask-1"])
        assert len({answer.id for answer in answers(w)}) == 1


async def test_a_caller_of_a_queued_instance_waits_with_it() -> None:
    async with world() as w:
        w.cluster.create(TopicSpec(REPLIES, 2))
        await w.process(max_running=1)
        w.answer = lambda _: None
        await w.place("o0")
        await w.until(lambda: len(w.commands) == 1)
        await place(w, "o1", "ask-1")
        await place(w, "o1", "ask-2")
        await w.until(lambda: w.said("tiny/o1") == ["instance.queued", "start.repeated"])

        w.answer = always
        await w.send(reply_to(w.commands[0]))

        await w.until(lambda: told(w) == ["ask-1", "ask-2"])


async def test_a_start_that_the_router_brings_twice_has_one_caller() -> None:
    async with world() as w:
        w.cluster.create(TopicSpec(REPLIES, 2))
        await w.process()
        w.answer = lambda _: None
        await place(w, "o1", "ask-1")
        await place(w, "o1", "ask-1")
        await w.until(lambda: w.said("tiny/o1") == ["step.started", "start.repeated"])

        w.answer = always
        await w.send(reply_to(w.commands[0]))

        await w.until(lambda: told(w) == ["ask-1"])
        await asyncio.sleep(1)
        assert len(answers(w)) == 1


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[]", b'["tiny","a","t","x"]', b'{"a":1}', b"null"])
def test_a_header_that_names_no_caller_names_nobody(raw: bytes) -> None:
    assert caller_of([("orchestra-caller", raw)], "tiny") is None


def test_a_header_names_the_caller_of_one_flow() -> None:
    header = caller_header("tiny", Caller("ask-1", REPLIES, 3))

    assert caller_of([header], "tiny") == Caller("ask-1", REPLIES, 3)
    assert caller_of([header], "other") is None
