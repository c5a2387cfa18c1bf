"""Claim, fold, barrier: what a new owner does before it decides anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestra.clock import LoopClock
from orchestra.coordinator.record import CLAIM, Marks, to_headers
from orchestra.coordinator.restore import Acquired, Claim, Fold, acquire
from orchestra.errors import FenceBreachedError, FencedError, OutcomeUnknownError, UnreachableError
from orchestra.settings import Settings
from orchestra.transport.memory import Fate, MemoryCluster, MemoryTransport
from orchestra.transport.port import FencedLog, Partition, Reader, Record, TopicSpec

pytestmark = pytest.mark.virtual_time

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATE = Partition("t.state", 0)
CLAIM_OF_TEST = Claim("me", "here", {"tiny/1": "d1"}, 1, {"t.inbox": "id-1"})


class Shelf:
    """A cluster with a state topic, and what a test does to it."""

    def __init__(self) -> None:
        self.clock = LoopClock(NOW)
        self.cluster = MemoryCluster(clock=self.clock)
        self.cluster.create(TopicSpec("t.state", 1, {"cleanup.policy": "compact"}))
        self.transport = MemoryTransport(self.cluster, Settings(env="test", delivery_timeout=5.0))

    async def acquire(self, transport: Any = None, *, delete_retention: float = 86400.0) -> Acquired:
        return await acquire(
            transport or self.transport,
            "t.0",
            STATE,
            CLAIM_OF_TEST,
            delete_retention=delete_retention,
            clock=self.clock,
        )

    @property
    def records(self) -> list[Record]:
        return self.cluster.records("t.state")

    @property
    def keys(self) -> list[str]:
        return [(record.key or b"").decode() for record in self.records]


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    made = Shelf()
    await made.transport.start()
    yield made
    await made.transport.aclose()


def marks(acquired: Acquired, position: int = 0, emitted: int = -1) -> list[tuple[str, bytes]]:
    restored = acquired.restored
    return to_headers(Marks(position, emitted, restored.producer_id, restored.claim, NOW))


async def write(acquired: Acquired, key: str, value: bytes | None = b"{}", *, position: int = 0) -> int:
    return await (await acquired.log.append(key.encode(), value, marks(acquired, position)))


async def test_the_first_owner_finds_nothing(shelf: Shelf) -> None:
    acquired = await shelf.acquire()

    assert acquired.restored.records == {}
    assert (acquired.restored.position, acquired.restored.emitted, acquired.restored.claim) == (-1, -1, 0)
    assert acquired.previous == {}


async def test_the_claim_says_who_claims(shelf: Shelf) -> None:
    await shelf.acquire()
    acquired = await shelf.acquire()

    assert acquired.previous["owner"] == "me"
    assert acquired.previous["flows"] == {"tiny/1": "d1"}
    assert acquired.previous["topics"] == {"t.inbox": "id-1"}
    assert acquired.previous["epoch"] == 0


async def test_a_restore_has_the_newest_record_of_each_key_and_the_highest_marks(shelf: Shelf) -> None:
    first = await shelf.acquire()
    await write(first, "tiny/a", b"1", position=0)
    await write(first, "tiny/b", b"2", position=1)
    await write(first, "tiny/a", b"3", position=2)
    await write(first, "!position", b"{}", position=7)
    await write(first, "tiny/b", None, position=7)

    second = await shelf.acquire()

    assert {key: value for key, (_, _, value) in second.restored.records.items()} == {"tiny/a": b"3"}
    assert second.restored.position == 7
    assert second.restored.claim == 6


async def test_nothing_of_the_last_owner_lands_behind_a_claim(shelf: Shelf) -> None:
    first = await shelf.acquire()
    await shelf.acquire()

    with pytest.raises(FencedError):
        await write(first, "tiny/a")


async def test_a_claim_whose_outcome_is_unknown_leaves_the_log_closed(shelf: Shelf) -> None:
    shelf.cluster.next_writes(Fate(acknowledged=False), topic="t.state")

    with pytest.raises(OutcomeUnknownError):
        await shelf.acquire()

    acquired = await shelf.acquire()  # which settles it
    assert acquired.restored.claim == 1


async def test_brokers_that_are_away_are_an_error_and_not_a_hang(shelf: Shelf) -> None:
    shelf.cluster.go_down()

    with pytest.raises(UnreachableError):
        await shelf.acquire()


# ---- producer ids run out


async def test_an_older_producer_id_is_shut_out_and_claimed_again(shelf: Shelf) -> None:
    first = await shelf.acquire()
    shelf.cluster.expire_identity("t.0")

    second = await shelf.acquire()

    old, new = first.restored.producer_id, second.restored.producer_id
    assert shelf.keys == [f"{CLAIM}{old}", f"{CLAIM}{new}", f"{CLAIM}{old}", f"{CLAIM}{new}"]
    assert second.restored.claim == 3
    with pytest.raises(FencedError):
        await write(first, "tiny/a")


async def test_epochs_that_are_used_up_bring_a_new_id_and_a_barrier(shelf: Shelf) -> None:
    first = await shelf.acquire()
    shelf.cluster.exhaust_identity("t.0")

    second = await shelf.acquire()

    assert second.restored.producer_id != first.restored.producer_id
    with pytest.raises(FencedError):
        await write(first, "tiny/a")


async def test_what_an_older_id_wrote_before_its_barrier_is_folded(shelf: Shelf) -> None:
    first = await shelf.acquire()
    shelf.cluster.expire_identity("t.0")

    class Meddling(Wrapped):
        """The old owner, not shut out yet, writes between the first claim and the barrier."""

        async def shut_out(self, producer_id: int, partition: Partition, key: bytes, headers: Any = ()) -> int:
            await write(first, "tiny/late", b"late", position=3)
            return await self.inner.shut_out(producer_id, partition, key, headers)

    second = await shelf.acquire(Meddling(shelf.transport))

    assert second.restored.records["tiny/late"][2] == b"late"
    assert second.restored.position == 3


async def test_an_id_that_was_never_shut_out_is_found_again_after_a_crash_and_compaction(shelf: Shelf) -> None:
    first = await shelf.acquire()
    shelf.cluster.expire_identity("t.0")

    class Crashing(Wrapped):
        async def shut_out(self, producer_id: int, partition: Partition, key: bytes, headers: Any = ()) -> int:
            raise UnreachableError("crashed between the claim and the barrier")

    with pytest.raises(UnreachableError):
        await shelf.acquire(Crashing(shelf.transport))
    shelf.cluster.compact("t.state", drop_nulls=True)

    await shelf.acquire()

    with pytest.raises(FencedError):
        await write(first, "tiny/a")


async def test_an_owner_whose_own_id_was_shut_out_goes_on_under_another_transactional_id(shelf: Shelf) -> None:
    first = await shelf.acquire()
    producer_id = first.restored.producer_id
    await shelf.transport.shut_out(producer_id, STATE, f"{CLAIM}{producer_id}".encode())

    second = await shelf.acquire()

    assert second.restored.producer_id != producer_id
    assert await write(second, "tiny/a") > 0


async def test_an_owner_that_lost_a_race_does_not_take_another_transactional_id(shelf: Shelf) -> None:
    class Late(Wrapped):
        """A newer owner claims between this one's identity and its claim."""

        async def fenced_log(self, transactional_id: str, partition: Partition) -> FencedLog:
            log = await self.inner.fenced_log(transactional_id, partition)
            await shelf.acquire()
            return log

    with pytest.raises(FencedError):
        await shelf.acquire(Late(shelf.transport))


# ---- reading takes time


class Wrapped:
    """A transport of which a test replaces one call."""

    def __init__(self, inner: MemoryTransport) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class SlowReader:
    """One record at a time, and something happens after the first."""

    def __init__(self, inner: Reader, after_first: Any) -> None:
        self.inner = inner
        self.after_first = after_first

    async def fetch(self, *, max_records: int, timeout: float) -> list[Record]:
        records = await self.inner.fetch(max_records=1, timeout=timeout)
        if self.after_first is not None and records:
            then, self.after_first = self.after_first, None
            await then()
        return records

    async def aclose(self) -> None:
        await self.inner.aclose()


def slow(shelf: Shelf, after_first: Any) -> Any:
    class Slow(Wrapped):
        readers = 0

        async def reader(self, partition: Partition, *, offset: int | None = None) -> Any:
            self.readers += 1
            return SlowReader(
                await self.inner.reader(partition, offset=offset), after_first if self.readers == 1 else None
            )

    return Slow(shelf.transport)


async def test_a_fold_that_takes_longer_than_nulls_are_kept_begins_again(shelf: Shelf) -> None:
    first = await shelf.acquire()
    await write(first, "tiny/a", b"old")
    await write(first, "!position")
    await write(first, "tiny/a", None)

    async def a_long_time_passes() -> None:
        await asyncio.sleep(100)
        shelf.cluster.compact("t.state", drop_nulls=True)

    fold_of_two = slow(shelf, a_long_time_passes)
    shelf.cluster.log(STATE).delete_before(1)  # so that the first record it reads is the old one
    second = await shelf.acquire(fold_of_two, delete_retention=60.0)

    assert fold_of_two.readers == 2
    assert "tiny/a" not in second.restored.records


async def test_a_log_whose_start_moves_while_it_is_read_is_read_again(shelf: Shelf) -> None:
    first = await shelf.acquire()
    for number in range(5):
        await write(first, f"tiny/{number}")

    async def the_start_moves() -> None:
        shelf.cluster.log(STATE).delete_before(4)

    second = await shelf.acquire(slow(shelf, the_start_moves))

    assert sorted(second.restored.records) == ["tiny/3", "tiny/4"]


async def test_an_owner_that_is_superseded_while_it_reads_is_fenced(shelf: Shelf) -> None:
    async def another_claims() -> None:
        await shelf.acquire()
        shelf.cluster.compact("t.state")

    await shelf.acquire()

    with pytest.raises(FencedError):
        await shelf.acquire(slow(shelf, another_claims))


# ---- breaches


def record(offset: int, key: str, claim: int, *, producer_id: int = 1, value: bytes | None = b"{}") -> Record:
    headers = to_headers(Marks(0, -1, producer_id, claim, NOW))
    return Record("t.state", 0, offset, 0, key.encode(), value, headers)


def claim(offset: int, producer_id: int = 1, value: bytes | None = b"{}") -> Record:
    return Record("t.state", 0, offset, 0, f"{CLAIM}{producer_id}".encode(), value)


def fold_all(records: list[Record]) -> Fold:
    fold = Fold()
    for each in records:
        fold.take(each)
    return fold


@pytest.mark.parametrize(
    "records",
    [
        [claim(0), claim(1), record(2, "tiny/a", 0)],
        [claim(0), claim(1), record(2, "tiny/a", 1), record(3, "tiny/b", 0)],
        [claim(0, 1), claim(1, 2), claim(2, 1, None), record(3, "tiny/a", 0, producer_id=1)],
        [claim(0, 1), record(5, "tiny/a", 4, producer_id=2), record(6, "tiny/b", 0, producer_id=1)],
        [claim(0), Record("t.state", 0, 1, 0, b"tiny/a", b"{}")],
        [claim(0), Record("t.state", 0, 1, 0, None, b"{}")],
        [claim(0), Record("t.state", 0, 1, 0, b"tiny/a", b"{}", [("orchestra-position", b"x")])],
    ],
    ids=[
        "an older epoch behind a newer claim",
        "an older claim behind a newer owner's record",
        "an id that is shut out",
        "an older id behind the records of a newer one",
        "a record that no owner wrote",
        "a record without a key",
        "a record with broken headers",
    ],
)
def test_a_record_that_the_fence_should_have_kept_out_is_an_alarm(records: list[Record]) -> None:
    with pytest.raises(FenceBreachedError):
        fold_all(records)


def test_an_older_id_may_write_until_its_barrier() -> None:
    fold = fold_all([claim(0, 1), claim(1, 2), record(2, "tiny/a", 0), claim(3, 1, None), claim(4, 2)])

    assert "tiny/a" in fold.records
    assert fold.older_ids(2) == []


def test_a_new_id_whose_epochs_begin_at_nothing_is_no_breach() -> None:
    fold = fold_all([claim(0, 7), record(1, "tiny/a", 0, producer_id=7), claim(2, 8), claim(3, 7, None), claim(4, 8)])
    fold.take(record(5, "tiny/b", 4, producer_id=8))

    assert set(fold.records) == {"tiny/a", "tiny/b"}
