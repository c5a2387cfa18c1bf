"""How do a parent and its worker processes speak with each other? Lines over a pair of sockets.

The parent says ``drain``, ``end``, ``health`` or ``lag``; the worker answers the last two with a line of JSON. When the
parent is gone, by whatever death, the worker reads the end of the stream: it drains, and ends even if it cannot drain.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

_LINE_LIMIT = 4 << 20
"""Bytes of one answer: a few hundred for each partition."""
WORKER_SECONDS = 0.5
"""How long a worker's loop may take to say how it is,"""
ANSWER_SECONDS = 0.65
"""and how long the parent waits for that."""
WORKER_OPTION = "--as-worker"
"""Hidden option of ``orchestra run``: the worker's number; its standard input is the link."""


class WorkerProcess:
    """A worker as its parent sees it."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._asking = asyncio.Lock()
        self._unanswered = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        code = await self._process.wait()
        self._writer.close()
        return code

    def drain(self) -> None:
        self._say("drain")

    def end(self) -> None:
        self._say("end")

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    async def health(self, timeout: float, *, fresh: bool) -> dict[str, Any] | None:
        """What it says of itself; None: no answer in time. Answers that come too late are thrown away."""
        try:
            async with asyncio.timeout(timeout), self._asking:
                self._unanswered += 1
                self._say("lag" if fresh else "health")
                while True:
                    line = await self._reader.readuntil(b"\n")
                    self._unanswered -= 1
                    if not self._unanswered:
                        said: dict[str, Any] = json.loads(line)
                        return said
        except (TimeoutError, OSError, EOFError, asyncio.LimitOverrunError):
            return None

    def _say(self, word: str) -> None:
        if not self._writer.is_closing():
            self._writer.write(f"{word}\n".encode())


async def start_worker(number: int, words: Sequence[str]) -> WorkerProcess:
    """Start ``orchestra`` with these words as worker ``number``. Its output goes where this process's goes."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-P", "-m", "orchestra.cli", *words, f"{WORKER_OPTION}={number}"]
    with theirs:
        process = await asyncio.create_subprocess_exec(*command, stdin=theirs.fileno())
    reader, writer = await asyncio.open_connection(sock=ours, limit=_LINE_LIMIT)
    return WorkerProcess(process, reader, writer)


class ParentLink:
    """The parent as a worker sees it. A thread listens, so that it hears also while the event loop is blocked.

    Args:
        on_drain, on_end: called in the loop; the first with why.
        health: called in the thread, with whether brokers are to be asked; may block for :data:`WORKER_SECONDS`.
        last_words: seconds from the parent's death until this process ends, drained or not.
    """

    def __init__(
        self,
        *,
        on_drain: Callable[[str], None],
        on_end: Callable[[], None],
        health: Callable[[bool], dict[str, Any]],
        last_words: float,
    ) -> None:
        self._on_drain = on_drain
        self._on_end = on_end
        self._health = health
        self._last_words = last_words
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(fileno=os.dup(0))
        with open(os.devnull) as nothing:  # whoever reads standard input must not read the link
            os.dup2(nothing.fileno(), 0)
        threading.Thread(target=self._listen, name="orchestra-parent", daemon=True).start()

    def _listen(self) -> None:
        with suppress(OSError), self._socket.makefile("rb") as lines:
            for line in lines:
                self._obey(line.strip())
        self._call(lambda: self._on_drain("the parent process is gone"))
        threading.Event().wait(self._last_words)
        os._exit(1)

    def _obey(self, word: bytes) -> None:
        if word in (b"health", b"lag"):
            self._socket.sendall(json.dumps(self._health(word == b"lag")).encode() + b"\n")
        elif word == b"drain":
            self._call(lambda: self._on_drain("asked to end"))
        elif word == b"end":
            self._call(self._on_end)

    def _call(self, callback: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: this process ends anyway
            self._loop.call_soon_threadsafe(callback)
