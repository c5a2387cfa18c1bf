"""Does a service come back whose Kafka client has died silently: alive, in its group, and taking nothing in?"""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestra.app import App
from orchestra.errors import StalledError
from orchestra.events.cloudevents import encode
from orchestra.events.envelope import compose
from orchestra.events.message import Event, Key
from orchestra.restart import MAX_RESTARTS
from orchestra.service.service import Service
from orchestra.settings import Settings
from orchestra.supervisor import Supervisor
from orchestra.testing.plugin import Kafka
from orchestra.transport.kafka.transport import KafkaTransport
from orchestra.transport.port import Outgoing, TopicSpec
from orchestra.units import units_of

pytestmark = pytest.mark.kafka


class Seen(Event, type="stalled.seen.v1", topic="stalled.seen"):
    key: Key[str]


class Site:
    """A service on a real broker whose consumers' fetch routines a test can kill."""

    def __init__(self, kafka: Kafka, *, dies_always: bool = False) -> None:
        self.settings = Settings(
            bootstrap_servers=kafka.bootstrap_servers,
            namespace=f"t-stall-{uuid.uuid4().hex[:8]}",
            stall_timeout=3.0,
            session_timeout=6.0,
            heartbeat_interval=1.0,
            drain_timeout=2.0,
        )
        self.transport = KafkaTransport(self.settings)
        self.consumers: list[Any] = []
        self.seen: list[str] = []
        self.service = Service("stalled")

        @self.service.on(Seen)
        async def see(event: Seen) -> None:
            self.seen.append(event.key)

        make = self.transport.consumer

        def consumer(*arguments: Any) -> Any:
            self.consumers.append(make(*arguments))
            if dies_always:
                started = self.consumers[-1].start

                async def start_and_die() -> None:
                    await started()
                    self.kill_fetching()

                self.consumers[-1].start = start_and_die
            return self.consumers[-1]

        self.transport.consumer = consumer  # type: ignore[method-assign]
        self.supervisor = Supervisor(
            units_of(App(services=[self.service]), self.transport, self.settings), self.transport, self.settings
        )

    def kill_fetching(self) -> None:
        """What happens to aiokafka now and then: its background task ends, and nobody notices."""
        self.consumers[-1]._client._fetcher._fetch_task.cancel()

    async def send(self, *keys: str) -> None:
        publisher = self.transport.publisher()
        await publisher.start()
        for key in keys:
            event = compose(Seen(key=key), id=key, source="/test", time=datetime.now(UTC))
            headers, value = encode(event)
            topic = self.settings.topic("stalled.seen")
            await publisher.publish([Outgoing(topic, key.encode(), value, headers)])
        await publisher.aclose()


async def until(is_true: Any, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not is_true():
            await asyncio.sleep(0.05)


async def test_a_client_that_died_silently_is_made_anew_and_nothing_is_lost(
    kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(kafka)
    await site.transport.start()
    running = asyncio.create_task(site.supervisor.run())
    await until(lambda: site.consumers and site.consumers[-1].is_member, 20)
    await site.send("before")
    await until(lambda: site.seen == ["before"], 20)

    site.kill_fetching()
    await site.send("after-1", "after-2")
    await until(lambda: len(site.seen) == 3, 40)

    assert len(site.consumers) == 2
    assert "stalled is stalled, and torn down" in caplog.text
    site.supervisor.stop()
    await running
    await site.transport.aclose()


async def test_a_client_that_dies_again_and_again_ends_the_process_with_the_reason(kafka: Kafka) -> None:
    site = Site(kafka, dies_always=True)
    await site.transport.start()
    await site.transport.topics.create([TopicSpec(site.settings.topic("stalled.seen"))])
    await site.send("never")

    with pytest.raises(StalledError, match="though there are records"):
        await site.supervisor.run()

    assert len(site.consumers) == MAX_RESTARTS + 1
    assert site.seen == []
    await site.transport.aclose()
