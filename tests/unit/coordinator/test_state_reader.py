"""A reader that follows a state topic finds each instance's newest record, whatever was compacted or made anew."""

from __future__ import annotations

import pytest

from orchestra.coordinator.state_reader import StateReader
from orchestra.errors import TopicError
from orchestra.transport.memory import MemoryCluster, MemoryTransport
from orchestra.transport.port import Outgoing, Partition, TopicSpec
from tests.unit.coordinator.harness import NAMES, SETTINGS

pytestmark = pytest.mark.virtual_time
STATE = Partition(NAMES.state, 0)


def cluster(*keys: tuple[str, bytes | None]) -> MemoryCluster:
    made = MemoryCluster()
    made.create(TopicSpec(NAMES.state, 1, {"cleanup.policy": "compact"}))
    store(made, *keys)
    return made


def store(made: MemoryCluster, *keys: tuple[str, bytes | None]) -> None:
    for key, value in keys:
        made.append(Outgoing(NAMES.state, key.encode(), value, []), STATE)


def reader_of(made: MemoryCluster) -> StateReader:
    return StateReader(MemoryTransport(made, SETTINGS, client="reader"), NAMES)


async def newest(reader: StateReader, key: str) -> bytes | None:
    record = await reader.newest(key)
    return None if record is None else record.value


async def test_the_newest_record_is_found_wherever_it_stands() -> None:
    made = cluster(("tiny/a", b"1"), ("tiny/b", b"1"), ("tiny/a", b"2"))
    reader = reader_of(made)
    assert (await newest(reader, "tiny/a"), await newest(reader, "tiny/b")) == (b"2", b"1")

    store(made, ("tiny/b", b"2"), ("tiny/c", b"1"))

    assert [await newest(reader, f"tiny/{key}") for key in "abc"] == [b"2", b"2", b"1"]


async def test_what_was_forgotten_is_not_found() -> None:
    made = cluster(("tiny/a", b"1"))
    reader = reader_of(made)
    assert await newest(reader, "tiny/a") == b"1"

    store(made, ("tiny/a", None))

    assert await newest(reader, "tiny/a") is None
    assert await newest(reader, "tiny/never") is None


async def test_records_that_are_compacted_away_do_not_matter() -> None:
    made = cluster(("tiny/a", b"1"), ("tiny/b", b"1"))
    reader = reader_of(made)
    assert await newest(reader, "tiny/a") == b"1"
    store(made, ("tiny/a", b"2"), ("!position", b"{}"))

    made.log(STATE).compact()

    assert await newest(reader, "tiny/a") == b"2"
    assert await newest(reader, "tiny/b") == b"1"


async def test_values_beside_a_record_are_those_of_its_run() -> None:
    made = cluster(
        ("!value/tiny/a/0/old", b"0"), ("!value/tiny/a/7/x", b"1"), ("!value/tiny/a/7/y", b"2"), ("tiny/a", b"1"),
        ("!value/tiny/b/7/x", b"9"), ("!value/tiny/a/7/y", None),
    )  # fmt: skip
    reader = reader_of(made)
    await newest(reader, "tiny/a")

    assert await reader.values("tiny/a", 7) == {"x": b"1"}
    assert await reader.values("tiny/a", 8) == {}
    assert await reader.values("tiny/nobody", 0) == {}


async def test_a_topic_that_was_cut_off_at_its_start_is_read_anew() -> None:
    made = cluster(("tiny/a", b"1"), ("tiny/b", b"1"))
    reader = reader_of(made)
    await newest(reader, "tiny/a")
    store(made, ("tiny/c", b"1"), ("tiny/d", b"1"), ("tiny/e", b"1"))

    made.log(STATE).delete_before(4)

    assert await newest(reader, "tiny/e") == b"1"
    assert await newest(reader, "tiny/a") is None


async def test_a_coordinator_that_never_ran_is_named() -> None:
    with pytest.raises(TopicError, match="the coordinator has never run here"):
        await reader_of(MemoryCluster()).newest("tiny/a")
