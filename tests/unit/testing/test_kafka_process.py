from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra.testing.kafka_process import Process, command_line, spawn

WAITS = "import sys; sys.stdin = open('/dev/null'); import signal; signal.pause()"


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Process]:
    """A process that waits for ever, marked by this test's directory."""
    process = spawn([sys.executable, "-S", "-c", WAITS, str(tmp_path)], mark=str(tmp_path), log=tmp_path / "log")
    yield process
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)


def test_a_spawned_process_is_known_at_once_and_leads_its_own_session(waiting: Process) -> None:
    assert waiting.is_alive()
    assert os.getsid(waiting.pid) == waiting.pid != os.getsid(0)


def test_a_process_with_another_command_line_is_never_signalled(waiting: Process) -> None:
    reused = Process(waiting.pid, "/some/other/cluster/server.properties")

    assert not reused.send(signal.SIGKILL)
    assert waiting.is_alive()


def test_a_killed_child_is_dead_and_collected(waiting: Process) -> None:
    assert waiting.send(signal.SIGKILL)
    os.waitid(os.P_PID, waiting.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now

    assert not waiting.is_alive()
    assert not waiting.send(signal.SIGKILL)
    with pytest.raises(ChildProcessError):
        os.waitpid(waiting.pid, os.WNOHANG)


def test_a_pid_that_does_not_exist_has_no_command_line() -> None:
    assert command_line(2**22 + 1) == ""


def test_output_is_appended_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    process = spawn([sys.executable, "-S", "-c", "print('after')", str(tmp_path)], mark=str(tmp_path), log=log)
    while process.is_alive():
        pass

    assert log.read_text() == "before\nafter\n"
