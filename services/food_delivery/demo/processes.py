"""Who runs, who is killed, and who is started again?"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from pathlib import Path
from types import TracebackType
from typing import IO

APP = "services.food_delivery.app"
RESTART_AFTER = 0.5


class Member:
    """One operating-system process of the demo, started again whenever it dies."""

    def __init__(self, name: str, target: str, log: Path, environment: dict[str, str]) -> None:
        self.name = name
        self.target = target
        self.log = log
        self.environment = environment
        self.process: Process | None = None
        self.starts = 0

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self) -> None:
        orchestra = Path(sys.executable).with_name("orchestra")
        self.starts += 1
        with self.log.open("ab") as log:
            self.process = await self._spawn(str(orchestra), log)

    async def _spawn(self, orchestra: str, log: IO[bytes]) -> Process:
        return await asyncio.create_subprocess_exec(
            orchestra,
            "run",
            f"{APP}:{self.target}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=self.environment,
            start_new_session=True,  # Ctrl-C reaches the demo first, which then ends its members
        )

    def kill(self) -> None:
        if self.process is not None and self.is_running:
            self.process.send_signal(signal.SIGKILL)

    def cpu_seconds(self) -> float:
        """Processor time used so far, as the operating system counts it."""
        if self.process is None:
            return 0.0
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        if self.process is None:
            return 0.0
        try:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        except OSError:
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Crew:
    """All members, and the tasks that watch over them. Leaving the context ends every process that it started."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        def member(name: str, target: str) -> Member:
            return Member(name, target, folder / f"{name}.log", environment)

        self.services = [member(name, name) for name in ("orders", "inventory", "payments", "dispatch")]
        self.coordinators = [member("coordinator-1", "food"), member("coordinator-2", "food")]
        self.members = [*self.services, *self.coordinators]
        self.killed: list[tuple[float, str]] = []
        self._watches: list[asyncio.Task[None]] = []
        self._ending = False

    async def __aenter__(self) -> Crew:
        for member in self.members:
            await member.start()
            self._watches.append(asyncio.create_task(self._watch(member)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        await asyncio.gather(*(self._end(member) for member in self.members))

    async def _watch(self, member: Member) -> None:
        while not self._ending:
            assert member.process is not None
            await member.process.wait()
            await asyncio.sleep(RESTART_AFTER)
            await member.start()

    async def _end(self, member: Member) -> None:
        process = member.process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 15)
        except TimeoutError:
            process.kill()
            await process.wait()

    def kill(self, member: Member) -> None:
        self.killed.append((time.monotonic(), member.name))
        member.kill()
