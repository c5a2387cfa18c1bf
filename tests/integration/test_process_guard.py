"""A test run that is itself killed leaves no broker behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from orchestra.testing.kafka_process import command_line

RUN = """
import sys, time
from pathlib import Path
from orchestra.testing.kafka_guard import Guard
from orchestra.testing.kafka_process import spawn
directory = Path(sys.argv[1])
guard = Guard(directory)
broker = spawn([sys.executable, "-S", "-c", "import signal; signal.pause()", str(directory)],
               mark=str(directory), log=directory / "log")
guard.watch(broker.pid)
guard.watch(1)  # not ours: has nothing of the directory in its command line
print(broker.pid, flush=True)
if sys.argv[2] == "dismiss":
    guard.dismiss()
else:
    time.sleep(60)
"""


def run(directory: Path, how: str) -> tuple[subprocess.Popen[str], int]:
    directory.mkdir()
    process = subprocess.Popen([sys.executable, "-c", RUN, str(directory), how], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        return process, int(process.stdout.readline())


def gone_within(seconds: float, pid: int) -> bool:
    deadline = time.monotonic() + seconds
    while command_line(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_processes_and_directory_are_gone_after_kill_9_of_the_run(tmp_path: Path) -> None:
    process, broker = run(tmp_path / "kafka", "sleep")

    process.send_signal(signal.SIGKILL)
    process.wait(10)

    assert gone_within(10, broker)
    deadline = time.monotonic() + 10
    while (tmp_path / "kafka").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_dismissed_guard_touches_nothing(tmp_path: Path) -> None:
    process, broker = run(tmp_path / "kafka", "dismiss")

    assert process.wait(10) == 0
    try:
        assert str(tmp_path) in command_line(broker)
        assert (tmp_path / "kafka").exists()
    finally:
        os.kill(broker, signal.SIGKILL)
