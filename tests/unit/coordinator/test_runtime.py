"""A coordinator on the memory transport, in virtual time: whole processes, killed and moved."""

from __future__ import annotations

import asyncio

import pytest

from orchestra.coordinator.record import decode_instance
from orchestra.errors import (
    DefinitionError,
    FenceBreachedError,
    OffsetLostError,
    OutcomeUnknownError,
    RecordTooLargeError,
    TopicError,
)
from orchestra.transport.memory import Fate, Write
from orchestra.transport.port import Outgoing, Partition, Record
from tests.unit.coordinator.harness import NAMES, Process, World, always, reply_to, world
from tests.unit.coordinator.tiny_flow import COMMANDS, DONE, TinyFlow, outcome_record

pytestmark = pytest.mark.virtual_time


async def test_an_order_runs_to_its_end() -> None:
    async with world() as w:
        await w.process()

        await w.place("o1")

        await w.until(lambda: w.statuses()["completed"] == 1)
        await w.until(lambda: len(w.journal()) == 3)
        assert w.steps("o1") == ["a1", "a2"]
        assert [entry["status"] for entry in w.journal()] == ["running", "running", "completed"]


# ---- takeover


async def test_another_process_goes_on_where_a_killed_one_stopped() -> None:
    async with world() as w:
        w.answer = lambda command: DONE if command.get("flowstep") == "a1" else None
        first = await w.process()
        await w.place("o1")
        await w.until(lambda: w.steps("o1") == ["a1", "a2"])

        await first.crash()
        w.answer = always
        await w.process()

        await w.until(lambda: "a2" in w.steps("o1")[2:] or w.statuses()["completed"] == 1)
        await w.send(reply_to(w.commands[1]))
        await w.until(lambda: w.statuses()["completed"] == 1)
        assert w.said("tiny/o1").count("step.replied") == 2
        assert w.is_gapless("tiny/o1")


async def test_every_kill_in_the_middle_ends_with_each_order_done_once() -> None:
    async with world(partitions=2) as w:
        victim = await w.process()
        await w.process()
        for number in range(20):
            await w.place(f"o{number}")
            if number % 5 == 4:
                await asyncio.sleep(0.05)
                await victim.crash()
                victim = await w.process()

        await w.until(lambda: w.statuses()["completed"] == 20, 200)

        for number in range(20):
            assert w.is_gapless(f"tiny/o{number}")
            assert w.said(f"tiny/o{number}").count("step.replied") == 2
            ids = {command.id for command in w.commands if command.get("flowid") == f"tiny/o{number}"}
            assert len(ids) == 2


async def test_a_process_that_leaves_in_good_order_leaves_nothing_to_repeat() -> None:
    async with world() as w:
        first = await w.process()
        for number in range(10):
            await w.place(f"o{number}")
        await w.until(lambda: w.statuses()["completed"] == 10)
        await first.stop()
        seen = len(w.cluster.records(NAMES.journal)), len(w.commands)

        second = await w.process()
        await w.place("o10")
        await w.until(lambda: w.statuses()["completed"] == 11)
        await second.stop()

        assert (len(w.cluster.records(NAMES.journal)), len(w.commands)) == (seen[0] + 3, seen[1] + 2)


async def test_two_processes_share_the_shards() -> None:
    async with world(partitions=4) as w:
        first = await w.process()
        second = await w.process()

        await w.until(lambda: open_shards(first) == 2 and open_shards(second) == 2)
        for number in range(20):
            await w.place(f"o{number}")

        await w.until(lambda: w.statuses()["completed"] == 20)


async def test_a_shard_whose_partition_comes_back_is_kept() -> None:
    async with world(partitions=2) as w:
        first = await w.process()
        await w.until(lambda: open_shards(first) == 2)
        claims = len(claims_of(w))

        second = await w.process()
        await w.until(lambda: open_shards(first) == 1 and open_shards(second) == 1)

        assert len(claims_of(w)) == claims + 1  # only the shard that moved was claimed
        kept = next(iter(number for number, keeper in first.runtime.keepers.items() if keeper.is_open))
        assert b"!position" in [record.key for record in w.cluster.records(NAMES.state) if record.partition == kept]


async def test_a_shard_that_was_claimed_meanwhile_is_not_kept() -> None:
    async with world() as w:
        first = await w.process()
        await w.until(lambda: open_shards(first) == 1)
        log = await w.transport.fenced_log("t.0", Partition(NAMES.state, 0))
        identity = log.identity
        await (await log.append(f"!claim/{identity.producer_id}".encode(), b'{"partitions":1,"topics":{}}'))

        await w.place("o1")

        await w.until(lambda: w.statuses()["completed"] == 1)
        assert first.runtime.statistics()["owners"]["acquired"] == 2


async def test_a_stopped_process_that_wakes_up_late_appends_nothing_and_recovers() -> None:
    async with world() as w:
        zombie = await w.process()
        await w.until(lambda: open_shards(zombie) == 1)
        w.answer = lambda _: None
        await w.place("o1")
        await w.until(lambda: w.steps("o1") == ["a1"])
        zombie.transport.freeze()
        w.answer = always
        second = await w.process()
        await w.until(lambda: open_shards(second) == 1)
        await w.send(reply_to(w.commands[0]))
        await w.until(lambda: w.statuses()["completed"] == 1)
        written = owners_of(w)

        zombie.transport.thaw()
        for number in range(2, 6):
            await w.place(f"o{number}")
        await w.until(lambda: w.statuses()["completed"] == 5)

        await second.stop()
        await w.until(lambda: open_shards(zombie) == 1)
        await w.place("o9")
        await w.until(lambda: w.statuses()["completed"] == 6)
        assert forks_of(w) == []
        assert written == owners_of(w)[: len(written)]


async def test_a_process_that_was_suspended_takes_its_shards_under_a_new_claim() -> None:
    async with world() as w:
        process = await w.process()
        await w.place("o1")
        await w.until(lambda: "tiny/o1" in w.completed())

        asyncio.get_running_loop().jump(3600)  # type: ignore[attr-defined]
        await w.place("o2")

        await w.until(lambda: "tiny/o2" in w.completed(), 200)
        assert len({claim for claim in owners_of(w) if claim}) == 2
        assert process.runtime.statistics()["owners"]["acquired"] == 2


# ---- faults of the brokers


async def test_an_append_that_fails_is_settled_by_a_new_claim() -> None:
    async with world() as w:
        process = await w.process()
        await w.until(lambda: open_shards(process) == 1)
        w.cluster.next_writes(Fate(stored=False, acknowledged=False), topic=NAMES.state)

        await w.place("o1")

        await w.until(lambda: w.statuses()["completed"] == 1, 200)
        assert process.runtime.statistics()["owners"]["acquired"] == 2
        assert forks_of(w) == []


async def test_a_shard_that_fails_again_and_again_waits_longer_and_tells_somebody() -> None:
    async with world() as w:
        process = await w.process()
        await w.until(lambda: open_shards(process) == 1)
        refused = RecordTooLargeError("the topic takes less")
        allowed: list[bool] = []

        def rule(write: Write) -> Fate | None:
            hit = write.partition.topic == NAMES.state and write.key == b"tiny/o1" and not allowed
            return Fate(error=refused) if hit else None

        w.cluster.rules.append(rule)

        await w.place("o1")
        await w.until(lambda: w.alerts() == ["shard.failing"], 200)
        await asyncio.sleep(120)

        assert process.runtime.statistics()["owners"]["acquired"] < 25
        allowed.append(True)  # somebody has mended the topic
        await w.until(lambda: "tiny/o1" in w.completed())


async def test_an_append_whose_acknowledgement_is_lost_counts_once() -> None:
    async with world() as w:
        process = await w.process()
        await w.until(lambda: open_shards(process) == 1)
        w.cluster.next_writes(Fate(acknowledged=False), topic=NAMES.state)

        await w.place("o1")

        await w.until(lambda: w.statuses()["completed"] == 1, 200)
        assert [entry["version"] for entry in w.journal("tiny/o1")] == [1, 2, 3]


async def test_brokers_that_are_away_for_minutes_cost_nothing_but_time() -> None:
    async with world() as w:
        process = await w.process(TinyFlow(timeout=3600.0))
        await w.until(lambda: open_shards(process) == 1)
        w.answer = lambda _: None
        await w.place("o1")
        await w.until(lambda: w.steps("o1") == ["a1"])

        w.cluster.go_down()
        await asyncio.sleep(300)
        w.cluster.come_back()
        w.answer = always
        await w.send(reply_to(w.commands[0]))

        await w.until(lambda: w.statuses()["completed"] == 1, 300)
        assert process.task is not None
        assert not process.task.done()


async def test_a_message_that_is_not_sent_is_sent_again_and_in_order() -> None:
    async with world() as w:
        await w.process()
        w.cluster.next_writes(Fate(error=OutcomeUnknownError("lost")), count=2, topic=COMMANDS)

        await w.place("o1")

        await w.until(lambda: w.statuses()["completed"] == 1)
        assert w.steps("o1") == ["a1", "a2"]


# ---- time


async def test_a_timer_fires_and_starts_when_its_command_is_acknowledged() -> None:
    async with world() as w:
        await w.process(TinyFlow(timeout=30.0))
        w.answer = lambda command: DONE if command.get("flowstep") == "c1" else None
        begun = w.clock.now()

        await w.place("o1")

        await w.until(lambda: w.statuses()["compensated"] == 1)
        assert w.steps("o1") == ["a1", "c1"]
        assert 30 <= (w.clock.now() - begun).total_seconds() < 32


async def test_a_timer_fires_once_also_after_downtime() -> None:
    async with world() as w:
        first = await w.process(TinyFlow(timeout=30.0))
        w.answer = lambda command: DONE if command.get("flowstep") == "c1" else None
        await w.place("o1")
        await w.until(lambda: w.steps("o1") == ["a1"])
        await asyncio.sleep(1)
        await first.crash()
        await asyncio.sleep(3600)

        await w.process(TinyFlow(timeout=30.0))

        await w.until(lambda: w.statuses()["compensated"] == 1)
        assert w.steps("o1").count("c1") == 1


async def test_answers_that_came_while_nobody_was_there_are_read_before_timers_fire() -> None:
    async with world() as w:
        first = await w.process(TinyFlow(timeout=30.0))
        w.answer = lambda _: None
        for number in range(5):
            await w.place(f"o{number}")
        await w.until(lambda: len(w.commands) == 5)
        await asyncio.sleep(1)
        await first.crash()
        await w.send(*(reply_to(command) for command in w.commands[:5]))
        await asyncio.sleep(3600)
        w.answer = always

        await w.process(TinyFlow(timeout=30.0))

        await w.until(lambda: w.statuses()["completed"] == 5)
        assert "compensated" not in w.statuses()


# ---- more starts than may run


async def test_more_starts_than_may_run_are_queued_durably() -> None:
    async with world() as w:
        w.answer = lambda _: None
        first = await w.process(max_running=2)
        for number in range(5):
            await w.place(f"o{number}")
        await w.until(lambda: w.statuses() == {"running": 2, "queued": 3})
        await first.crash()
        second = await w.process(max_running=2)
        await w.until(lambda: open_shards(second) == 1)
        assert second.shard().roster.running == 2
        assert len(second.shard().roster.queue) == 3

        w.answer = always
        await w.send(*(reply_to(command) for command in w.commands))

        await w.until(lambda: w.statuses()["completed"] == 5)
        order = [line["instance"] for line in w.journal() if "instance.released" in str(line["lines"])]
        assert sorted(order) == ["tiny/o2", "tiny/o3", "tiny/o4"]


# ---- what is forgotten


async def test_a_finished_instance_is_forgotten_when_the_inbox_has_been_read_beyond_its_time() -> None:
    async with world() as w:
        await w.process(remember="1h")
        await w.place("o1")
        await w.until(lambda: w.statuses()["completed"] == 1)
        await asyncio.sleep(7200)
        assert w.statuses()["completed"] == 1  # an idle inbox proves nothing

        await w.place("o2")
        await w.until(lambda: w.instance("tiny/o1") is None)

        keys = [(record.key, record.value) for record in w.cluster.records(NAMES.state)]
        assert keys.index((b"!position", b"{}"), 1) < keys.index((b"tiny/o1", None))


async def test_a_forgotten_key_may_be_used_again_with_other_effects() -> None:
    async with world() as w:
        await w.process(remember="1h")
        await w.place("o1")
        await w.until(lambda: w.statuses()["completed"] == 1)
        await asyncio.sleep(7200)
        await w.place("o2")
        await w.until(lambda: w.instance("tiny/o1") is None)

        await w.place("o1", other="content")

        await w.until(lambda: w.steps("o1") == ["a1", "a2", "a1", "a2"])
        effects = {command.get("effectid") for command in w.commands if command.get("flowid") == "tiny/o1"}
        assert len(effects) == 4


async def test_records_of_the_inbox_are_deleted_thirty_days_behind() -> None:
    async with world() as w:
        process = await w.process(remember="90d")
        await w.place("o1")
        await w.until(lambda: w.statuses()["completed"] == 1)
        w.clock.days = 31
        await w.place("o2")

        await w.until(lambda: w.statuses()["completed"] == 2)
        await asyncio.sleep(3700)

        assert w.cluster.log(Partition(NAMES.inbox, 0)).start == 3  # what o1 brought; o2 is young
        await process.crash()
        await w.process(remember="90d")
        await w.place("o3")
        await w.until(lambda: w.statuses()["completed"] == 3)


# ---- alarms


async def test_a_shard_stops_with_an_alarm_when_input_was_deleted_unread() -> None:
    async with world() as w:
        first = await w.process()
        await w.place("o1")
        await w.until(lambda: w.statuses()["completed"] == 1)
        await first.stop()
        await w.put(stray_record(0))
        await w.put(stray_record(1))
        w.cluster.log(Partition(NAMES.inbox, 0)).delete_before(5)

        second = await w.process()

        await w.until(lambda: alarm_of(second) is not None)
        assert isinstance(alarm_of(second), OffsetLostError)
        assert w.alerts() == ["shard.stopped"]


async def test_a_shard_stops_with_an_alarm_when_its_inbox_was_made_anew() -> None:
    async with world() as w:
        first = await w.process()
        await w.place("o1")
        await w.until(lambda: w.statuses()["completed"] == 1)
        await first.stop()
        w.cluster.delete(NAMES.inbox)
        w.cluster.create(first.runtime.needed_topics()[0])

        second = await w.process()

        await w.until(lambda: alarm_of(second) is not None)
        assert "anew" in str(alarm_of(second))


async def test_a_shard_stops_with_an_alarm_when_the_fence_was_breached() -> None:
    async with world() as w:
        first = await w.process()
        await w.place("o1")
        await w.until(lambda: w.statuses()["completed"] == 1)
        old = w.cluster.records(NAMES.state)[-1]
        await first.stop()
        second = await w.process()
        await w.place("o2")
        await w.until(lambda: w.statuses()["completed"] == 2)
        await second.stop()
        await w.send(Outgoing(NAMES.state, old.key, old.value, old.headers, 0))

        third = await w.process()

        await w.until(lambda: alarm_of(third) is not None)
        assert isinstance(alarm_of(third), FenceBreachedError)


async def test_another_partition_count_does_not_start() -> None:
    async with world(partitions=2) as w:
        w.partitions = 4

        with pytest.raises(TopicError, match="2 partitions"):
            await w.process()


# ---- versions


async def test_the_same_version_with_another_graph_does_not_start() -> None:
    async with world() as w:
        first = await w.process(TinyFlow(digest="d1"))
        await w.place("o1")
        await w.until(lambda: w.statuses()["completed"] == 1)
        await first.stop()

        second = await w.process(TinyFlow(digest="d2"))

        assert second.task is not None
        with pytest.raises(DefinitionError, match=r"(?s)flow tiny version 1 .* give the changed flow version 2"):
            await second.task


async def test_a_process_that_was_refused_leaves_the_old_one_able_to_go_on() -> None:
    async with world() as w:
        first = await w.process(TinyFlow(digest="d1"))
        await w.until(lambda: open_shards(first) == 1)
        second = await w.process(TinyFlow(digest="d2"))
        assert second.task is not None
        await first.stop()
        with pytest.raises(DefinitionError):
            await second.task

        await w.process(TinyFlow(digest="d1"))
        await w.place("o1")

        await w.until(lambda: w.statuses()["completed"] == 1)


async def test_inputs_of_a_version_that_is_not_here_wait_for_a_process_that_has_it() -> None:
    async with world() as w:
        w.answer = lambda _: None
        new = await w.process(TinyFlow(version=2))
        await w.place("o1")
        await w.until(lambda: w.steps("o1") == ["a1"])
        await new.stop()
        old = await w.process(TinyFlow(version=1))
        await w.send(reply_to(w.commands[0]))
        await w.until(lambda: w.statuses()["parked"] == 1)
        assert w.alerts() == ["version.missing"]
        before = w.instance("tiny/o1")
        assert before is not None
        assert before.state is not None
        assert before.state["at"] == "a1"
        await old.stop()
        w.answer = always

        await w.process(TinyFlow(version=1), TinyFlow(version=2))

        await w.until(lambda: w.statuses()["completed"] == 1)
        assert w.steps("o1") == ["a1", "a2"]


async def test_running_instances_stay_on_the_version_they_started_with() -> None:
    async with world() as w:
        w.answer = lambda _: None
        first = await w.process(TinyFlow(version=1, count=2))
        await w.place("o1")
        await w.until(lambda: w.steps("o1") == ["a1"])
        await first.stop()
        w.answer = always

        await w.process(TinyFlow(version=1, count=2), TinyFlow(version=2, count=3))
        await w.send(reply_to(w.commands[0]))
        await w.place("o2")

        await w.until(lambda: w.statuses()["completed"] == 2)
        assert w.steps("o1") == ["a1", "a2"]
        assert w.steps("o2") == ["a1", "a2", "a3"]


# ---- looking


def open_shards(process: Process) -> int:
    return sum(keeper.is_open for keeper in process.runtime.keepers.values())


def alarm_of(process: Process) -> Exception | None:
    return next((keeper.stopped for keeper in process.runtime.keepers.values()), None)


def claims_of(w: World) -> list[Record]:
    return [record for record in w.cluster.records(NAMES.state) if (record.key or b"").startswith(b"!claim")]


def owners_of(w: World) -> list[bytes | None]:
    return [record.header("orchestra-claim") for record in w.cluster.records(NAMES.state)]


def forks_of(w: World) -> list[bytes]:
    """Instances whose records are not one line of versions."""
    versions: dict[bytes, list[int]] = {}
    for record in w.cluster.records(NAMES.state):
        if record.key and not record.key.startswith(b"!") and record.value is not None:
            versions.setdefault(record.key, []).append(decode_instance("x", record.value).n)
    return [key for key, found in versions.items() if found != list(range(1, len(found) + 1))]


def stray_record(number: int) -> Record:
    return outcome_record(f"tiny/stray/{number}/a1/action/0", number)
