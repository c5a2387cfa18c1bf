"""``orchestra run`` in a process of its own, and what it logs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ORCHESTRA = str(Path(sys.executable).with_name("orchestra"))
ROOT = Path(__file__).parents[2]


class Process:
    """A running command, which logs JSON to a file."""

    def __init__(self, words: list[str], environment: dict[str, str], log: Path, directory: Path = ROOT) -> None:
        self.log = log
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                [ORCHESTRA, "run", "--json", *words], cwd=directory, env=os.environ | environment, stderr=output
            )

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def messages(self) -> list[str]:
        return [entry["message"] for entry in self.entries()]

    def wait_logged(self, message: str, seconds: float = 30.0, *, times: int = 1) -> None:
        self.wait_until(lambda: self.messages().count(message) >= times, f"log {message!r} {times} times", seconds)

    def wait_until(self, is_true: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not is_true():
            assert self.popen.poll() is None, f"it ended before it did {what}:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"it did not {what}:\n{self.log.read_text()}"
            time.sleep(0.05)


@contextmanager
def running(words: list[str], environment: dict[str, str], log: Path, directory: Path = ROOT) -> Iterator[Process]:
    process = Process(words, environment, log, directory)
    try:
        yield process
    finally:
        process.popen.kill()
        process.popen.wait()
