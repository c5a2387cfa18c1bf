"""One process of the counting service, as a platform runs it: ``orchestra run``, signals, exit code, log."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path

from tests.faults.plan import Plan

ROOT = Path(__file__).parents[2]
ORCHESTRA = str(Path(sys.executable).with_name("orchestra"))
TARGET = "tests.faults.counting:counter"


class Member:
    """A process that runs, or ran. Made by :meth:`start`."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self.log = log
        self.is_to_live = True
        """Nobody has asked it to end."""

    @classmethod
    async def start(cls, log: Path, plan: Plan, environment: dict[str, str]) -> Member:
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                ORCHESTRA,
                "run",
                "--json",
                TARGET,
                cwd=ROOT,
                env=os.environ | {"PYTHONWARNINGS": "error"} | environment | plan.environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches the test first, which ends its members
            )
        return cls(process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    @property
    def has_failed(self) -> bool:
        """It ended, and nobody had asked it to."""
        return self.is_to_live and not self.is_alive

    @property
    def found_no_broker(self) -> bool:
        """It was started while brokers were away, said so and ended: to start it again is the platform's business."""
        return self._process.returncode == 4

    def dies(self) -> None:
        """It has been told to kill itself: its end is no surprise."""
        self.is_to_live = False

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end, as a platform does. A second time: at once."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        self.is_to_live = False
        if self.is_alive:
            self._process.send_signal(number)

    async def ended(self, timeout: float = 30.0) -> int:
        """Its exit code, once it has ended; minus the signal's number if it was killed."""
        async with asyncio.timeout(timeout):
            return await self._process.wait()

    async def stop(self, timeout: float = 30.0) -> int:
        self.terminate()
        return await self.ended(timeout)

    async def running(self, timeout: float = 40.0) -> None:
        """Return once it says that it runs; its partitions may still be on the way."""
        async with asyncio.timeout(timeout):
            while "counter is running" not in self.messages():
                assert self.is_alive, f"it ended before it ran:\n{self.last_words()}"
                await asyncio.sleep(0.05)

    def messages(self) -> list[str]:
        """What it has logged."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line)["message"] for line in lines if line.startswith("{") and line.endswith("}")]

    def last_words(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
