"""A place where the counting service runs on a cluster and is broken: topics, members, numbered commands, and checks.

What is checked whatever was broken, by :meth:`Site.problems`: every command's effect happened once, in order for each
account; whatever failed for good is a dead letter, and nothing else is; no process ended that nobody ended; nothing is
left behind the group's place. And all the while, twice a second: nothing that the group has committed is undone.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestra.app import App
from orchestra.errors import DecodeError, TransportError
from orchestra.events.cloudevents import decode, encode
from orchestra.events.envelope import compose
from orchestra.service.offsets import read_place
from orchestra.settings import Settings
from orchestra.testing.kafka_cluster import KafkaCluster
from orchestra.transport.kafka.transport import KafkaTransport
from orchestra.transport.port import Outgoing, Partition, Record, Subscription
from orchestra.units import topics_of
from tests.faults.counting import DOOMED, Count, Counted, counter
from tests.faults.ledger import Command, Ledger
from tests.faults.member import Member
from tests.faults.plan import Plan

PARTITIONS = 4
SESSION_SECONDS = 6.0

TIMES: dict[str, float] = {
    "session_timeout": SESSION_SECONDS,
    "heartbeat_interval": 1.0,
    "rebalance_timeout": 20.0,
    "drain_timeout": 10.0,
    "request_timeout": 5.0,
    "delivery_timeout": 10.0,
}
"""Shorter than the defaults, so that a test lasts seconds; the proportions are the same."""


class Site:
    """Use it as an async context manager; it ends every process that it started."""

    def __init__(self, cluster: KafkaCluster, folder: Path, **times: float) -> None:
        self.cluster = cluster
        self.folder = folder
        self.settings = Settings(
            bootstrap_servers=cluster.bootstrap_servers,
            namespace=f"faults-{uuid.uuid4().hex[:10]}",
            partitions=PARTITIONS,
            replication_factor=3,
        ).model_copy(update=TIMES | times)
        self.transport = KafkaTransport(self.settings, name="faults")
        self.ledger = Ledger(folder)
        self.members: list[Member] = []
        self.sent: dict[str, int] = {}
        """Account -> how many numbers of it are stored, from 1 on."""
        self.doomed: set[Command] = set()
        """Commands that must end as dead letters."""
        self.diverted: set[str] = set()
        """Accounts whose commands may be in a retry topic for a while: committed, safe, and not done."""
        self.numbers = self.settings.topic("faults.numbers")
        self.letters_topic = self.settings.topic("counter.dead-letters")
        self.group = self.settings.scoped("counter")
        self._audit = Audit(self)
        self._is_enough = False

    async def __aenter__(self) -> Site:
        self.folder.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._opened = stack.pop_all()
        return self

    async def _open(self, stack: AsyncExitStack) -> None:
        stack.push_async_callback(self.transport.aclose)
        await self.transport.start()
        await self.transport.topics.create(topics_of(App.of([counter]), self.transport, self.settings))
        self._sender = self.transport.publisher()
        await self._sender.start()
        self._auditing = asyncio.create_task(self._audit.run())
        stack.push_async_callback(asyncio.wait, {self._auditing})
        stack.callback(self._auditing.cancel)
        stack.push_async_callback(self._end_members)

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    async def _end_members(self) -> None:
        for member in self.members:
            if member.is_alive:
                member.resume()
                member.kill()
                await member.ended()

    # ---- members

    async def member(self, **plan: Any) -> Member:
        """A process of the service, started and saying that it runs."""
        member = await self.begin(**plan)
        await member.running()
        return member

    async def crew(self, count: int, **plan: Any) -> list[Member]:
        """Several processes, alike."""
        members = [await self.begin(**plan) for _ in range(count)]
        for member in members:
            await member.running()
        return members

    async def begin(self, **plan: Any) -> Member:
        """A process of the service, started."""
        log = self.folder / f"member-{len(self.members) + 1}.log"
        member = await Member.start(log, Plan(**plan), self._environment())
        self.members.append(member)
        return member

    def pause(self, member: Member) -> None:
        """SIGSTOP at a moment when it does not hold the database's lock: all the others would wait for it."""
        connection = sqlite3.connect(self.folder / "effects.db", timeout=10, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        try:
            member.pause()
            time.sleep(0.05)
        finally:
            connection.execute("ROLLBACK")
            connection.close()

    def _environment(self) -> dict[str, str]:
        given = ("bootstrap_servers", "namespace", "partitions", "replication_factor", *TIMES)
        values = {f"ORCHESTRA_{name.upper()}": str(getattr(self.settings, name)) for name in given}
        return values | {"FAULTS_FOLDER": str(self.folder)}

    def break_dependency(self) -> None:
        """What every handler needs is away, until :meth:`mend_dependency`."""
        (self.folder / "dependency-is-down").touch()

    def mend_dependency(self) -> None:
        (self.folder / "dependency-is-down").unlink()

    # ---- commands in

    async def send(self, *accounts: str, do: str = "") -> None:
        """The next number of each account; returns when all are stored, whatever the brokers do meanwhile."""
        commands = [self._next(account, do) for account in accounts]
        left = [self._outgoing(command) for command in commands]
        while left:
            ends = await asyncio.gather(*(self._stored(record) for record in left))
            left = [record for record, is_stored in zip(left, ends, strict=True) if not is_stored]
        for command in commands:
            self.sent[command.account] = max(command.number, self.sent.get(command.account, 0))

    def _next(self, account: str, do: str) -> Count:
        command = Count(account=account, number=self.sent.get(account, 0) + 1, do=do)
        if do == "stumble":
            self.diverted.add(command.account)
        if do in DOOMED:
            self.doomed.add((command.account, command.number))
        return command

    def _outgoing(self, command: Count) -> Outgoing:
        event = compose(command, id=f"{command.account}/{command.number}", source="/faults", time=datetime.now(UTC))
        headers, value = encode(event)
        return Outgoing(self.numbers, command.account.encode(), value, headers)

    async def _stored(self, record: Outgoing) -> bool:
        """False: perhaps not. It is sent again with the same id, and the ledger drops the one too many."""
        try:
            await (await self._sender.send(record))
        except TransportError:
            return False
        return True

    async def put(self, record: Outgoing) -> None:
        """A record as it is: for what is no command at all."""
        while not await self._stored(record):
            pass

    async def send_many(self, count: int, *, accounts: int = 40) -> None:
        """A backlog: ``count`` commands in all, by turns of the accounts."""
        names = account_names(accounts)
        for start in range(0, count, accounts):
            await self.send(*names[: min(accounts, count - start)])

    @asynccontextmanager
    async def producing(self, rate: float, *, accounts: int = 40) -> AsyncIterator[None]:
        """Commands keep coming meanwhile, ``rate`` a second while the brokers take them."""
        producing = asyncio.create_task(self._produce(rate, account_names(accounts)))
        stopped = False
        try:
            yield
            stopped = True
        finally:
            self._is_enough = True
            if not stopped:
                producing.cancel()
            await asyncio.wait({producing})
        producing.result()

    async def _produce(self, rate: float, names: list[str]) -> None:
        self._is_enough = False
        while not self._is_enough:
            await self.send(*names)
            await asyncio.sleep(len(names) / rate)

    # ---- what came of them

    def commands(self) -> set[Command]:
        """Everything that was sent and is to be counted."""
        everything = {(account, number) for account, count in self.sent.items() for number in range(1, count + 1)}
        return everything - self.doomed

    async def counted(self, count: int, timeout: float = 60.0) -> None:
        """Return when that many effects have happened."""
        async with self._patience(timeout, f"{count} effects"):
            while self.ledger.count() < count:
                await asyncio.sleep(0.05)

    async def begun(self, count: int, timeout: float = 60.0) -> None:
        """Return when that many handlings have begun."""
        async with self._patience(timeout, f"{count} handlings begun"):
            while len(self.ledger.journal("begun")) < count:
                await asyncio.sleep(0.05)

    async def settled(self, timeout: float = 90.0) -> None:
        """Return when all is done and committed; then look whether it was done well."""
        await self.at_rest(timeout)
        assert await self.problems() == []

    async def at_rest(self, timeout: float) -> None:
        """Return when all is done and committed."""
        async with self._patience(timeout, "an end"):
            while self.missing() or await self._lag():
                await asyncio.sleep(0.2)

    async def problems(self) -> list[str]:
        """What is not as it must be, now that all is at rest."""
        assert not self._auditing.done(), self._auditing
        assert self._audit.rounds > 0
        letters = {command for command, _ in await self.letters()}
        answered = await self._answered()
        self.ledger.refresh()
        found = {
            "lost": self.missing(),
            "counted twice": self.ledger.twice(),
            "out of order": self.ledger.disorder(),
            "counted, and not to be": self.ledger.known - self.commands(),
            "dead letter missing": self.doomed - letters,
            "dead letter that should not be": letters - self.doomed,
            "committed before it was done": set(self._audit.too_early.values()) - self.doomed,
            "not answered": self.commands() - answered,
            "process that ended by itself": [each.last_words() for each in self.members if each.has_failed],
        }
        return [f"{what}: {case}" for what, cases in found.items() for case in sorted(cases)]

    def missing(self) -> set[Command]:
        self.ledger.refresh()
        return self.commands() - self.ledger.known

    async def letters(self) -> list[tuple[Command, str]]:
        """The commands among the dead letters, and the reason of each."""
        found = []
        for record in await self.records(self.letters_topic):
            if (data := command_in(record)) is None:
                continue
            found.append(((data.account, data.number), (record.header("orchestra-dlq-reason") or b"").decode()))
        return found

    async def _answered(self) -> set[Command]:
        """Commands that have an answer. However often it was sent, an answer has one id."""
        ids: dict[Command, str] = {}
        for record in await self.records(self.settings.topic("faults.counted")):
            event = decode(record.headers, record.value)
            data = event.value(Counted)
            known = ids.setdefault((data.account, data.number), event.id)
            assert known == event.id, f"{data.account} {data.number}: two answers with ids of their own"
        return set(ids)

    async def records(self, topic: str) -> list[Record]:
        """Everything in a topic."""
        partitions = [Partition(topic, number) for number in range(PARTITIONS)]
        bounds = await self.transport.topics.bounds(partitions)
        found: list[Record] = []
        for partition in partitions:
            reader = await self.transport.reader(partition)
            place = 0
            while place < bounds[partition].end:
                records = await reader.fetch(max_records=10_000, timeout=5)
                place = records[-1].offset + 1 if records else place
                found += records
            await reader.aclose()
        return found

    async def places(self) -> dict[Partition, Any]:
        """Where the group stands, by partition; partitions without a place are not in it."""
        partitions = [Partition(self.numbers, number) for number in range(PARTITIONS)]
        consumer = self.transport.consumer(Subscription(self.group, [self.numbers]), _Nobody())
        found = await asyncio.gather(*(consumer.committed(partition) for partition in partitions))
        return {partition: place for partition, place in zip(partitions, found, strict=True) if place is not None}

    async def _lag(self) -> int:
        try:
            places = await self.places()
            partitions = [Partition(self.numbers, number) for number in range(PARTITIONS)]
            bounds = await self.transport.topics.bounds(partitions)
        except TransportError:
            return -1
        return sum(bounds[p].end - (places[p].offset if p in places else 0) for p in partitions)

    @asynccontextmanager
    async def _patience(self, timeout: float, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(timeout):
                yield
        except TimeoutError:
            lag, missing = "unknown", sorted(self.missing())
            with contextlib.suppress(Exception):
                lag = str(await self._lag())
            logs = "\n\n".join(
                f"{each.log.name} (alive: {each.is_alive})\n{each.last_words()}" for each in self.members
            )
            text = f"waited {timeout:.0f} s for {what}: {len(missing)} missing, {missing[:10]}, lag {lag}\n{logs}"
            raise AssertionError(text) from None


class Audit:
    """Looks, all the while, whether everything below the group's places, and in their maps, is done."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._looked: dict[Partition, int] = {}
        self._log: dict[tuple[Partition, int], Command] = {}
        self._read: dict[Partition, int] = {}
        self.too_early: dict[tuple[Partition, int], Command] = {}
        """What was committed and not done, at some moment."""
        self.rounds = 0

    async def run(self) -> None:
        while True:
            with contextlib.suppress(TransportError):  # brokers are away at times
                await self._look()
                self.rounds += 1
            await asyncio.sleep(0.5)

    async def _look(self) -> None:
        places = await self._site.places()
        self._site.ledger.refresh()
        done = set(self._site.ledger.known)  # after the places were read: whatever they cover must be in it
        for partition, committed in places.items():
            place = read_place(committed.offset, committed.metadata)
            await self._read_to(partition, max(place.done, default=place.base - 1) + 1)
            for offset in (*range(self._looked.get(partition, 0), place.base), *place.done):
                command = self._log.get((partition, offset))
                if command is not None and command not in done and command[0] not in self._site.diverted:
                    self.too_early[partition, offset] = command
            self._looked[partition] = max(place.base, self._looked.get(partition, 0))

    async def _read_to(self, partition: Partition, end: int) -> None:
        place = self._read.get(partition, 0)
        if place >= end:
            return
        reader = await self._site.transport.reader(partition, offset=place)
        try:
            while place < end:
                for record in await reader.fetch(max_records=10_000, timeout=1):
                    if (data := command_in(record)) is not None:
                        self._log[partition, record.offset] = (data.account, data.number)
                    place = record.offset + 1
        finally:
            await reader.aclose()
        self._read[partition] = place


class _Nobody:
    async def on_assigned(self, partitions: object) -> None: ...
    async def on_revoked(self, partitions: object) -> None: ...


def command_in(record: Record) -> Count | None:
    """The command that a record holds; None where it holds something else."""
    try:
        return decode(record.headers, record.value).value(Count)
    except DecodeError:
        return None


def account_names(count: int) -> list[str]:
    return [f"account-{number}" for number in range(count)]


async def all_of(steps: Iterable[Any]) -> None:
    """Several at once; the first that fails ends the others."""
    async with asyncio.TaskGroup() as tasks:
        for step in steps:
            tasks.create_task(step)
