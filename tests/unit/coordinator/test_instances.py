"""Does the read side tell what is durable, and nothing else?"""

from __future__ import annotations

import pytest

from orchestra.coordinator.deployed import Flows
from orchestra.coordinator.instances import Details, Summary, find_instance, list_instances, read_history
from orchestra.coordinator.names import Names
from orchestra.errors import DecodeError, TopicError
from orchestra.transport.memory import MemoryTransport
from orchestra.transport.port import Outgoing
from tests.unit.coordinator.harness import NAMES, SETTINGS, World, always, world
from tests.unit.coordinator.tiny_flow import TinyFlow, operator_record

pytestmark = pytest.mark.virtual_time
FLOWS = Flows([TinyFlow()])


async def reading(w: World) -> MemoryTransport:
    transport = MemoryTransport(w.cluster, SETTINGS, client="reader")
    await transport.start()
    return transport


async def listed(w: World) -> dict[str, Summary]:
    return {summary.id: summary for summary in await list_instances(await reading(w), NAMES)}


async def found(w: World, key: str, flows: Flows = FLOWS) -> Details:
    details = await find_instance(await reading(w), NAMES, flows, f"tiny/{key}")
    assert details is not None
    return details


async def test_instances_are_listed_by_what_changed_last() -> None:
    async with world(partitions=4) as w:
        await w.process(max_running=1000)
        w.answer = lambda command: always(command) if command.get("flowid") == "tiny/o1" else None
        await w.place("o1")
        await w.until(lambda: w.statuses()["completed"] == 1)
        await w.place("o2")
        await w.until(lambda: w.statuses()["running"] == 1)

        summaries = await list_instances(await reading(w), NAMES)

    assert [(summary.id, summary.status, summary.is_live) for summary in summaries] == [
        ("tiny/o1", "completed", False),
        ("tiny/o2", "running", True),
    ]
    assert {summary.flow for summary in summaries} == {"tiny/1"}


async def test_a_live_instance_shows_what_it_waits_for() -> None:
    async with world() as w:
        await w.process()
        w.answer = lambda _: None
        await w.place("o1")
        await w.until(lambda: w.statuses()["running"] == 1)

        details = await found(w, "o1")

    assert (details.key, details.version, details.finished) == ("o1", 1, None)
    assert list(details.waits_for) == ["an answer to a1"]
    assert [step.name for step in details.steps] == ["a1", "a2"]


async def test_a_finished_instance_still_shows_its_steps_and_when_it_ended() -> None:
    async with world() as w:
        await w.process()
        await w.place("o1")
        await w.until(lambda: w.statuses()["completed"] == 1)

        details = await found(w, "o1")

    assert details.finished is not None
    assert details.finished >= details.begun
    assert [step.name for step in details.steps] == ["a1", "a2"]
    assert list(details.waits_for) == []


async def test_messages_count_as_unsent_only_until_the_shards_mark_has_passed_them() -> None:
    async with world() as w:
        process = await w.process()
        w.answer = lambda _: None
        await w.place("o1")
        await w.until(lambda: len(w.commands) == 1)
        assert (await found(w, "o1")).unsent > 0

        await process.stop()  # says in the log how far everything was sent

        assert (await found(w, "o1")).unsent == 0


async def test_a_queued_instance_waits_for_its_turn() -> None:
    async with world() as w:
        await w.process(max_running=1)
        w.answer = lambda _: None
        await w.place("o1")
        await w.place("o2")
        await w.until(lambda: w.statuses()["queued"] == 1)

        details = await found(w, "o2")

    assert details.summary.status == "queued"
    assert list(details.waits_for) == ["its turn, below max_running"]
    assert details.waiting == 1


async def test_a_parked_instance_says_why_and_who_must_act() -> None:
    async with world() as w:
        await w.process()
        await w.place("o1", **{"raise": "no such street"})
        await w.until(lambda: w.statuses()["parked"] == 1)

        details = await found(w, "o1")

    assert details.summary.is_live
    assert "no such street" in (details.parked or "")
    assert details.waits_for[0].startswith("an operator, since ")


async def test_a_version_that_is_not_here_hides_the_steps_and_nothing_else() -> None:
    async with world() as w:
        await w.process()
        w.answer = lambda _: None
        await w.place("o1")
        await w.until(lambda: w.statuses()["running"] == 1)

        details = await found(w, "o1", Flows([TinyFlow(version=2)]))

    assert (details.steps, details.version, details.summary.status) == ((), 1, "running")


async def test_the_history_is_told_in_order_and_repeats_are_dropped() -> None:
    async with world() as w:
        await w.process()
        w.answer = lambda _: None
        await w.place("o1")
        await w.until(lambda: w.statuses()["running"] == 1)
        await w.put(operator_record("tiny/o1", 0, "cancel"))
        await w.until(lambda: w.statuses()["compensating"] == 1)
        await w.until(lambda: len(w.journal()) == 2)
        (first, *_) = w.cluster.records(NAMES.journal)
        await w.send(Outgoing(NAMES.journal, first.key, first.value, first.headers, first.partition))

        history = await read_history(await reading(w), NAMES, "tiny/o1")

    assert [line.what for line in history if line.step] == ["step.started", "cancelled"]
    assert sorted(history, key=lambda line: line.at) == history


async def test_an_instance_that_never_was_is_none() -> None:
    async with world() as w:
        await w.process()

        assert await find_instance(await reading(w), NAMES, FLOWS, "tiny/nobody") is None
        assert await read_history(await reading(w), NAMES, "tiny/nobody") == []
        assert await listed(w) == {}


async def test_a_coordinator_that_never_ran_here_is_said_so() -> None:
    async with world() as w:
        with pytest.raises(TopicError, match="'other' has never run here"):
            await list_instances(await reading(w), Names.of("other", SETTINGS))


async def test_what_no_coordinator_wrote_is_an_error_and_no_crash() -> None:
    async with world() as w:
        await w.send(Outgoing(NAMES.state, b"tiny/o1", b"{}", (), 0))

        with pytest.raises(DecodeError, match=r"t\.state\[0\]@0 .* was written by no coordinator"):
            await list_instances(await reading(w), NAMES)
