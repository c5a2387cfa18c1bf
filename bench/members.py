"""Which processes does a measurement run, and what do they use?"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

ORCHESTRA = str(Path(sys.executable).with_name("orchestra"))
STOP_SECONDS = 30.0


class Member:
    """One operating-system process of a measurement."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                start_new_session=True,  # Ctrl-C reaches the bench, which then ends its members
            )
        self._process = psutil.Process(self._popen.pid)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    def cpu_seconds(self) -> float:
        """Processor time used so far, user and system."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def resident_mb(self) -> float:
        return float(self._process.memory_info().rss) / 1e6

    def kill(self) -> None:
        """``kill -9``, and wait until it is gone."""
        self._popen.kill()
        self._popen.wait()

    async def stop(self) -> None:
        """SIGTERM, and wait; after a while ``kill -9``."""
        if self.is_running:
            self._popen.terminate()
        try:
            await asyncio.to_thread(self._popen.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def last_words(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Crew:
    """The members of one measurement. Leaving ``crew()`` ends every process that it started."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.members: list[Member] = []

    def run(self, name: str, *command: str) -> Member:
        """Start a process."""
        member = Member(name, command, self.environment, self.folder / f"{name}.log")
        self.members.append(member)
        return member

    def orchestra(self, name: str, target: str) -> Member:
        """Start ``orchestra run target``, as a user would."""
        return self.run(name, ORCHESTRA, "run", target)

    def create_topics(self, target: str) -> None:
        """``orchestra topics create target``. Raises RuntimeError with what it said when it fails."""
        command = [ORCHESTRA, "topics", "create", target]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr}{done.stdout}")

    def named(self, name: str) -> Member:
        return next(member for member in self.members if member.name == name)

    def require_running(self) -> None:
        """Raises RuntimeError with the end of its log when a member has ended by itself."""
        for member in self.members:
            if not member.is_running:
                raise RuntimeError(f"{member.name} has ended:\n{member.last_words()}")

    async def stop(self, member: Member) -> None:
        self.members.remove(member)
        await member.stop()

    def kill(self, member: Member) -> None:
        self.members.remove(member)
        member.kill()


@asynccontextmanager
async def crew(folder: Path, environment: Mapping[str, str]) -> AsyncIterator[Crew]:
    folder.mkdir(parents=True, exist_ok=True)
    started = Crew(folder, {**os.environ, **environment})
    try:
        yield started
    finally:
        for member in list(started.members):
            await started.stop(member)
