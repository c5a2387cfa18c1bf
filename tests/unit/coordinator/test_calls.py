"""Flows that call flows: starts, answers and requests go through the inbox, whoever crashes."""

from __future__ import annotations

import asyncio

import pytest

from orchestra.coordinator.coordinator import Coordinator
from orchestra.errors import DefinitionError
from orchestra.events.cloudevents import decode, encode
from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Done, Message, record_key, spec_of
from orchestra.flows.saga import definition_of
from orchestra.transport.memory import Fate
from orchestra.transport.partitioner import partition_for
from orchestra.transport.port import Outgoing
from tests.unit.coordinator.family import (
    Charge,
    Declined,
    Order,
    Ordered,
    Pack,
    Paid,
    Parcel,
    ParcelRequested,
    Steps,
    Strict,
)
from tests.unit.coordinator.harness import NAMES, Answer, Process, World, reply_to, world
from tests.unit.coordinator.tiny_flow import TinyFlow, operator_record

pytestmark = pytest.mark.virtual_time

PACK, CHARGE, UNPACK = (
    spec_of(each).type for each in (Pack, Charge, __import__("orchestra.events.message").events.message.Undo[Pack])
)
ANSWERS = {PACK: spec_of(Done).type, UNPACK: spec_of(Done).type, CHARGE: spec_of(Paid).type}


def answering(**other: str | None) -> Answer:
    """Every command is done, but for those named by step: by the type of the answer, or by none."""

    def answer(command: Envelope) -> str | None:
        step = command.get("flowstep") or ""
        return other[step] if step in other else ANSWERS[command.type]

    return answer


async def publish(w: World, event: Message, *headers: tuple[str, bytes], **extensions: str) -> None:
    envelope = compose(event, id=f"e-{type(event).__name__}", source="/test", time=w.clock.now(), extensions=extensions)
    encoded, value = encode(envelope)
    topic = spec_of(type(event)).topic or ""
    await w.send(Outgoing(topic, record_key(event), value, [*encoded, *headers]))


async def family(w: World, *flows: type) -> Process:
    w.answer = answering()
    return await w.process(*(definition_of(flow) for flow in (flows or (Order, Parcel))))


def status(w: World, instance: str) -> str | None:
    found = w.instance(instance)
    return found.label if found is not None else None


async def test_a_called_flow_runs_as_an_instance_of_its_own_and_its_end_is_the_steps_reply() -> None:
    async with world(partitions=4) as w:
        await family(w)

        await publish(w, Ordered(key="o1"))

        await w.until(lambda: w.completed() == {"order/o1", "parcel/o1"})
        starts = [record for record in w.cluster.records(NAMES.inbox) if record.key == b"parcel/o1"]
        assert starts[0].header("orchestra-input") == b"start"
        assert starts[0].partition == partition_for(b"parcel/o1", 4)
        start = decode(starts[0].headers, starts[0].value)
        assert start.get("replyto") == NAMES.inbox
        assert start.extensions["replypartition"] == partition_for(b"order/o1", 4)
        assert start.get("flowid") == "order/o1"
        assert "step.replied" in w.said("order/o1")
        assert [letter.key for letter in w.dead_letters()] == []


async def test_a_parent_that_fails_has_its_completed_child_undone() -> None:
    async with world() as w:
        await family(w, Strict, Parcel)
        w.answer = answering(charge=spec_of(Declined).type)

        await publish(w, Ordered(key="o1"))

        await w.until(lambda: status(w, "strict/o1") == "compensated")
        assert status(w, "parcel/o1") == "compensated"
        assert w.said("parcel/o1").count("flow.completed") == 1
        assert w.said("parcel/o1").count("flow.compensated") == 1
        assert w.is_gapless("parcel/o1")


async def test_a_child_that_is_revived_counts_as_running_and_is_forgotten_in_its_own_time() -> None:
    async with world() as w:
        process = await family(w, Strict, Parcel)
        w.answer = answering(charge=None)
        await publish(w, Ordered(key="o1"))
        await w.until(lambda: len(w.commands) == 2)
        roster = process.shard().roster
        assert (status(w, "parcel/o1"), roster.running) == ("completed", 1)
        w.clock.days = 20

        w.answer = answering(pack=None)
        await w.send(reply_to(w.commands[1], spec_of(Declined).type))

        await w.until(lambda: len(w.commands) == 3)
        assert (status(w, "parcel/o1"), roster.running) == ("compensating", 2)
        w.clock.days = 40  # its first end would be forgotten by now
        await publish(w, Ordered(key="o2"))
        await asyncio.sleep(120)
        assert status(w, "parcel/o1") == "compensating"
        await w.send(reply_to(w.commands[2], spec_of(Done).type))
        await w.until(lambda: status(w, "parcel/o1") == "compensated")
        w.clock.days = 80
        await publish(w, Ordered(key="o3"))
        await w.until(lambda: status(w, "parcel/o1") is None, 200)


async def ask(w: World, instance: str, action: str, by: str = "ann") -> None:
    await w.put(operator_record(instance, 0, action))


@pytest.mark.parametrize("moment", ["called", "shipped", "undone"])
async def test_a_crash_between_caller_and_child_loses_and_doubles_nothing(moment: str) -> None:
    never = Fate(stored=False, acknowledged=False)
    async with world() as w:
        first = await family(w, Strict, Parcel)
        w.answer = answering(charge=spec_of(Declined).type)
        header = {
            "called": ("ce_type", b"family.parcel-requested.v1"),
            "shipped": ("ce_type", b"family.parcel-shipped.v1"),
            "undone": ("orchestra-input", b"operator"),
        }[moment]
        w.cluster.rules.append(
            lambda write: never if write.partition.topic == NAMES.inbox and header in write.headers else None
        )
        await publish(w, Ordered(key="o1"))
        await asyncio.sleep(5)
        assert status(w, "strict/o1") in ("running", "compensating")
        await first.crash()
        w.cluster.rules.clear()

        await w.process(definition_of(Strict), definition_of(Parcel))

        await w.until(lambda: status(w, "strict/o1") == "compensated")
        assert status(w, "parcel/o1") == "compensated"
        for instance in ("strict/o1", "parcel/o1"):
            assert w.is_gapless(instance)
        effects = [command.get("effectid") for command in w.commands]
        assert len(set(effects)) == 3  # pack, charge, undo of pack


async def test_a_flow_whose_child_is_somebody_elses_is_refused_at_once() -> None:
    async with world() as w:
        await family(w)
        await publish(w, ParcelRequested(key="p1"))
        await w.until(lambda: "parcel/p1" in w.completed())

        await publish(w, Ordered(key="o1", parcel="p1"))

        await w.until(lambda: status(w, "order/o1") == "compensated")
        assert "step.refused" in w.said("order/o1")
        assert w.said("parcel/p1")[-1] == "start.refused"
        assert len([each for each in w.commands if each.type == UNPACK]) == 0


async def test_two_flows_that_call_one_child_share_nothing() -> None:
    async with world() as w:
        await family(w)
        w.answer = answering(pack=None)
        await publish(w, Ordered(key="o1", parcel="p"))
        await w.until(lambda: status(w, "parcel/p") == "running")

        await publish(w, Ordered(key="o2", parcel="p"))

        await w.until(lambda: status(w, "order/o2") == "compensated")
        assert status(w, "order/o1") == "running"


async def test_a_child_does_not_queue_behind_its_own_caller() -> None:
    async with world() as w:
        w.answer = answering()
        await w.process(definition_of(Order), definition_of(Parcel), max_running=1)

        await publish(w, Ordered(key="o1"))
        await publish(w, Ordered(key="o2"))

        await w.until(lambda: w.completed() == {"order/o1", "order/o2", "parcel/o1", "parcel/o2"})
        assert "instance.queued" in w.said("order/o2")


async def test_a_calls_repeated_start_is_no_second_child() -> None:
    async with world() as w:
        await family(w)
        await publish(w, Ordered(key="o1"))
        await w.until(lambda: w.completed() == {"order/o1", "parcel/o1"})
        start = next(record for record in w.cluster.records(NAMES.inbox) if record.key == b"parcel/o1")

        await w.put(start)

        await w.until(lambda: w.said("parcel/o1")[-1] == "start.repeated")


def test_a_coordinator_needs_the_flows_that_its_flows_call() -> None:
    with pytest.raises(DefinitionError, match="flow order calls parcel, which is not among its flows"):
        Coordinator("t", flows=[Order])


# ---- restart


async def test_a_halted_flow_restarts_from_its_start_as_another_run() -> None:
    async with world() as w:
        process = await family(w, Steps)
        w.answer = answering(charge=spec_of(Declined).type)
        await publish(w, Ordered(key="o1"))
        await w.until(lambda: status(w, "steps/o1") == "halted")
        assert process.shard().roster.running == 0
        w.answer = answering()

        await ask(w, "steps/o1", "restart")

        await w.until(lambda: status(w, "steps/o1") == "completed")
        instance = w.instance("steps/o1")
        assert instance is not None
        request = next(r for r in w.cluster.records(NAMES.inbox) if r.header("orchestra-input") == b"operator")
        assert instance.run == request.offset
        runs = [(command.get("effectid") or "").split("/")[2] for command in w.commands]
        assert runs == ["0", "0", str(request.offset), str(request.offset)]
        assert "operator.restart" in w.said("steps/o1")
        assert w.is_gapless("steps/o1")
        assert process.shard().roster.running == 0


@pytest.mark.parametrize("where", ["running", "completed"])
async def test_only_a_halted_flow_is_restarted(where: str) -> None:
    async with world() as w:
        await family(w, Steps)
        w.answer = answering(**({"charge": None} if where == "running" else {}))
        await publish(w, Ordered(key="o1"))
        await w.until(lambda: status(w, "steps/o1") == where and len(w.commands) == 2)

        await ask(w, "steps/o1", "restart")

        said = "operator.refused" if where == "running" else "input.ignored"
        await w.until(lambda: w.said("steps/o1")[-1] == said)
        assert len(w.commands) == 2


async def test_answers_to_an_earlier_run_change_nothing() -> None:
    async with world() as w:
        await family(w, Steps)
        w.answer = answering(charge=spec_of(Declined).type)
        await publish(w, Ordered(key="o1"))
        await w.until(lambda: status(w, "steps/o1") == "halted")
        w.answer = answering(pack=None)
        await ask(w, "steps/o1", "restart")
        await w.until(lambda: status(w, "steps/o1") == "running" and len(w.commands) == 3)
        await w.send(reply_to(w.commands[0], spec_of(Done).type))

        await w.until(lambda: w.said("steps/o1")[-1] == "outcome.unknown")
        assert len(w.commands) == 3


async def test_a_restart_survives_a_takeover() -> None:
    async with world() as w:
        first = await family(w, Steps)
        w.answer = answering(charge=spec_of(Declined).type)
        await publish(w, Ordered(key="o1"))
        await w.until(lambda: status(w, "steps/o1") == "halted")
        w.answer = answering(charge=None)
        await ask(w, "steps/o1", "restart")
        await w.until(lambda: len(w.commands) == 4)
        await first.crash()
        w.answer = answering()

        await w.process(definition_of(Steps))
        await w.send(reply_to(w.commands[3], spec_of(Paid).type))

        await w.until(lambda: status(w, "steps/o1") == "completed")


# ---- requests to what is parked


async def test_a_decision_for_a_parked_instance_waits_in_order() -> None:
    async with world() as w:
        await w.process(TinyFlow())
        await w.place("bad", **{"raise": "kaboom"})
        await w.until(lambda: w.statuses() == {"parked": 1})

        await ask(w, "tiny/bad", "approve")

        await w.until(lambda: w.said("tiny/bad")[-1] == "input.waits")
        assert w.statuses() == {"parked": 1}
