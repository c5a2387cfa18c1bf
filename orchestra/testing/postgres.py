"""How is a PostgreSQL server started for tests, given databases, and ended, also when the tests themselves are killed?

The server has a folder and a port of its own, a password, and no care for the disk: what it holds lasts as long as the
test run. PostgreSQL refuses to run as root; there it runs as ``postgres``, else ``nobody``.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from orchestra.clock import SystemClock
from orchestra.errors import LocalPostgresError
from orchestra.testing.kafka_guard import Guard
from orchestra.testing.kafka_node import HOST, free_ports
from orchestra.testing.kafka_process import Process, spawn
from orchestra.testing.postgres_program import PostgresProgram, find_postgres

if TYPE_CHECKING:
    from rich.console import Console

_READY_SECONDS = 30.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.02
_CLOCK = SystemClock()

# Becomes another user, as far as asked, and then the program.
_BECOME = """
import os, pwd, sys
user, libraries, *command = sys.argv[1:]
if user:
    who = pwd.getpwnam(user)
    os.setgroups([]), os.setgid(who.pw_gid), os.setuid(who.pw_uid)
if libraries:
    os.environ["LD_LIBRARY_PATH"] = libraries
os.execv(command[0], command)
"""

_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    # A test's data need not outlive the machine.
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "10s",
    # A small machine, and nothing left behind in /dev/shm by a kill -9.
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",
    "max_connections": "200",
    "max_prepared_transactions": "4",
    "jit": "off",
}


class PostgresServer:
    """A server that hands out databases. Every method blocks; in async code call them through ``asyncio.to_thread``.

    Args:
        url: ``postgresql://user:password@host:port/database`` of a user who may create databases.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        # Names of its own for each test process, that leave a shared server's databases alone.
        self._names = (f"orchestra_{os.getpid()}_{number}" for number in count(1))

    def create_database(self) -> str:
        """A new, empty database. Gives its URL, as SQLAlchemy's async engines take it.

        Raises:
            LocalPostgresError: the server cannot be reached, or the user may not.
        """
        name = next(self._names)
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        return urlunsplit(urlsplit(self._url)._replace(scheme="postgresql+asyncpg", path=f"/{name}"))

    def drop_database(self, url: str) -> None:
        """Remove a database of :meth:`create_database`, whoever is still connected. Idempotent."""
        self._execute(f'DROP DATABASE IF EXISTS "{urlsplit(url).path[1:]}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        # In a thread: the caller may have an event loop running, or none.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _execute(self._url, statement)).result()


class LocalPostgres(PostgresServer):
    """A server that is this process's own: made by :meth:`start`."""

    def __init__(self, directory: Path, program: PostgresProgram) -> None:
        [self._port] = free_ports(1)
        self._password = os.urandom(16).hex()
        super().__init__(f"postgresql://orchestra:{self._password}@{HOST}:{self._port}/postgres")
        self._directory = directory
        self._program = program
        self._process: Process | None = None
        self._guard = Guard(directory, first=signal.SIGQUIT)  # on which it ends at once, and in order

    @classmethod
    def start(cls, directory: Path, *, console: Console | None = None) -> LocalPostgres:
        """A new server in an empty folder, ready to be used. Takes about a second.

        It ends, and its folder goes, when this process ends, even by ``kill -9``.

        Args:
            directory: holds everything that the server writes.
            console: shows a first download.

        Raises:
            LocalPostgresError: no program, or the server did not start; the text holds the end of its log.
        """
        server = cls(directory, find_postgres(console))
        try:
            server._make()
            server.start_again()
        except BaseException:
            server.stop()
            raise
        return server

    def start_again(self) -> None:
        """Start it on the data and the port that it had. Raises LocalPostgresError."""
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [str(self._program.bin / "postgres"), "-D", str(self._data), "-p", str(self._port), *settings]
        self._process = spawn(self._become(command), mark=str(self._data), log=self._log)
        self._guard.watch(self._process.pid)
        self._wait_ready(self._process)

    def kill(self) -> None:
        """End it at once, as a crash does: connections break, the data stays. :meth:`start_again` brings it back."""
        if self._process is not None:
            self._process.send(signal.SIGQUIT)
            _wait_gone(self._process)

    def stop(self) -> None:
        """End it and remove its folder. Idempotent."""
        self.kill()
        if self._process is not None:
            self._process.send(signal.SIGKILL)
        self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)
        self._guard.dismiss()

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    @property
    def _log(self) -> Path:
        return self._directory / "postgres.log"

    def _make(self) -> None:
        password = self._directory / "password"
        password.write_text(self._password)
        if user := _user():
            who = pwd.getpwnam(user)
            os.chown(self._directory, who.pw_uid, who.pw_gid)
            os.chown(password, who.pw_uid, who.pw_gid)
        command = [str(self._program.bin / "initdb"), "-D", str(self._data), "-U", "orchestra", "-A", "password"]
        command += [f"--pwfile={password}", "--no-sync", "--no-locale", "-E", "UTF8"]
        done = subprocess.run(
            self._become(command), cwd="/", capture_output=True, text=True, timeout=_READY_SECONDS, check=False
        )
        if done.returncode:
            raise LocalPostgresError(f"initdb failed{_as(user)}:\n{done.stdout[-500:]}{done.stderr[-1500:]}")

    def _become(self, command: list[str]) -> list[str]:
        libraries = "" if self._program.libraries is None else str(self._program.libraries)
        return [sys.executable, "-I", "-S", "-c", _BECOME, _user(), libraries, *command]

    def _wait_ready(self, process: Process) -> None:
        deadline = _CLOCK.elapsed() + _READY_SECONDS
        gone = 0
        while not self._says_ready(process):
            # While it becomes another program, a process has no command line for an instant: one look is not enough.
            gone = 0 if process.is_alive() else gone + 1
            if gone > 5 or _CLOCK.elapsed() > deadline:
                words = "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
                raise LocalPostgresError(f"PostgreSQL did not start{_as(_user())}. The end of its log:\n{words}")
            time.sleep(_POLL_SECONDS)

    def _says_ready(self, process: Process) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[0] == str(process.pid) and lines[7].strip() == "ready"


async def _execute(url: str, statement: str) -> None:
    import asyncpg

    try:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            await connection.execute(statement, timeout=30)
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError) as error:
        place = urlsplit(url)
        raise LocalPostgresError(f"PostgreSQL at {place.hostname}:{place.port}: {statement}: {error}") from error


def _user() -> str:
    """Whom the server runs as, where it cannot run as we do; else ""."""
    if os.geteuid() != 0:
        return ""
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


def _as(user: str) -> str:
    return f" as user {user}" if user else ""


def _wait_gone(process: Process) -> None:
    deadline = _CLOCK.elapsed() + _STOP_SECONDS
    while process.is_alive() and _CLOCK.elapsed() < deadline:
        time.sleep(_POLL_SECONDS)
