"""How does a contestant run? As a process of its own, in a group of its own, from a topic's beginning to its end."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.bench import Bench
from bench.filling import Filled
from bench.members import ORCHESTRA, Crew, Member, crew

DONE_WITHIN = 240.0


@dataclass(frozen=True, slots=True, eq=False)
class Contestant:
    """Who consumes.

    Attributes:
        name: as tables say it.
        command: the process.
        environment: what it is told besides where to read.
        service: the name of the service, if it is one of ours: its group is called after it.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    service: str = ""


def ours(name: str, service: str) -> Contestant:
    """A service of ``contestants/orchestra_service.py``, run as a user would."""
    target = f"bench.contestants.orchestra_service:{service}"
    command = (ORCHESTRA, "run", "--log-level", "warning", target)
    return Contestant(name, command, service=service.replace("_", "-"))


def theirs(name: str, module: str, **environment: str) -> Contestant:
    return Contestant(name, (sys.executable, "-m", f"bench.contestants.{module}"), environment)


@dataclass(frozen=True, slots=True)
class Turn:
    """A contestant at work. ``group``: the one that it commits for."""

    member: Member
    group: str
    _result: Path
    _crew: Crew

    def require_running(self) -> None:
        """Raises RuntimeError, with the end of its log, when it has ended by itself."""
        self._crew.require_running()

    async def told(self) -> dict[str, Any]:
        """What it tells in the end; see ``contestants/watch.py``. It is still running then."""
        async with asyncio.timeout(DONE_WITHIN):
            while not self._result.exists():
                self.require_running()
                await asyncio.sleep(0.1)
        told: dict[str, Any] = json.loads(self._result.read_text())
        return told


@asynccontextmanager
async def turn(
    bench: Bench, contestant: Contestant, filled: Filled, label: str, **environment: object
) -> AsyncIterator[Turn]:
    """Start it; on leaving it is told to stop, and has committed and ended."""
    folder = bench.folder / "contestants"
    name = f"{bench.name}.{label}.{contestant.name}".replace(",", "").replace(" ", "-")
    result = folder / f"{name}.json"
    told = {
        "BENCH_SERVERS": bench.servers,
        "BENCH_TOPIC": filled.topic,
        "BENCH_GROUP": name,
        "BENCH_COUNT": filled.count,
        "BENCH_WARM": min(10_000, filled.count // 6),
        "BENCH_RESULT": result,
        "ORCHESTRA_BOOTSTRAP_SERVERS": bench.servers,
        "ORCHESTRA_NAMESPACE": name,
        "ORCHESTRA_TOPICS": json.dumps({"bench.orders": filled.topic, "bench.ticks": filled.topic}),
        **contestant.environment,
        **environment,
    }
    async with crew(folder, {key: str(value) for key, value in told.items()}) as members:
        member = members.run(name, *contestant.command)
        group = f"{name}.{contestant.service}" if contestant.service else name
        yield Turn(member, group, result, members)
