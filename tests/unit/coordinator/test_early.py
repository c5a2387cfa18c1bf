"""Events for instances: those that come before their start, in time, and too late. Hazards 16 and 17."""

from __future__ import annotations

import asyncio

import pytest

from orchestra.coordinator import early
from orchestra.coordinator.exchange import Limits
from orchestra.errors import DecodeError
from orchestra.events.cloudevents import encode
from orchestra.events.envelope import Envelope
from orchestra.transport.memory import Fate
from orchestra.transport.port import Outgoing
from tests.unit.coordinator.harness import NAMES, World, always, reply_to, world
from tests.unit.coordinator.tiny_flow import (
    LISTENS,
    PAID,
    STARTED,
    TOPIC,
    TinyFlow,
    operator_record,
    outcome_record,
    paid_record,
)

pytestmark = pytest.mark.virtual_time

FLOW = TinyFlow(listens_to=LISTENS)
HOUR = 3600


def taken(w: World, instance: str = "tiny/o1") -> list[str]:
    """The events that the flow was given, in order."""
    lines = [line for entry in w.journal(instance) for line in entry["lines"]]
    return [line["note"] for line in lines if line["what"] == "event.taken"]


def reasons(w: World) -> list[str]:
    return [(letter.header("orchestra-dlq-reason") or b"").decode() for letter in w.dead_letters()]


async def started(w: World, key: str = "o1") -> None:
    """An instance that waits for the answer to its first command."""
    w.answer = lambda _: None
    await w.place(key)
    await w.until(lambda: w.steps(key) == ["a1"])


async def test_an_event_reaches_the_instance_that_listens_to_it() -> None:
    async with world() as w:
        await w.process(FLOW)
        await started(w)

        await w.pay("o1")

        await w.until(lambda: taken(w) == ["paid-o1-0"])


async def test_an_event_may_be_for_several_instances() -> None:
    async with world(partitions=4) as w:
        await w.process(FLOW)
        for key in ("o1", "o2", "o3"):
            await started(w, key)

        await w.pay("o1", keys=["o1", "o3"])

        await w.until(lambda: taken(w, "tiny/o1") == taken(w, "tiny/o3") == ["paid-o1-0"])
        assert taken(w, "tiny/o2") == []


async def test_hazard_16_an_event_that_comes_before_the_start_is_kept_and_handed_over_behind_it() -> None:
    async with world() as w:
        await w.process(FLOW)
        for number in range(3):
            await w.pay("o1", number)
        await w.until(lambda: w.said("tiny/o1") == ["event.early"] * 3)
        assert w.statuses() == {"early": 1}

        await started(w)

        await w.until(lambda: len(taken(w)) == 3)
        assert taken(w) == ["paid-o1-0", "paid-o1-1", "paid-o1-2"]
        assert w.said("tiny/o1")[3:] == ["step.started", *["event.taken"] * 3]
        assert w.is_gapless("tiny/o1")
        assert reasons(w) == []


async def test_the_run_of_an_instance_is_its_starts_offset_and_not_that_of_an_early_event() -> None:
    async with world() as w:
        await w.process(FLOW)
        await w.pay("o1")
        await w.until(lambda: w.statuses() == {"early": 1})

        await started(w)

        instance = w.instance("tiny/o1")
        assert instance is not None
        assert instance.run == 1
        assert w.commands[0].get("effectid") == "tiny/o1/1/a1/action/0"


async def test_early_events_outlive_the_process_that_kept_them() -> None:
    async with world() as w:
        first = await w.process(FLOW)
        await w.pay("o1")
        await w.until(lambda: w.statuses() == {"early": 1})
        await first.crash()

        second = await w.process(FLOW)
        await w.until(lambda: second.runtime.statistics()["shards"].get(0, {}).get("state") == "open")
        assert second.shard().roster.early == 1
        await started(w)

        await w.until(lambda: taken(w) == ["paid-o1-0"])
        assert second.shard().roster.early == 0


async def test_hazard_16_an_early_event_whose_start_never_comes_is_a_dead_letter_and_leaves_nothing() -> None:
    async with world() as w:
        process = await w.process(FLOW)
        await w.pay("o1", 0)
        await asyncio.sleep(HOUR / 2)
        await w.pay("o1", 1)
        await asyncio.sleep(HOUR / 2 + 60)
        assert reasons(w) == ["UNKNOWN_INSTANCE"]  # each has its own hour

        await asyncio.sleep(HOUR / 2)
        await w.place("other")
        await w.until(lambda: "tiny/other" in w.completed())
        await asyncio.sleep(60)

        assert reasons(w) == ["UNKNOWN_INSTANCE"] * 2
        assert w.said("tiny/o1") == ["event.early", "event.early", "event.expired", "event.expired"]
        assert w.instance("tiny/o1") is None
        assert list(process.shard().roster.entries) == ["tiny/other"]
        assert (w.dead_letters()[0].header("ce_type"), w.dead_letters()[0].key) == (PAID.encode(), b"tiny/o1")


async def test_an_early_event_expires_in_time_also_when_its_coordinator_was_away() -> None:
    async with world() as w:
        first = await w.process(FLOW)
        await w.pay("o1")
        await w.until(lambda: w.statuses() == {"early": 1})
        await first.crash()
        await asyncio.sleep(2 * HOUR)

        await w.process(FLOW)

        await w.until(lambda: reasons(w) == ["UNKNOWN_INSTANCE"])


async def test_an_instance_may_still_start_after_its_early_events_expired() -> None:
    async with world() as w:
        process = await w.process(FLOW, early="10s")
        await w.pay("o1")
        await w.until(lambda: reasons(w) == ["UNKNOWN_INSTANCE"])
        await w.place("o1")
        await w.until(lambda: "tiny/o1" in w.completed())
        await asyncio.sleep(120)
        await w.place("o2")
        await w.until(lambda: "tiny/o2" in w.completed())
        await asyncio.sleep(60)

        assert "tiny/o1" in process.shard().roster.entries  # its end is remembered as any other


async def test_so_many_early_events_are_kept_for_an_instance_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early, "MAX_EARLY", 3)
    async with world() as w:
        await w.process(FLOW)
        for number in range(5):
            await w.pay("o1", number)
        await w.until(lambda: reasons(w) == ["UNKNOWN_INSTANCE"] * 2)

        await started(w)

        await w.until(lambda: len(taken(w)) == 3)


async def test_events_for_one_instance_that_are_too_large_together_are_dead_letters() -> None:
    async with world() as w:
        await w.process(FLOW, outcome_bytes=2000)
        for number in range(4):
            await w.pay("o1", number, pad="x" * 800)

        await w.until(lambda: w.statuses() == {"early": 1} and len(reasons(w)) >= 2)

        assert set(reasons(w)) == {"UNKNOWN_INSTANCE"}


async def test_events_are_kept_for_so_many_unknown_instances_and_no_more() -> None:
    async with world() as w:
        process = await w.process(FLOW)
        await w.until(lambda: 0 in process.runtime.keepers and process.runtime.keepers[0].is_open)
        process.shard().limits = Limits(max_early=2, partitions=1)
        for number in range(4):
            await w.pay(f"o{number}")

        await w.until(lambda: reasons(w) == ["UNKNOWN_INSTANCE"] * 2)

        assert w.statuses() == {"early": 2}


async def test_an_early_event_that_the_router_brings_twice_is_kept_once() -> None:
    async with world() as w:
        await w.process(FLOW)
        await w.pay("o1")
        await w.pay("o1")
        await w.until(lambda: w.said("tiny/o1") == ["event.early", "event.repeated"])

        await started(w)

        await w.until(lambda: taken(w) == ["paid-o1-0"])


async def test_hazard_16_an_event_for_a_finished_instance_is_journaled_as_late() -> None:
    async with world() as w:
        await w.process(FLOW)
        await w.place("o1")
        await w.until(lambda: "tiny/o1" in w.completed())

        await w.pay("o1")

        await w.until(lambda: w.said("tiny/o1")[-1:] == ["event.late"])
        assert reasons(w) == []


async def test_hazard_17_an_event_for_a_queued_instance_waits_behind_its_start() -> None:
    async with world() as w:
        await w.process(FLOW, max_running=1)
        await started(w, "o0")
        await w.place("o1")
        await w.until(lambda: w.statuses()["queued"] == 1)
        await w.pay("o1")
        await w.until(lambda: w.said("tiny/o1")[-1:] == ["input.waits"])

        w.answer = always
        await w.send(reply_to(w.commands[0]))

        await w.until(lambda: taken(w) == ["paid-o1-0"])


async def test_early_events_stay_behind_a_start_that_is_queued() -> None:
    async with world() as w:
        await w.process(FLOW, max_running=1)
        await started(w, "o0")
        await w.pay("o1")
        await w.until(lambda: w.statuses()["early"] == 1)
        await w.place("o1")
        await w.until(lambda: w.statuses()["queued"] == 1)

        w.answer = lambda command: "tiny.step.done.v1" if command.get("flowid") == "tiny/o0" else None
        await w.send(reply_to(w.commands[0]))

        await w.until(lambda: taken(w) == ["paid-o1-0"])


async def test_early_events_wait_for_a_process_that_has_the_flow() -> None:
    async with world() as w:
        old = await w.process(TinyFlow(name="another", starts_on={STARTED: TOPIC}, listens_to=LISTENS))
        await w.put(paid_record("o1", 0))
        await w.until(lambda: w.statuses() == {"early": 1})
        await old.stop()

        await w.process(FLOW)
        await started(w)

        await w.until(lambda: taken(w) == ["paid-o1-0"])


@pytest.mark.parametrize("what", ["outcome", "request"])
async def test_only_events_are_kept_for_what_has_not_started(what: str) -> None:
    async with world() as w:
        await w.process(FLOW)
        await w.pay("o1")
        await w.until(lambda: w.statuses() == {"early": 1})

        record = (
            outcome_record("tiny/o1/0/a1/action/0", 0) if what == "outcome" else operator_record("tiny/o1", 0, "cancel")
        )
        await w.put(record)

        await w.until(lambda: reasons(w) == ["UNKNOWN_INSTANCE"])
        assert w.statuses() == {"early": 1}


async def test_a_start_that_is_not_valid_leaves_the_early_events_where_they_are() -> None:
    class Fussy(TinyFlow):
        def start_digest(self, event: object) -> str:
            raise DecodeError("data", "not today")

    async with world() as w:
        await w.process(Fussy(listens_to=LISTENS))
        await w.pay("o1")
        await w.until(lambda: w.statuses() == {"early": 1})

        await w.place("o1")

        await w.until(lambda: reasons(w) == ["CONTRACT"])
        assert w.statuses() == {"early": 1}


async def test_an_event_that_starts_and_is_listened_to_starts_first_and_is_no_event_for_its_own_instance() -> None:
    async with world() as w:
        await w.process(TinyFlow(listens_to={STARTED: TOPIC, **LISTENS}))
        w.answer = lambda _: None

        await w.place("o1")
        await w.until(lambda: w.said("tiny/o1") == ["step.started", "event.repeated"])
        await w.place("o1", more="data")

        await w.until(lambda: w.said("tiny/o1")[2:3] == ["start.repeated"])
        assert w.alerts() == []


async def test_an_event_of_the_wrong_shape_is_a_dead_letter_of_the_router() -> None:
    async with world() as w:
        await w.process(FLOW)

        await w.pay("o1", keys=[])
        headers, value = encode(Envelope("e", "/test", PAID, data=b"{}", datacontenttype="application/json"))
        await w.send(Outgoing("tiny.payments", b"x", value, headers))

        await w.until(lambda: reasons(w) == ["CONTRACT"])
        assert len(w.cluster.records(NAMES.inbox)) == 0


async def test_a_dead_letter_of_an_early_event_survives_a_crash() -> None:
    async with world() as w:
        first = await w.process(FLOW, early="10s")
        never = Fate(stored=False, acknowledged=False)
        await w.pay("o1")
        await w.until(lambda: w.statuses() == {"early": 1})
        w.cluster.rules.append(lambda write: never if write.partition.topic == NAMES.dead_letters else None)
        await asyncio.sleep(20)
        await first.crash()
        w.cluster.rules.clear()

        await w.process(FLOW)

        await w.until(lambda: reasons(w) == ["UNKNOWN_INSTANCE"])
