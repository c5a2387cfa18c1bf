"""Is that process still ours, and how is it started, signalled and ended?

A pid alone proves nothing: it may belong to somebody else by now. Every look and every signal checks that the process's
command line holds a text that only our process has.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process that may have ended, by its pid and by the text that its command line must hold."""

    pid: int
    mark: str

    def is_alive(self) -> bool:
        """Whether it runs (or is paused). A dead child is collected on the way."""
        _collect(self.pid)
        return self.mark in command_line(self.pid)

    def send(self, number: signal.Signals) -> bool:
        """Signal the whole process group; False if the process is gone. Never reaches a process that is not ours."""
        if not self.is_alive():
            return False
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def memory_mb(self) -> int | None:
        """What it keeps in memory, in megabytes, where the system tells."""
        try:
            status = Path("/proc", str(self.pid), "status").read_text()
        except OSError:
            return None
        sizes = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(sizes[0]) // 1024 if sizes else None


def spawn(command: Sequence[str], *, mark: str, log: Path) -> Process:
    """Start a process in a session of its own, so that Ctrl-C in a terminal reaches only who started it.

    Its output is appended to ``log``. It outlives this process.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # Not subprocess.Popen: that object would have to be kept for as long as the process lives.
    pid = os.posix_spawn(command[0], list(command), os.environ, file_actions=actions, setsid=True)
    for _ in range(100):
        if _collect(pid) or mark in command_line(pid):
            break
        time.sleep(0.01)  # for an instant after exec a process has no command line yet
    return Process(pid, mark)


def command_line(pid: int) -> str:
    """The command line of a running process; empty for one that is gone or a zombie."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    ps = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(ps, capture_output=True, text=True, check=False).stdout


def _collect(pid: int) -> bool:
    """Whether that child had ended and was waiting to be collected."""
    with suppress(ChildProcessError):  # not a child of this process, or collected before
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    return False
