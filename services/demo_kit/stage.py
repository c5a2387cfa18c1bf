"""Where does one demo run? Its processes, its folder, its screen, and what it is told by the environment."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.live import Live

from orchestra import Event
from services.demo_kit.broker import groups_joined
from services.demo_kit.kills import Kills
from services.demo_kit.pace import publish
from services.demo_kit.processes import ORCHESTRA, Crew, Member
from services.demo_kit.progress import Progress, follow, screen

E = TypeVar("E", bound=Event)
Work = Coroutine[Any, Any, None]
ALL_ENDED_WITHIN = 120.0


class Stage:
    """Where one demo runs: its Kafka, its folder, its screen.

    Attributes:
        folder: ``.demo/<name>``; below it ``data`` (the databases) and ``logs`` (of each process).
        progress: what was submitted, and where it stands.
        kills: how many processes are killed on the way.
        killed: their names, so far.
    """

    def __init__(self, title: str, servers: str, console: Console, *, kill: bool = False) -> None:
        self.title = title
        self.servers = servers
        self.console = console
        self.folder = Path(".demo") / title.replace(" ", "-")
        self.data = self.folder / "data"
        self.progress = Progress()
        self.kills = int(os.environ.get("DEMO_KILLS", "2")) if kill or os.environ.get("KILL", "0") != "0" else 0
        self.killed: list[str] = []
        self.chance = random.Random(int(os.environ.get("DEMO_SEED", "1")))
        self.environment = os.environ | {
            "ORCHESTRA_BOOTSTRAP_SERVERS": servers,
            "ORCHESTRA_SESSION_TIMEOUT": "6",  # a killed process is noticed soon
            "ORCHESTRA_HEARTBEAT_INTERVAL": "1",
            "SERVICES_DATA": str(self.data),
            "PYTHONUNBUFFERED": "1",
        }
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "logs").mkdir(parents=True)

    def rate(self, per_second: float) -> float:
        """How many records are submitted a second: so many, if the environment does not say otherwise."""
        return float(os.environ.get("DEMO_RATE", str(per_second)))

    def say(self, text: str) -> None:
        self.console.print(f"[dim]·[/] {text}")

    async def orchestra(self, *arguments: str) -> str:
        """What ``orchestra ...`` prints. Raises SystemExit with its error when it fails."""
        code, output, errors = await self._run(arguments)
        if code:
            raise SystemExit(f"orchestra {' '.join(arguments)} failed:\n{errors}")
        return output

    async def attempt(self, *arguments: str) -> str:
        """What ``orchestra ...`` prints, whether it does what it is asked to or not."""
        _, output, _ = await self._run(arguments)
        return output

    async def _run(self, arguments: Sequence[str]) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            str(ORCHESTRA),
            *arguments,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(), 60)
        finally:
            if process.returncode is None:  # nobody waits for it any more
                process.kill()
        return process.returncode, output.decode(), errors.decode()

    async def instances_waiting(self, coordinator: str, within: float = 30.0) -> int:
        """How many instances of the coordinator (``module:name``) have not ended, though given some time."""
        deadline = time.monotonic() + within
        while True:
            waiting = json.loads(await self.orchestra("instances", "list", coordinator, "--live", "--json"))
            if not waiting or time.monotonic() > deadline:
                return len(waiting)
            await asyncio.sleep(0.5)

    @asynccontextmanager
    async def crew(
        self, app: str, services: Sequence[str], *, coordinator: str | None = None, copies: int = 2
    ) -> AsyncGenerator[Crew]:
        """Each service and each copy of the coordinator as a process of its own, connected; all ended at the end.

        Args:
            app: the module; services and coordinator are names in it, and ``app`` is all of them.
            coordinator: may be a name of another module, ``module:name``.
        """

        def member(name: str, target: str) -> Member:
            target = target if ":" in target else f"{app}:{target}"
            return Member(name, target, self.folder / "logs" / f"{name}.log", self.environment)

        self.say("creating the topics")
        await self.orchestra("topics", "create", f"{app}:app")
        groups = [name.replace("_", "-") for name in services]
        members = [member(group, name) for group, name in zip(groups, services, strict=True)]
        coordinators: list[Member] = []
        if coordinator is not None:
            coordinators = [member(f"coordinator-{number + 1}", coordinator) for number in range(copies)]
            name = coordinator.rpartition(":")[2]
            groups += [name, f"{name}.router"]
        async with Crew(members, coordinators) as crew:
            self.say(f"{len(crew.members)} processes are starting: {', '.join(one.name for one in crew.members)}")
            await groups_joined(self.servers, groups)
            self.killed = crew.killed
            yield crew

    async def submit(self, crew: Crew, events: Sequence[E], key: Callable[[E], str], per_second: float) -> None:
        """Publish the events, and return when each has come to an end in the journal of the crew's coordinator."""
        journal = f"{crew.coordinators[0].target.rpartition(':')[2]}.journal"
        await self.show(
            crew,
            len(events),
            publish(self.servers, events, self.rate(per_second), lambda event: self.progress.begin(key(event))),
            follow(self.servers, [journal], self.progress.take_journal),
        )

    async def show(self, crew: Crew, total: int, submitting: Work, watching: Work) -> None:
        """The screen, and the kills, until everything is submitted and has ended.

        Args:
            total: how many records will be submitted.
            submitting: submits them and tells ``progress``.
            watching: tells ``progress`` what becomes of them, until it is cancelled.
        """
        kills = Kills(self.kills, total, self.chance)
        tasks = [asyncio.create_task(submitting), asyncio.create_task(watching)]
        last_news = time.monotonic()
        try:
            with Live(console=self.console, refresh_per_second=4) as live:
                while not (tasks[0].done() and self.progress.running == 0):
                    live.update(screen(self.title, self.progress, crew, total))
                    if kills.are_due(self.progress.records):
                        live.console.print(kills.strike(crew))
                    for task in tasks:
                        if task.done():
                            task.result()
                    if not tasks[0].done():
                        last_news = time.monotonic()
                    elif time.monotonic() > last_news + ALL_ENDED_WITHIN:
                        break
                    await asyncio.sleep(0.1)
                live.update(screen(self.title, self.progress, crew, total))
            self.console.print()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
