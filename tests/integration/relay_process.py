"""A relay in a process of its own: ``python -m tests.integration.relay_process DATABASE BOOTSTRAP_SERVERS [crash]``.

``crash``: it kills itself (-9) when the first batch is stored by Kafka, and before it is marked in the database.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from sqlalchemy.ext.asyncio import create_async_engine

from orchestra.outbox import lease
from orchestra.outbox.relay import Relay
from orchestra.settings import Settings
from orchestra.transport.kafka.transport import KafkaTransport


async def die(sent: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(database: str, bootstrap_servers: str, how: str = "") -> None:
    lease.LEASE_SECONDS = 1.0
    lease.RENEW_SECONDS = 0.2
    transport = KafkaTransport(Settings(env="test", bootstrap_servers=bootstrap_servers))
    await transport.start()
    publisher = transport.publisher()
    await publisher.start()
    relay = Relay(create_async_engine(database), publisher)
    if how == "crash":
        relay._mark = die  # type: ignore[method-assign]
    await relay.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
