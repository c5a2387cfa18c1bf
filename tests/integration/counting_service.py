"""A service with a ledger, as a process that dies at a chosen stage of a record: once, as with kill -9.

Run as ``python -m tests.integration.counting_service <bootstrap> <name> <database> <stage>``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Never

from sqlalchemy import Column, Integer, MetaData, String, Table, insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from orchestra.events.message import Command, Event, Key
from orchestra.service.context import Context
from orchestra.service.ledger import create_tables
from orchestra.service.runtime import ServiceRuntime
from orchestra.service.service import Service
from orchestra.service.sqlite import sqlite_engine
from orchestra.settings import Settings
from orchestra.transport.kafka.transport import KafkaTransport

STAGES = (
    "before-decode",
    "in-handler",
    "in-effect",
    "after-effect",
    "before-publish",
    "after-publish",
    "before-commit",
)
FATAL = "order-3"
"""The key whose record kills the process."""

metadata = MetaData()
counts = Table(
    "counts",
    metadata,
    Column("count", Integer, primary_key=True),
    Column("order_id", String, nullable=False),
)


class Counted(Event, type="counting.counted.v1"):
    order_id: Key[str]


class Count(Command[Counted, Never], type="counting.count.v1", topic="counting.commands"):
    order_id: Key[str]


def make_service(name: str, database: Path, die: Any = lambda stage, key: None) -> Service:
    service = Service(name)

    @service.resource
    async def engine() -> AsyncIterator[AsyncEngine]:
        opened = sqlite_engine(database)
        await create_tables(opened)
        async with opened.begin() as connection:
            await connection.run_sync(metadata.create_all)
        yield opened
        await opened.dispose()

    @service.resource(scope="call")
    async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as opened:
            yield opened

    @service.handles(Count)
    async def count(command: Count, ctx: Context, session: AsyncSession) -> Counted:
        die("in-handler", command.order_id)
        async with ctx.effect(session, command) as effect:
            if effect.outcome is not None:
                return effect.outcome
            await session.execute(insert(counts).values(order_id=command.order_id))
            die("in-effect", command.order_id)
            done = effect.done(Counted(order_id=command.order_id))
        die("after-effect", command.order_id)
        return done

    return service


class DyingTransport:
    """The Kafka transport of a process that dies at one stage."""

    def __init__(self, transport: KafkaTransport, die: Any) -> None:
        self._transport = transport
        self._die = die
        self._seen = False

    def consumer(self, subscription: Any, listener: Any) -> Any:
        return self._wrapped(self._transport.consumer(subscription, listener))

    def publisher(self, *, linger: float = 0.0) -> Any:
        return self._wrapped(self._transport.publisher(linger=linger))

    def _wrapped(self, part: Any) -> Any:
        outer = self

        class Wrapped:
            def __getattr__(self, name: str) -> Any:
                return getattr(part, name)

            async def fetch(self, **options: Any) -> Any:
                records = await part.fetch(**options)
                for record in records:
                    outer._seen = outer._seen or record.key == FATAL.encode()
                    outer._die("before-decode", record.key.decode())
                return records

            async def send(self, record: Any) -> Any:
                key = FATAL if FATAL.encode() in record.value else ""
                outer._die("before-publish", key)
                future = await part.send(record)
                await asyncio.shield(future)
                outer._die("after-publish", key)
                return future

            async def commit(self, offsets: Any) -> None:
                if outer._seen:
                    outer._die("before-commit", FATAL)
                await part.commit(offsets)

        return Wrapped()


async def main(bootstrap: str, name: str, database: Path, stage: str) -> None:
    mark = database.with_suffix(".died")

    def die(here: str, key: str) -> None:
        if here == stage and key == FATAL and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    settings = Settings(
        bootstrap_servers=bootstrap,
        session_timeout=6.0,
        heartbeat_interval=1.0,
        topics={"counting.commands": f"{name}.commands"},
    )
    transport = KafkaTransport(settings)
    await transport.start()
    wrapped: Any = DyingTransport(transport, die)
    runtime = ServiceRuntime(make_service(name, database, die), wrapped, settings)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, runtime.stop)
    await runtime.run()
    await transport.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]))
