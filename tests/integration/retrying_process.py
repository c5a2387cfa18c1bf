"""A service with retry topics in a process of its own: ``python -m tests.integration.retrying_process SERVERS NOTES``.

Number 0 of the keys that begin with "stuck" fails at its first try. Calls, and ends of calls, are lines in the notes.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from orchestra.errors import TransientError
from orchestra.events.message import Event, Key
from orchestra.retry import Retry
from orchestra.service.context import Context
from orchestra.service.service import Service
from orchestra.settings import Settings
from tests.integration.running import running


class Ordered(Event, type="retrying.ordered.v1", topic="retrying.orders"):
    key: Key[str]
    number: int


retrying = Service("retrying")


@retrying.on(Ordered, retry=Retry(attempts=1, later=("5s",), order="divert_key"))
async def follow(event: Ordered, ctx: Context) -> None:
    note("begun", event, ctx)
    if event.key.startswith("stuck") and (event.number, ctx.attempt) == (0, 1):
        raise TransientError("not yet")
    note("done", event, ctx)


def note(what: str, event: Ordered, ctx: Context) -> None:
    with Path(sys.argv[2]).open("a") as notes:
        notes.write(f"{what} {event.key} {event.number} {ctx.attempt} {time.time():.3f} {os.getpid()}\n")


def settings_for(servers: str) -> Settings:
    return Settings(
        env="test", bootstrap_servers=servers, partitions=3, session_timeout=6, heartbeat_interval=1, create_topics=True
    )


async def main() -> None:
    async with running(settings_for(sys.argv[1]), retrying):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
