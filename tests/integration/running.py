"""Runs services and coordinators on a real Kafka within a test, as ``orchestra run`` does in a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestra.app import App
from orchestra.coordinator.coordinator import Coordinator
from orchestra.service.service import Service
from orchestra.settings import Settings
from orchestra.supervisor import Supervisor
from orchestra.transport.kafka.transport import KafkaTransport
from orchestra.units import units_of


@asynccontextmanager
async def running(settings: Settings, *parts: App | Service | Coordinator) -> AsyncIterator[Supervisor]:
    """Topics are there and groups are joined when this is entered; everything has drained when it is left."""
    transport = KafkaTransport(settings)
    await transport.start()
    app = App.of(parts)
    supervisor = Supervisor(units_of(app, transport, settings), transport, settings)
    task = asyncio.create_task(supervisor.run())
    try:
        async with asyncio.timeout(30):
            while len(supervisor.statistics()) < len(app.parts):
                if task.done():
                    task.result()
                await asyncio.sleep(0.02)
        yield supervisor
    finally:
        supervisor.stop()
        try:
            await task
        finally:
            await transport.aclose()
