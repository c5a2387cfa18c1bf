"""Who runs, who is killed, and who is started again?"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

RESTART_AFTER = 0.5
ENDS_WITHIN = 15.0
ORCHESTRA = Path(sys.executable).with_name("orchestra")


class Member:
    """One operating-system process of a demo, ``orchestra run <target>``: started again whenever it ends."""

    def __init__(self, name: str, target: str, log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.target = target
        self.log = log
        self.environment = environment
        self.process: Process | None = None
        self.starts = 0
        self.wanted = asyncio.Event()
        self.wanted.set()

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def keep_running(self) -> None:
        """Start it, and again whenever it has ended, unless it is not wanted."""
        while True:
            await self.wanted.wait()
            self.starts += 1
            with self.log.open("ab") as log:
                self.process = await asyncio.create_subprocess_exec(
                    str(ORCHESTRA),
                    "run",
                    self.target,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self.environment,
                    start_new_session=True,  # Ctrl-C reaches the demo first, which then ends its members
                )
            if not self.wanted.is_set():  # told to stop while it was being started
                await self.end()
            await self.process.wait()
            await asyncio.sleep(RESTART_AFTER)

    def kill(self) -> None:
        if self.process is not None and self.is_running:
            self.process.send_signal(signal.SIGKILL)

    async def end(self) -> None:
        """Let it drain and end."""
        if (process := self.process) is None or not self.is_running:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), ENDS_WITHIN)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def stop(self) -> None:
        """End it, and do not start it again before :meth:`resume`."""
        self.wanted.clear()
        await self.end()

    def resume(self) -> None:
        self.wanted.set()

    async def upgrade(self, target: str) -> None:
        """End it, and let it be started again as something else."""
        self.target = target
        await self.end()

    def cpu_seconds(self) -> float:
        """Processor time used so far, as the operating system counts it."""
        fields = self._proc("stat").rsplit(")", 1)[-1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0

    def resident_mb(self) -> float:
        fields = self._proc("statm").split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if fields else 0.0

    def _proc(self, file: str) -> str:
        try:
            return Path(f"/proc/{self.process.pid}/{file}").read_text() if self.process else ""
        except OSError:
            return ""


class Crew:
    """All members, and the tasks that watch over them. Leaving the context ends every process that it started."""

    def __init__(self, services: Sequence[Member], coordinators: Sequence[Member] = ()) -> None:
        self.services = list(services)
        self.coordinators = list(coordinators)
        self.members = [*services, *coordinators]
        self.killed: list[str] = []
        self._watches: list[asyncio.Task[None]] = []

    def __getitem__(self, name: str) -> Member:
        return next(member for member in self.members if member.name == name)

    async def __aenter__(self) -> Crew:
        self._watches = [asyncio.create_task(member.keep_running()) for member in self.members]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        await asyncio.gather(*(member.end() for member in self.members))

    def kill(self, member: Member) -> None:
        self.killed.append(member.name)
        member.kill()
