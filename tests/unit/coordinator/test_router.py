"""Which flows an event starts, and what the router promises."""

from __future__ import annotations

import pytest

from orchestra.clock import SystemClock
from orchestra.coordinator.inbox import INPUT, INSTANCE
from orchestra.coordinator.router import Routes
from orchestra.events.cloudevents import encode
from orchestra.transport.memory import Fate
from orchestra.transport.partitioner import partition_for
from orchestra.transport.port import Partition, Record
from tests.unit.coordinator.harness import NAMES, world
from tests.unit.coordinator.tiny_flow import STARTED, TOPIC, TinyFlow, start_event

CLOCK = SystemClock()


def event(key: str = "o1") -> Record:
    headers, value = encode(start_event(key))
    return Record(TOPIC, 3, 7, 0, b"their-key", value, headers)


def test_an_event_goes_unchanged_to_the_shard_of_its_instance() -> None:
    record = event("o 1/2")

    [out] = Routes([TinyFlow()], NAMES, 8).route(record, CLOCK)

    instance = b"tiny/o%201%2F2"
    assert (out.topic, out.key, out.value) == (NAMES.inbox, instance, record.value)
    assert out.partition == partition_for(instance, 8)
    assert out.headers == [*record.headers, (INPUT, b"start"), (INSTANCE, instance)]


def test_one_record_for_each_flow_that_the_event_starts() -> None:
    routes = Routes([TinyFlow(), TinyFlow(name="audit")], NAMES, 8)

    assert [out.key for out in routes.route(event(), CLOCK)] == [b"tiny/o1", b"audit/o1"]


def test_versions_of_a_flow_count_as_one() -> None:
    routes = Routes([TinyFlow(version=2), TinyFlow(version=1)], NAMES, 8)

    assert len(routes.route(event(), CLOCK)) == 1


def test_an_event_that_only_an_older_version_starts_on_starts_it_still() -> None:
    routes = Routes([TinyFlow(version=1), TinyFlow(version=2, starts_on={"tiny.other.v1": TOPIC})], NAMES, 8)

    assert [out.key for out in routes.route(event(), CLOCK)] == [b"tiny/o1"]


def test_a_type_that_starts_nothing_goes_nowhere() -> None:
    headers, value = encode(start_event("o1").evolve(type=f"{STARTED}.other"))

    assert Routes([TinyFlow()], NAMES, 8).route(Record(TOPIC, 0, 0, 0, None, value, headers), CLOCK) == []


def test_an_event_that_is_too_far_from_what_began_it_is_a_dead_letter() -> None:
    routes = Routes([TinyFlow()], NAMES, 8, hop_limit=3)

    for hops, topic in ((2, NAMES.inbox), (3, NAMES.dead_letters)):
        headers, value = encode(start_event("o1").evolve(extensions={"hopcount": hops}))
        [out] = routes.route(Record(TOPIC, 0, 0, 0, None, value, headers), CLOCK)
        assert out.topic == topic
    assert (b"orchestra-dlq-reason", b"HOP_LIMIT") in [(name.encode(), value) for name, value in out.headers]


@pytest.mark.virtual_time
async def test_places_are_committed_only_behind_what_is_stored() -> None:
    async with world() as w:
        w.cluster.rules.append(
            lambda write: Fate(stored=False, acknowledged=False) if write.partition.topic == NAMES.inbox else None
        )
        process = await w.process()
        await w.place("o1")
        await w.until(lambda: process.runtime.statistics()["router"]["read"] == 1)
        await process.crash()
        assert w.cluster.commits(NAMES.router_group) == {}
        w.cluster.rules.clear()

        await w.process()

        await w.until(lambda: "tiny/o1" in w.completed())


@pytest.mark.virtual_time
async def test_a_key_keeps_its_order_when_a_publication_fails() -> None:
    async with world() as w:
        w.cluster.next_writes(Fate(stored=False, acknowledged=False), topic=NAMES.inbox, count=2)
        await w.process()
        for number in range(5):
            await w.place("o1", number=number)

        await w.until(lambda: "tiny/o1" in w.completed(), 200)

        instance = w.cluster.records(NAMES.inbox)[0]
        assert b'"number": 0' in (instance.value or b"")


@pytest.mark.virtual_time
async def test_start_events_that_were_deleted_unread_are_passed_over_with_a_shout() -> None:
    async with world() as w:
        first = await w.process()
        await w.place("o1")
        await w.until(lambda: "tiny/o1" in w.completed())
        await first.stop()
        for number in range(2, 5):
            await w.place(f"o{number}")
        for number in range(8):
            log = w.cluster.log(Partition(TOPIC, number))
            log.delete_before(log.end)

        await w.process()
        for number in range(10, 20):
            await w.place(f"o{number}")

        await w.until(lambda: len(w.completed()) == 11)
