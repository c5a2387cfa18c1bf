"""The outbox and its relay on a real SQLite file: what commits is sent, once marked never again, in order per key.

The same tests run on PostgreSQL: ``tests/integration/test_outbox_postgres.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cloudevents.core.v1.event import CloudEvent
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from orchestra.errors import (
    DefinitionError,
    OutcomeUnknownError,
    RecordTooLargeError,
    UnreachableError,
)
from orchestra.events.envelope import compose
from orchestra.events.message import Event, Key
from orchestra.outbox import lease
from orchestra.outbox.table import create_tables
from orchestra.service.sqlite import sqlite_engine
from orchestra.transport.port import Outgoing, TopicSpec
from tests.unit.outbox.rig import TOPIC, Changed, Elsewhere, World, eventually


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    made = sqlite_engine(tmp_path / "shop.db")
    yield made
    await made.dispose()


@pytest.fixture
async def world(engine: AsyncEngine) -> World:
    await create_tables(engine)
    await create_tables(engine)  # idempotent
    return World(engine)


# ---- writing


async def test_event_of_a_transaction_that_commits_is_sent_and_of_one_that_rolls_back_is_not(world: World) -> None:
    async with world.relaying():
        async with AsyncSession(world.engine) as session:
            await world.outbox.add(session, Changed(order_id="kept"))
            await session.commit()
            await world.outbox.add(session, Changed(order_id="gone"))
            await session.rollback()
        await world.add(Changed(order_id="last"))
        await world.empty()

    assert sorted(event.value(Changed).order_id for event in world.events()) == ["kept", "last"]
    assert await world.count() == 0, "sent rows are deleted"


async def test_nothing_is_sent_before_the_transaction_commits(world: World) -> None:
    async with world.relaying() as running:
        await eventually(lambda: running.is_sending)
        async with world.engine.connect() as connection:
            await world.outbox.add(connection, Changed(order_id="1"))
            for _ in range(20):
                await asyncio.sleep(0)
            assert world.events() == []
            await connection.commit()
        await world.empty()

    assert len(world.events()) == 1


async def test_event_carries_its_source_and_what_it_follows_from(world: World) -> None:
    cause = compose(
        Changed(order_id="0"),
        id="the-cause",
        source="/elsewhere",
        time=world.clock.now(),
        extensions={"correlationid": "the-order", "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"},
    )
    async with world.relaying(), AsyncSession(world.engine) as session:
        await world.outbox.add(session, Changed(order_id="1"), Changed(order_id="1", n=1), cause=cause)
        await session.commit()
        await world.empty()

    first, second = world.events()
    assert (first.source, first.type) == ("/test", "shop.changed.v1")
    assert (first.get("correlationid"), first.get("causationid")) == ("the-order", "the-cause")
    assert first.get("traceparent") == cause.get("traceparent")
    assert first.id != second.id
    assert [first.value(Changed).n, second.value(Changed).n] == [0, 1]


async def test_event_of_the_sdk_travels_as_it_is(world: World) -> None:
    mine = {"id": "mine-1", "source": "/elsewhere", "type": "partner.told.v1", "specversion": "1.0", "region": "eu"}
    event = CloudEvent(mine | {"datacontenttype": "application/json"}, {"about": "é"})

    async with world.relaying(), AsyncSession(world.engine) as session:
        await world.outbox.add(session, event, topic=TOPIC, key="k")
        await session.commit()
        await world.empty()
        with pytest.raises(DefinitionError, match="nobody knows where it goes; give topic="):
            await world.outbox.add(session, event)  # type: ignore[arg-type]

    [sent] = world.events()
    assert (sent.id, sent.source, sent.get("region")) == ("mine-1", "/elsewhere", "eu")
    assert world.cluster.records(TOPIC)[0].key == b"k"


async def test_message_without_a_topic_is_refused_when_it_is_added(world: World) -> None:
    class Homeless(Event, type="shop.homeless.v1"):
        order_id: Key[str]

    async with AsyncSession(world.engine) as session:
        with pytest.raises(DefinitionError, match=r"Homeless has no topic; give the class topic"):
            await world.outbox.add(session, Homeless(order_id="1"))


# ---- order


async def test_order_per_key_is_kept_over_many_batches(world: World) -> None:
    async with AsyncSession(world.engine) as session, session.begin():
        for number in range(700):
            await world.outbox.add(session, *(Changed(order_id=key, n=number) for key in "ab"))

    async with world.relaying():
        await world.empty()

    assert world.numbers("a") == world.numbers("b") == list(range(700))


async def test_rows_larger_than_a_batch_go_out_one_by_one(world: World) -> None:
    async with world.relaying():
        await world.add(*(Changed(order_id="a", n=number, note="x" * 150_000) for number in range(4)))
        await world.empty()

    assert world.numbers("a") == [0, 1, 2, 3]


async def test_order_per_key_is_kept_when_one_of_its_records_fails_in_between(world: World) -> None:
    """What was stored before its elder goes again behind it: the last arrivals are in order, ids repeat."""
    failed: list[bytes | None] = []

    def refuse_once(record: Outgoing) -> Exception | None:
        if b'"n":1,' in (record.value or b"") and len(failed) < 2:
            failed.append(record.value)
            return OutcomeUnknownError("no answer")
        return None

    await world.add(*(Changed(order_id="a", n=number) for number in range(4)), Changed(order_id="b", n=9))
    async with world.relaying() as running:
        running.publisher.refuse = refuse_once
        await world.empty()

    assert len(failed) == 2
    assert world.numbers("a")[-3:] == [1, 2, 3]
    assert world.numbers("a")[0] == 0
    assert world.numbers("a").count(0) == world.numbers("a").count(1) == 1
    assert world.numbers("b") == [9], "another key is not held up, nor sent twice"
    assert len({event.id for event in world.events()}) == 5


# ---- failures


async def test_brokers_that_are_away_are_waited_for_and_nothing_is_lost(world: World) -> None:
    is_away = True
    async with world.relaying() as running:
        running.publisher.refuse = lambda record: UnreachableError("away") if is_away else None
        await world.add(*(Changed(order_id="a", n=number) for number in range(3)))
        await eventually(lambda: running.relay.statistics().waits >= 2)
        assert world.events() == []
        assert await world.count() == 3
        is_away = False
        await world.empty()

    assert world.numbers("a") == [0, 1, 2]
    assert running.relay.statistics().sent == 3
    assert running.relay.statistics().failed == 0


async def test_record_that_is_too_large_is_a_dead_letter_with_its_reason_and_blocks_nobody(world: World) -> None:
    async with world.relaying() as running:
        running.publisher.refuse = lambda record: (
            RecordTooLargeError("1 MiB at most") if b'"n":1,' in (record.value or b"") else None
        )
        await world.add(*(Changed(order_id="a", n=number) for number in range(3)))
        await world.empty()

    assert world.numbers("a") == [0, 2]
    assert running.relay.statistics().failed == 1
    async with world.engine.connect() as connection:
        [row] = (await connection.execute(text("SELECT error FROM orchestra_outbox"))).scalars().all()
    assert row == "RecordTooLargeError: 1 MiB at most"


async def test_record_that_breaks_the_publisher_is_a_dead_letter(world: World) -> None:
    async with world.relaying() as running:
        running.publisher.refuse = lambda record: (
            ValueError("no such header") if b'"n":1,' in (record.value or b"") else None
        )
        await world.add(*(Changed(order_id="a", n=number) for number in range(3)))
        await world.empty()

    assert world.numbers("a") == [0, 2]
    assert await world.count("error LIKE 'ValueError%'") == 1


async def test_rows_of_a_missing_topic_wait_for_it_and_others_go_on(world: World) -> None:
    """Though they would fill a whole batch, and are older."""
    async with AsyncSession(world.engine) as session, session.begin():
        await world.outbox.add(session, *(Elsewhere(order_id="a", n=number) for number in range(600)))
    await world.add(Changed(order_id="a", n=7))
    async with world.relaying(patience=2.0) as running:
        await eventually(lambda: world.numbers("a") == [7])
        assert running.relay.statistics().held_topics == ["shop.elsewhere"]
        world.cluster.create(TopicSpec("shop.elsewhere"))
        await world.empty()

    assert [event.value(Elsewhere).n for event in world.events("shop.elsewhere")] == list(range(600))
    assert running.relay.statistics().failed == 0


async def test_rows_whose_topic_stays_missing_are_dead_letters_in_the_end(world: World) -> None:
    told: list[str] = []

    async def tell(row: object, error: Exception) -> None:
        told.append(type(error).__name__)

    await world.add(Elsewhere(order_id="a"), Elsewhere(order_id="b"), Changed(order_id="a", n=7))
    async with world.relaying(patience=0.2, on_failed=tell) as running:
        await world.empty()

    assert world.numbers("a") == [7]
    assert told == ["TopicError", "TopicError"]
    assert running.relay.statistics().failed == 2
    assert await world.count("failed_ms IS NOT NULL") == 2


# ---- keeping


async def test_sent_rows_are_kept_as_long_as_asked_and_then_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestra.outbox.relay._LOOK_SECONDS", 0.05)
    async with world.relaying(keep=3600.0) as running:
        await world.add(Changed(order_id="a"))
        await world.empty()
        await eventually(lambda: running.relay.statistics().sent == 1)
        assert await world.count("sent_ms IS NOT NULL") == 1
        async with world.engine.begin() as connection:
            await connection.execute(text("UPDATE orchestra_outbox SET sent_ms = sent_ms - 3700000"))

        async def gone() -> bool:
            return await world.count() == 0

        await eventually(gone)

    assert len(world.events()) == 1


# ---- one relay at a time


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.6)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)


@pytest.mark.usefixtures("quick")
async def test_one_relay_sends_and_another_takes_over_when_it_stops(world: World) -> None:
    async with world.relaying() as first:
        await eventually(lambda: first.is_sending)
        async with world.relaying() as second:
            await world.add(Changed(order_id="a", n=0))
            await world.empty()
            assert not second.is_sending
            first.stopping.set()
            await first.task
            await world.add(Changed(order_id="a", n=1))
            await world.empty()
            assert second.relay.statistics().sent == 1

    assert first.relay.statistics().sent == 1
    assert world.numbers("a") == [0, 1]


@pytest.mark.usefixtures("quick")
async def test_relay_that_dies_is_replaced_when_its_lease_ends(world: World) -> None:
    async with world.relaying() as first:
        await eventually(lambda: first.is_sending)
        first.relay._lease._give_up = _nothing  # type: ignore[method-assign]
        first.task.cancel()
        await asyncio.wait({first.task})
        async with world.relaying() as second:
            await world.add(Changed(order_id="a"))
            assert not second.is_sending
            await world.empty()

    assert second.relay.statistics().sent == 1


@pytest.mark.usefixtures("quick")
async def test_relay_that_waits_long_for_the_brokers_keeps_its_lease(world: World) -> None:
    async with world.relaying() as first, world.relaying() as second:
        await eventually(lambda: first.is_sending or second.is_sending)
        sender, other = (first, second) if first.is_sending else (second, first)
        sender.publisher.gate.clear()
        await world.add(Changed(order_id="a"))
        await eventually(lambda: sender.publisher.asked == 1)
        held = sender.relay._lease._until
        await eventually(lambda: sender.relay._lease._until > held + 2 * lease.LEASE_SECONDS)
        assert sender.is_sending
        assert other.publisher.asked == 0
        sender.publisher.gate.set()
        await world.empty()

    assert world.numbers("a") == [0]


@pytest.mark.usefixtures("quick")
async def test_relay_that_was_paused_sends_only_what_was_sent_before_with_the_same_ids(world: World) -> None:
    """It wakes up behind its lease, with a batch in hand, half of it handed over."""
    async with world.relaying() as first:
        await eventually(lambda: first.is_sending)
        first.relay._lease._take = _nothing  # type: ignore[method-assign]  as if it stood still
        first.publisher.gate.clear()
        await world.add(*(Changed(order_id="a", n=number) for number in range(3)))
        await eventually(lambda: first.publisher.asked == 1)
        async with world.relaying() as second:
            await world.empty()
            await world.add(Changed(order_id="a", n=3))
            await world.empty()
            first.publisher.gate.set()
            await eventually(lambda: len(world.numbers("a")) >= 5)
            assert second.relay.statistics().sent == 4

    arrivals = list(dict.fromkeys(event.id for event in world.events()))
    firsts = [next(event.value(Changed).n for event in world.events() if event.id == each) for each in arrivals]
    assert firsts == [0, 1, 2, 3]


async def _nothing() -> None: ...


async def test_topics_are_named_as_on_this_cluster(world: World) -> None:
    world.cluster.create(TopicSpec(f"team.{TOPIC}"))
    async with world.relaying(topic=lambda declared: f"team.{declared}"):
        await world.add(Changed(order_id="a"))
        await world.empty()

    assert len(world.events(f"team.{TOPIC}")) == 1
