"""Retry topics on a real Kafka: due by the broker's clock, and a diverted key that stays diverted across a kill -9."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestra.bus.bus import connect
from orchestra.service.assignment import HELD
from orchestra.testing.plugin import Kafka
from orchestra.transport.kafka.transport import KafkaTransport
from orchestra.transport.port import Partition, Record
from orchestra.transport.tail import read_all
from tests.integration.retrying_process import Ordered, settings_for

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]
RETRY = "retrying.retry.5s"


class Notes:
    """What the processes did: (what, key, number, attempt, time, process)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def lines(self) -> list[tuple[str, str, int, int, float, int]]:
        rows = [line.split() for line in self.path.read_text().splitlines()]
        return [(what, key, int(n), int(attempt), float(at), int(pid)) for what, key, n, attempt, at, pid in rows]

    def done(self, key: str) -> list[int]:
        """Numbers that were done, in the order of their first time."""
        return list(dict.fromkeys(line[2] for line in self.lines() if line[:2] == ("done", key)))


@contextmanager
def process(kafka: Kafka, notes: Notes) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.integration.retrying_process", kafka.bootstrap_servers, str(notes.path)]
    running = subprocess.Popen(command, cwd=ROOT)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


async def until(is_true: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not is_true():
            await asyncio.sleep(0.1)


async def in_retry_topic(transport: KafkaTransport) -> list[Record]:
    return [record for number in range(3) for record in await read_all(transport, Partition(RETRY, number))]


async def test_a_diverted_key_keeps_its_order_when_its_process_is_killed(kafka: Kafka, tmp_path: Path) -> None:
    settings, notes = settings_for(kafka.bootstrap_servers), Notes(tmp_path / "notes")
    transport = KafkaTransport(settings)
    await transport.start()
    async with connect(settings) as bus:
        with process(kafka, notes) as first:
            async with asyncio.timeout(60):
                while RETRY not in await transport.topics.describe([RETRY]):
                    await asyncio.sleep(0.2)
            await bus.publish(Ordered(key="stuck", number=0), Ordered(key="free", number=0))
            await until(lambda: notes.done("free") == [0])
            async with asyncio.timeout(30):
                while not await in_retry_topic(transport):
                    await asyncio.sleep(0.1)
            first.kill()
            first.wait()
        assert notes.done("stuck") == []

        await bus.publish(*(Ordered(key=key, number=number) for number in (1, 2) for key in ("stuck", "free")))
        with process(kafka, notes):
            await until(lambda: len(notes.done("stuck")) == 3 and len(notes.done("free")) == 3)
            await bus.publish(Ordered(key="stuck", number=3))
            await until(lambda: len(notes.done("stuck")) == 4)

    assert notes.done("stuck") == [0, 1, 2, 3]
    records = await in_retry_topic(transport)
    await transport.aclose()
    records = [record for record in records if record.key != b"stuck-too"]
    assert all(record.append_time for record in records)
    assert [record.value for record in records[:1]] == [b'{"key":"stuck","number":0}']
    assert {record.key for record in records} == {b"stuck"}, "only this key was diverted"
    again = min(at for what, key, number, attempt, at, _ in notes.lines() if (key, number, attempt) == ("stuck", 0, 2))
    assert again >= records[0].timestamp_ms / 1000 + 5.0, "never early"
    overtaken = [at for what, key, number, _, at, _ in notes.lines() if (what, key, number) == ("begun", "stuck", 1)]
    assert min(overtaken) >= again


async def test_a_retry_comes_in_time_and_the_topics_are_as_they_must_be(kafka: Kafka, tmp_path: Path) -> None:
    settings, notes = settings_for(kafka.bootstrap_servers), Notes(tmp_path / "notes")
    transport = KafkaTransport(settings)
    await transport.start()
    with process(kafka, notes):
        async with connect(settings) as bus:
            async with asyncio.timeout(60):
                while not (state := (await transport.topics.describe([RETRY])).get(RETRY)):
                    await asyncio.sleep(0.2)
            await bus.publish(Ordered(key="stuck-too", number=0))
            await until(lambda: notes.done("stuck-too") == [0])

    [record] = [record for record in await in_retry_topic(transport) if record.key == b"stuck-too"]
    await transport.aclose()
    assert state.partitions == 3
    assert state.config["message.timestamp.type"] == "LogAppendTime"
    assert state.config["cleanup.policy"] == "delete"
    at = next(at for what, key, _, attempt, at, _ in notes.lines() if (key, attempt) == ("stuck-too", 2))
    late = at - record.timestamp_ms / 1000 - 5.0
    assert 0 <= late < 2.0, f"{late:.3f} s late"


async def test_more_than_is_held_in_memory_waits_comes_in_time_and_once(kafka: Kafka, tmp_path: Path) -> None:
    """What is fetched ahead of its time is read again later: by seeking back and pausing, on a real client."""
    settings, notes = settings_for(kafka.bootstrap_servers), Notes(tmp_path / "notes")
    keys = [f"stuck-many-{number}" for number in range(30 * HELD)]

    def ends() -> list[tuple[str, float]]:
        return [
            (key, at) for what, key, _, _, at, _ in notes.lines() if what == "done" and key.startswith("stuck-many")
        ]

    with process(kafka, notes):
        async with connect(settings) as bus:
            await bus.publish(Ordered(key=key, number=0) for key in keys)
            await until(lambda: len(ends()) >= len(keys), 90)

    assert sorted(key for key, _ in ends()) == sorted(keys), "once each"
    second = dict(ends())
    transport = KafkaTransport(settings)
    await transport.start()
    appended = {(record.key or b"").decode(): record.timestamp_ms for record in await in_retry_topic(transport)}
    await transport.aclose()
    late = [second[key] - appended[key] / 1000 - 5.0 for key in keys]
    assert min(late) >= 0
    assert max(late) < 5.0, f"{max(late):.3f} s late"
