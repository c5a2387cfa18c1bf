"""Who ends the servers of a test run that was itself killed? A small process that outlives it by a moment.

The run holds one end of a pipe, the guard the other. However the run ends, the pipe closes; then the guard kills the
processes that it was told about, removes their directory and ends.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

# Runs apart from the package, so that it starts in 20 ms and holds 10 MB.
_PROGRAM = """
import os, shutil, signal, subprocess, sys, time
from pathlib import Path
directory, first, pids = sys.argv[1], int(sys.argv[2]), set()
for line in sys.stdin:
    if line == "dismissed\\n":
        sys.exit()
    pids.add(int(line))
def command_line(pid):
    if Path("/proc/self/cmdline").exists():
        try:
            return Path("/proc", str(pid), "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return ""
    return subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True).stdout
def end(number):
    for pid in pids:
        if directory in command_line(pid):
            os.killpg(pid, number)
end(first)
waited = 0
while first != signal.SIGKILL and waited < 5 and any(directory in command_line(pid) for pid in pids):
    time.sleep(0.05)
    waited += 0.05
end(signal.SIGKILL)
if pids:
    shutil.rmtree(directory, ignore_errors=True)
"""


class Guard:
    """Watches over processes on behalf of this one."""

    def __init__(self, directory: Path, *, first: signal.Signals = signal.SIGKILL) -> None:
        """Start watching. ``directory`` is in the command line of every process to come, and is removed at the end.

        ``first``: what the processes are told at the end, 5 s before they are killed.
        """
        reader, self._writer = os.pipe()
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", "-c", _PROGRAM, str(directory), str(int(first))],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, reader, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
            )
        finally:
            os.close(reader)

    def watch(self, pid: int) -> None:
        """End that process too, when this one ends."""
        os.write(self._writer, f"{pid}\n".encode())

    def dismiss(self) -> None:
        """End the watch and touch nothing: what was watched has ended in good order. Call it once, last."""
        with suppress(BrokenPipeError):  # somebody ended the guard: so it watches no more
            os.write(self._writer, b"dismissed\n")
        os.close(self._writer)
        os.waitpid(self._pid, 0)
