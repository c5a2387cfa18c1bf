"""How is the saga of ``bench.noop`` deployed, started and seen to end?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.bench import Bench
from bench.client import Client, client
from bench.members import Crew, crew
from bench.plain import wait_for_groups

SHARDS = 8


@dataclass(frozen=True, slots=True)
class Deployment:
    """Coordinators, participants and a client of one namespace."""

    bench: Bench
    namespace: str
    crew: Crew
    client: Client

    def coordinator(self, number: int) -> None:
        self.crew.orchestra(f"coordinator-{number}", "bench.noop:coordinator")

    def scoped(self, name: str) -> str:
        return f"{self.namespace}.{name}"

    async def ready(self, *groups: str) -> None:
        """Return when the groups have their partitions."""
        await wait_for_groups(self.bench.servers, [self.scoped(group) for group in groups], self.crew.require_running)


COORDINATOR = ("bench", "bench.router")
PARTICIPANTS = ("participants",)


@asynccontextmanager
async def deployed(bench: Bench, namespace: str, *, coordinators: int = 1) -> AsyncIterator[Deployment]:
    """One process of participants and some of coordinators, ready."""
    async with crew(bench.folder / namespace, bench.environment(namespace)) as members:
        members.create_topics("bench.noop:everything")
        started = (f"{namespace}.bench.started", "bench.saga.started.v1")
        finished = (f"{namespace}.bench.finished", "bench.saga.finished.v1")
        async with client(bench.servers, start=started, end=finished) as starts:
            deployment = Deployment(bench, namespace, members, starts)
            members.orchestra("participants", "bench.noop:participants")
            for number in range(1, coordinators + 1):
                deployment.coordinator(number)
            await deployment.ready(*COORDINATOR, *PARTICIPANTS)
            yield deployment


def runs(prefix: str, count: int) -> Iterator[tuple[str, bytes]]:
    """Keys and data of start events."""
    for number in range(count):
        key = f"{prefix}-{number}"
        yield key, b'{"run":"%b"}' % key.encode()
