"""A coordinator on a real Kafka: sagas with participants that know no orchestra, takeover, zombies, a broken fence."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from orchestra.clock import SystemClock
from orchestra.coordinator import restore
from orchestra.coordinator.advance import Advance
from orchestra.coordinator.deployed import Flows
from orchestra.coordinator.exchange import Limits
from orchestra.coordinator.journal import Journal
from orchestra.coordinator.names import Names
from orchestra.coordinator.owner import Means, Owner
from orchestra.coordinator.record import decode_instance
from orchestra.coordinator.restore import Acquired, Claim, acquire
from orchestra.coordinator.runtime import CoordinatorRuntime
from orchestra.coordinator.shard import Shard
from orchestra.coordinator.wire import Wire
from orchestra.errors import FencedError
from orchestra.ids import new_id
from orchestra.testing.plugin import Kafka
from orchestra.transport.kafka.transport import KafkaTransport
from orchestra.transport.port import Partition, Record
from tests.integration.coordinator_process import PARTITIONS, settings_for, tiny_coordinator
from tests.unit.coordinator.tiny_flow import STARTED, TinyFlow, start_record

pytestmark = pytest.mark.kafka

Entry = dict[str, Any]


class Cluster:
    """Topics of one test, a participant made of nothing but aiokafka, and what the journal says."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.settings = settings_for(bootstrap_servers, f"test-{new_id()[-12:]}")
        self.names = Names.of("t", self.settings)
        self.transport = KafkaTransport(self.settings)
        self.producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
        self.journal: dict[tuple[str, int], Entry] = {}
        self.commands: list[dict[str, str]] = []
        self.answers: Callable[[dict[str, str]], bool] = lambda _: True
        self._tasks: list[asyncio.Task[None]] = []
        self._consumers: list[AIOKafkaConsumer] = []

    async def start(self) -> None:
        await self.transport.start()
        await self.transport.topics.create(tiny_coordinator().needed_topics(self.settings))
        await self.producer.start()
        await self._follow(self.settings.topic("tiny.commands"), self._serve)
        await self._follow(self.names.journal, self._note)

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for consumer in self._consumers:
            await consumer.stop()
        await self.producer.stop()
        names = [spec.name for spec in tiny_coordinator().needed_topics(self.settings)]
        await self.transport.topics.delete(names)
        await self.transport.aclose()

    async def _follow(self, topic: str, take: Callable[[Any], Any]) -> None:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self.bootstrap_servers, auto_offset_reset="earliest")
        await consumer.start()
        self._consumers.append(consumer)

        async def follow() -> None:
            async for record in consumer:
                await take(record)

        self._tasks.append(asyncio.create_task(follow()))

    async def _serve(self, record: Any) -> None:
        command = {name: value.decode() for name, value in record.headers}
        self.commands.append(command)
        if self.answers(command):
            await self.reply(command)

    async def reply(self, command: dict[str, str]) -> None:
        """The answer of a participant in any language: five headers, back to where the command says."""
        headers = {
            "ce_specversion": "1.0",
            "ce_id": f"reply-{command['ce_id']}",
            "ce_source": "/participant",
            "ce_type": "tiny.step.done.v1",
            "ce_flowid": command["ce_flowid"],
            "ce_effectid": command["ce_effectid"],
            "ce_correlationid": command["ce_correlationid"],
            "content-type": "application/json",
        }
        await self.producer.send_and_wait(
            command["ce_replyto"],
            b"{}",
            key=command["ce_flowid"].encode(),
            headers=[(name, value.encode()) for name, value in headers.items()],
            partition=int(command["ce_replypartition"]),
        )

    async def _note(self, record: Any) -> None:
        entry = json.loads(record.value)
        self.journal[entry["instance"], entry["version"]] = entry

    async def place(self, key: str) -> None:
        """A start event in structured mode, as any CloudEvents library sends it."""
        event = {"specversion": "1.0", "id": f"start-{key}", "source": "/test", "type": STARTED, "data": {"key": key}}
        await self.producer.send_and_wait(
            self.settings.topic("tiny.orders"),
            json.dumps(event).encode(),
            key=key.encode(),
            headers=[("content-type", b"application/cloudevents+json")],
        )

    def ended(self) -> set[str]:
        return {entry["instance"] for entry in self.journal.values() if entry["status"] == "completed"}

    async def state(self) -> list[Record]:
        """All records of the state topic."""
        found: list[Record] = []
        for number in range(PARTITIONS):
            partition = Partition(self.names.state, number)
            end = (await self.transport.topics.bounds([partition]))[partition].end
            reader = await self.transport.reader(partition)
            while end and not (found and found[-1].partition == number and found[-1].offset >= end - 1):
                found += await reader.fetch(max_records=500, timeout=1.0)
            await reader.aclose()
        return found

    @contextlib.asynccontextmanager
    async def coordinator(self) -> AsyncIterator[CoordinatorRuntime]:
        """A coordinator in this process, drained at the end."""
        runtime = CoordinatorRuntime(tiny_coordinator(), self.transport, self.settings)
        await runtime.start()
        task = asyncio.create_task(runtime.run())
        try:
            yield runtime
        finally:
            await runtime.drain()
            await task


class Child:
    """A coordinator as an operating-system process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.statistics: Entry = {}
        self._task = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, cluster: Cluster, log: Path) -> Child:
        with log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.integration.coordinator_process",
                cluster.bootstrap_servers,
                cluster.settings.namespace,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
            )
        return cls(process)

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.statistics = json.loads(line)

    def open_shards(self) -> int:
        return sum(shard["state"] == "open" for shard in self.statistics.get("shards", {}).values())

    def send(self, signal_number: int) -> None:
        os.kill(self.process.pid, signal_number)

    async def aclose(self) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.send(signal.SIGCONT)
                self.send(signal.SIGKILL)
        await self.process.wait()
        await self._task


@pytest.fixture
async def cluster(kafka: Kafka) -> AsyncIterator[Cluster]:
    made = Cluster(kafka.bootstrap_servers)
    await made.start()
    yield made
    await made.aclose()


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


async def test_a_saga_with_plain_consumers_as_participants(cluster: Cluster) -> None:
    async with cluster.coordinator():
        for number in range(20):
            await cluster.place(f"o{number}")

        await until(lambda: len(cluster.ended()) == 20)

    assert sorted(command["ce_type"] for command in cluster.commands) == ["tiny.a1.v1"] * 20 + ["tiny.a2.v1"] * 20
    assert forks(await cluster.state()) == []


async def test_another_process_goes_on_within_ten_seconds_of_a_kill(cluster: Cluster, tmp_path: Path) -> None:
    first = await Child.start(cluster, tmp_path / "first.log")
    try:
        await until(lambda: first.open_shards() == PARTITIONS)
        cluster.answers = lambda _: False
        for number in range(10):
            await cluster.place(f"o{number}")
        await until(lambda: len(cluster.commands) == 10)
        first.send(signal.SIGKILL)
        killed = asyncio.get_running_loop().time()
        cluster.answers = lambda _: True
        for command in list(cluster.commands):
            await cluster.reply(command)

        async with cluster.coordinator():
            await until(lambda: len(cluster.ended()) > 0)
            took = asyncio.get_running_loop().time() - killed
            await until(lambda: len(cluster.ended()) == 10)
    finally:
        await first.aclose()

    assert took < 10
    assert forks(await cluster.state()) == []
    assert all(counts_once(cluster, f"tiny/o{number}") for number in range(10))


async def test_a_zombie_appends_nothing_and_recovers_by_itself(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "zombie.log"
    zombie = await Child.start(cluster, log)
    try:
        await until(lambda: zombie.open_shards() == PARTITIONS)
        cluster.answers = lambda _: False
        for number in range(10):
            await cluster.place(f"o{number}")
        await until(lambda: len(cluster.commands) == 10)
        await until(lambda: len(cluster.journal) == 10)
        zombie.send(signal.SIGSTOP)
        of_the_zombie = claims_of(await cluster.state())
        for command in list(cluster.commands):
            await cluster.reply(command)  # waits in the inbox, and in what the zombie has fetched
        cluster.answers = lambda _: True

        async with cluster.coordinator() as runtime:
            await until(lambda: sum(keeper.is_open for keeper in runtime.keepers.values()) == PARTITIONS)
            await until(lambda: len(cluster.ended()) == 10)
            places = {(record.partition, record.offset) for record in await cluster.state()}
            zombie.send(signal.SIGCONT)
            await until(lambda: zombie.open_shards() == 1)  # its process came back, as a member like any other
            for number in range(10, 30):
                await cluster.place(f"o{number}")
            await until(lambda: len(cluster.ended()) == 30)

        await until(lambda: zombie.open_shards() == PARTITIONS)
        await cluster.place("o30")
        await until(lambda: len(cluster.ended()) == 31)
    finally:
        await zombie.aclose()

    after = await cluster.state()
    assert forks(after) == []
    late = [record for record in after if (record.partition, record.offset) not in places]
    assert len(of_the_zombie) == PARTITIONS
    assert not claims_of(late) & of_the_zombie
    assert all(counts_once(cluster, f"tiny/o{number}") for number in range(31))


@pytest.mark.parametrize("claims", [True, False], ids=["with claims", "claims skipped on purpose"])
async def test_two_owners_fork_a_log_only_where_the_claim_is_skipped(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, claims: bool
) -> None:
    partition = Partition(cluster.names.state, 0)
    before = await take(cluster, partition)
    await before.log.aclose()
    if not claims:

        async def skip(taking: Any) -> None:
            taking.claimed = before.restored.claim

        monkeypatch.setattr(restore._Taking, "claim_log", skip)
    owners = [owner_of(cluster, await take(cluster, partition)) for _ in range(2)]

    outcomes = [await decide(owner) for owner in owners]

    records = await cluster.state()
    if claims:
        assert isinstance(outcomes[0], FencedError)
        assert outcomes[1] is None
        assert forks(records) == []
    else:
        assert outcomes == [None, None]
        assert forks(records) == [b"tiny/o1"]  # this is what the claim is for
    for owner in owners:
        await owner.aclose()


async def take(cluster: Cluster, partition: Partition) -> Acquired:
    claim = Claim("test", "test", {}, PARTITIONS, {})
    name = cluster.settings.scoped("t.0")
    return await acquire(cluster.transport, name, partition, claim, delete_retention=86400.0, clock=SystemClock())


def owner_of(cluster: Cluster, acquired: Acquired) -> Owner:
    journal = Journal(cluster.names, 0)
    wire = Wire(cluster.settings.topic, cluster.names.inbox, 0, PARTITIONS)
    rules = Advance(Flows([TinyFlow()]), journal, wire)
    clock = SystemClock()
    shard = Shard(rules, Limits(partitions=1), acquired.restored, clock.now())
    means = Means(cluster.names, cluster.transport.publisher(), clock, clock.elapsed, 6.0)
    return Owner(shard, acquired.log, journal, means, caught_up=lambda: True)


async def decide(owner: Owner) -> Exception | None:
    """Take a start in, and see its record stored."""
    owner.shard.receive(start_record("o1", 0), SystemClock().now())
    try:
        await owner.prove()
    except FencedError as error:
        return error
    return None


def forks(records: list[Record]) -> list[bytes]:
    """Instances whose records are not one line of versions."""
    versions: dict[bytes, list[int]] = {}
    for record in records:
        if record.key and not record.key.startswith(b"!") and record.value is not None:
            versions.setdefault(record.key, []).append(decode_instance("x", record.value).n)
    return [key for key, found in versions.items() if found != list(range(1, len(found) + 1))]


def claims_of(records: list[Record]) -> set[tuple[int, bytes]]:
    """The claims, by shard, that records name as their own."""
    named = ((record.partition, record.header("orchestra-claim")) for record in records)
    return {(number, claim) for number, claim in named if claim is not None}


def counts_once(cluster: Cluster, instance: str) -> bool:
    """Whether each answer moved the instance once."""
    lines = [line["what"] for (of, _), entry in cluster.journal.items() if of == instance for line in entry["lines"]]
    return lines.count("step.replied") == 2
