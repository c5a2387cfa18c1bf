"""How do I run services and flows in a test without Kafka, and see what was published?

async with running_in_memory(inventory) as log, orchestra.connect(transport=log) as bus:
    reply = await bus.ask(ReserveItems(...), timeout="5s")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from orchestra.app import App
from orchestra.clock import Clock
from orchestra.coordinator.coordinator import Coordinator
from orchestra.errors import DefinitionError
from orchestra.events.cloudevents import decode
from orchestra.events.message import Message, spec_of
from orchestra.service.service import Service
from orchestra.settings import Settings
from orchestra.supervisor import Supervisor, needed_topics
from orchestra.transport.memory import MemoryCluster, MemoryTransport
from orchestra.transport.port import TopicSpec
from orchestra.transport.topic_setup import ensure_topics
from orchestra.units import units_of

__all__ = ["MemoryCluster", "MemoryTransport", "published", "running_in_memory"]

M = TypeVar("M", bound=Message)


@asynccontextmanager
async def running_in_memory(
    *parts: App | Service | Coordinator,
    topics: Iterable[str] = (),
    settings: Settings | None = None,
    clock: Clock | None = None,
) -> AsyncGenerator[MemoryTransport]:
    """A log in memory, with services and coordinators running on it. They are drained at the end.

    Args:
        parts: what runs; none is fine, for a program that only publishes.
        topics: that are to exist beside those of the parts, by their names on the cluster.
        settings: timeouts and names. Default: the default settings in ``env="test"``.
        clock: time, where the test owns it.

    Raises:
        OrchestraError: whatever ended a part for good.
    """
    settings = settings or Settings(env="test")
    cluster = MemoryCluster(clock=clock)
    for topic in topics:
        cluster.create(TopicSpec(topic))
    transport = MemoryTransport(cluster, settings)
    units = units_of(App.of(parts), transport, settings, clock=clock) if parts else []
    # Before the caller's first event: a topic that the supervisor is still about to create would be missing.
    cluster_topics = needed_topics(unit.build() for unit in units)
    await ensure_topics(transport.topics, cluster_topics, settings)
    supervisor = Supervisor(units, transport, settings, clock=clock)
    running = asyncio.create_task(supervisor.run()) if parts else None
    try:
        yield transport
    finally:
        if running is not None:
            supervisor.stop()
            await running
        await transport.aclose()


def published(log: MemoryTransport, message: type[M], *, topic: str | None = None) -> list[M]:
    """Every message of that class on its topic so far: in order for each partition, one partition after the other.

    Args:
        topic: its name on the cluster, where settings map it or the class names none.
    """
    spec = spec_of(message)
    name = topic or spec.topic
    if name is None:
        raise DefinitionError(f"published({message.__qualname__}): it has no topic; give topic='...'")
    events: list[Any] = [decode(record.headers, record.value) for record in log.cluster.records(name)]
    return [event.value(message) for event in events if event.type == spec.type]
