"""Sends events to the moody service, and reads what it noted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from orchestra.events.cloudevents import encode
from orchestra.events.envelope import compose
from orchestra.settings import Settings
from orchestra.transport.kafka.transport import KafkaTransport
from orchestra.transport.port import Outgoing
from tests.integration.moody import Act
from tests.integration.run_process import Process

MOODY = "tests.integration.moody:moody"
READY = "moody is running"


def moody_environment(bootstrap_servers: str, directory: Path) -> dict[str, str]:
    """Short times, and a namespace of its own."""
    return {
        "ORCHESTRA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "ORCHESTRA_NAMESPACE": f"t-moody-{os.urandom(3).hex()}",
        "ORCHESTRA_SESSION_TIMEOUT": "6",
        "ORCHESTRA_HEARTBEAT_INTERVAL": "1",
        "ORCHESTRA_DRAIN_TIMEOUT": "10",
        "ORCHESTRA_REQUEST_TIMEOUT": "3",
        "MOODY_NOTES": str(directory / "notes"),
    }


def publish(environment: dict[str, str], acts: Sequence[Act]) -> None:
    async def send() -> None:
        settings = Settings.from_environment(environment)
        transport = KafkaTransport(settings)
        await transport.start()
        publisher = transport.publisher()
        await publisher.start()
        await publisher.publish([record(act, settings) for act in acts])
        await transport.aclose()

    asyncio.run(send())


def record(act: Act, settings: Settings) -> Outgoing:
    envelope = compose(act, id=f"act-{os.urandom(8).hex()}", source="/tests", time=datetime.now(UTC))
    headers, value = encode(envelope)
    return Outgoing(settings.topic("moody.acts"), act.name.encode(), value, headers)


def notes(environment: dict[str, str]) -> str:
    path = Path(environment["MOODY_NOTES"])
    return path.read_text() if path.exists() else ""


def wait_begun(process: Process, environment: dict[str, str], name: str) -> None:
    process.wait_until(lambda: f"begun {name} " in notes(environment), f"begin {name}")
