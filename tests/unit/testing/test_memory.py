"""Services and flows run in memory as they would on Kafka, and what they publish can be looked at."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from orchestra.app import App
from orchestra.bus.bus import connect
from orchestra.clock import LoopClock
from orchestra.errors import DefinitionError, OrchestraError
from orchestra.events.message import Event, Key
from orchestra.service.service import Service
from orchestra.settings import Settings
from orchestra.testing.memory import published, running_in_memory

pytestmark = pytest.mark.virtual_time


class Asked(Event, type="memory.asked.v1", topic="memory.asked"):
    number: Key[int]


class Told(Event, type="memory.told.v1", topic="memory.told"):
    number: Key[int]


class Homeless(Event, type="memory.homeless.v1"):
    pass


def telling() -> Service:
    service = Service("telling")

    @service.on(Asked)
    async def tell(event: Asked) -> Told:
        return Told(number=event.number)

    return service


async def test_what_a_service_publishes_is_seen() -> None:
    clock = LoopClock(datetime(2030, 1, 1, tzinfo=UTC))
    async with running_in_memory(App(services=[telling()]), clock=clock, topics=["memory.told"]) as log:
        async with connect(transport=log, clock=clock) as bus:
            await bus.publish(*(Asked(number=n) for n in range(5)))
        async with asyncio.timeout(10):
            while len(published(log, Told)) < 5:
                await asyncio.sleep(0.01)

        assert sorted(event.number for event in published(log, Told)) == list(range(5))
        assert published(log, Asked, topic="memory.told") == []
        with pytest.raises(DefinitionError, match="Homeless"):
            published(log, Homeless)


async def test_topics_can_be_named_by_settings() -> None:
    settings = Settings(env="test", namespace="eu")
    async with running_in_memory(topics=["eu.memory.told"], settings=settings) as log:
        async with connect(settings, transport=log) as bus:
            await bus.publish(Told(number=1))

        assert published(log, Told, topic="eu.memory.told") == [Told(number=1)]


async def test_part_that_ended_for_good_is_said_at_the_end() -> None:
    service = telling()

    with pytest.raises(OrchestraError, match=r"memory\.missing"):
        async with running_in_memory(
            service, settings=Settings(env="test", create_topics=False, topics={"memory.asked": "memory.missing"})
        ):
            await asyncio.sleep(5)
