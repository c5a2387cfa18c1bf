"""The service that the fault tests break: it counts, once for each command, in a database.

Run as a user runs his own: ``orchestra run tests.faults.counting:counter``, with two variables beside orchestra's:

``FAULTS_FOLDER``  where the database and the journal are; the members of one test share it
``FAULTS_PLAN``    what is to go wrong in this process, as JSON: see :class:`tests.faults.plan.Plan`
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Never

from sqlalchemy import Column, Integer, MetaData, String, Table, insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from orchestra import (
    Command,
    Context,
    Event,
    Key,
    PermanentError,
    Retry,
    Service,
    TransientError,
    create_ledger_tables,
    sqlite_engine,
)
from tests.faults.dying import Death, hold_commits_back, watch_transport
from tests.faults.plan import Plan

metadata = MetaData()
effects = Table(
    "effects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("process", Integer, nullable=False),
    sqlite_autoincrement=True,  # ids rise as transactions commit: there is one writer at a time
)


class Counted(Event, type="faults.counted.v1", topic="faults.counted"):
    account: Key[str]
    number: int


class Count(Command[Counted, Never], type="faults.count.v1", topic="faults.numbers"):
    account: Key[str]
    number: int
    do: str = ""
    """What the handler is to do first: "" (nothing), "linger", "stumble" (until a later try), or one of ``DOOMED``."""


DOOMED = ("poison", "cling", "die")
"""What ends as a dead letter: an error for good, ignoring one's cancellation, killing one's process."""


plan = Plan.of_environment()
if "FAULTS_FOLDER" in os.environ and sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a test that is killed leaves no member behind
folder = Path(os.environ.get("FAULTS_FOLDER", "."))
death = Death(*plan.die)
watch_transport(death)
hold_commits_back(*plan.hold_commits)

counter = Service("counter", max_in_flight=plan.in_flight)


def journal(what: str, command: Count) -> None:
    """One line, whole or not at all, also when the process is killed: ``begun account number process``."""
    line = f"{what} {command.account} {command.number} {os.getpid()}\n"
    file = os.open(folder / "journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


@counter.resource
async def engine() -> AsyncIterator[AsyncEngine]:
    opened = sqlite_engine(folder / "effects.db")
    await create_ledger_tables(opened)
    async with opened.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield opened
    await opened.dispose()


@counter.resource(scope="call")
async def open_session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine) as session:
        yield session


retry = Retry(attempts=2, first="50ms", cap="100ms", later=("5s",), order=plan.order)


@counter.handles(Count, retry=retry, timeout=plan.timeout)
async def count(command: Count, ctx: Context, session: AsyncSession) -> Counted:
    journal("begun", command)
    death.reach("in-handler")
    await behave(command, ctx)
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            journal("again", command)
            return effect.outcome
        row = {"account": command.account, "number": command.number, "process": os.getpid()}
        await session.execute(insert(effects).values(row))
        death.reach("in-effect")
        done = effect.done(Counted(account=command.account, number=command.number))
    death.reach("after-effect")
    journal("done", command)
    return done


async def behave(command: Count, ctx: Context) -> None:
    if (folder / "dependency-is-down").exists():
        raise ConnectionRefusedError("the dependency is down")
    if plan.fails or command.do == "poison":
        raise PermanentError("poison")
    if command.do == "stumble" and ctx.attempt <= retry.attempts:
        raise TransientError("at a later try")
    if command.do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    while command.do == "cling":
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
    await asyncio.sleep(3.0 if command.do == "linger" else plan.delay)
