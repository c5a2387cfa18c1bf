"""A PostgreSQL for tests starts, gives databases, comes back after a crash, and ends with the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from orchestra.errors import LocalPostgresError
from orchestra.testing.kafka_process import command_line
from orchestra.testing.postgres import LocalPostgres, PostgresServer

RUN = """
import sys, tempfile, time
from pathlib import Path
from orchestra.testing.postgres import LocalPostgres
directory = Path(tempfile.mkdtemp(prefix="orchestra-postgres-"))
server = LocalPostgres.start(directory)
print(directory, server._process.pid, flush=True)
time.sleep(60)
"""


async def ask(url: str, statement: str) -> object:
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None
    finally:
        await engine.dispose()


async def test_every_test_has_an_empty_database_of_its_own(postgres: str, postgres_server: PostgresServer) -> None:
    other = postgres_server.create_database()
    await ask(postgres, "CREATE TABLE mine (n INTEGER)")

    assert await ask(other, "SELECT to_regclass('mine')") is None
    postgres_server.drop_database(other)
    postgres_server.drop_database(other)  # idempotent


async def test_server_that_crashed_comes_back_with_its_data(own_server: LocalPostgres) -> None:
    url = own_server.create_database()
    await ask(url, "CREATE TABLE kept AS SELECT 7 AS n")

    own_server.kill()
    with pytest.raises(OSError, match="Connect call failed"):
        await ask(url, "SELECT 1")
    own_server.start_again()

    assert await ask(url, "SELECT n FROM kept") == 7


def test_nobody_enters_without_the_password(own_server: LocalPostgres) -> None:
    place = urlsplit(own_server.create_database())
    stranger = PostgresServer(f"postgresql://orchestra:guess@{place.hostname}:{place.port}/postgres")

    with pytest.raises(LocalPostgresError, match="password authentication failed"):
        stranger.create_database()


def test_server_and_its_folder_are_gone_after_kill_9_of_the_run() -> None:
    run = subprocess.Popen([sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    with run.stdout:
        directory, pid = run.stdout.readline().split()
    assert directory in command_line(int(pid))

    os.kill(run.pid, signal.SIGKILL)
    run.wait(10)

    deadline = time.monotonic() + 15
    while command_line(int(pid)) or Path(directory).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
