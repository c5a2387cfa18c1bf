"""A service that does what the events say: be quick, be slow, block the loop, cling to life, die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

from orchestra import Event, Key, Service


class Act(Event, type="moody.act.v1", topic="moody.acts"):
    name: Key[str]
    mood: str
    seconds: float = 0.0


moody = Service("moody")


@moody.on(Act, timeout="60s")
async def act(event: Act) -> None:
    _note("begun", event.name)
    match event.mood:
        case "slow":
            await asyncio.sleep(event.seconds)
        case "blocking":
            time.sleep(event.seconds)
        case "clinging":
            await _cling(event.seconds)
        case "refused" if not Path(os.environ["MOODY_NOTES"]).with_name("stock-is-back").exists():
            raise ConnectionRefusedError("stock database")
        case "dying":
            os.kill(os.getpid(), signal.SIGKILL)
    _note("done", event.name)


async def _cling(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.1)


def _note(what: str, name: str) -> None:
    with Path(os.environ["MOODY_NOTES"]).open("a") as notes:
        notes.write(f"{what} {name} {os.getpid()}\n")
