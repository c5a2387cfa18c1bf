"""What do tests of whole scenarios need? A folder for the databases, an end to wait for, an operator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestra.coordinator.coordinator import Coordinator
from orchestra.coordinator.names import Names
from orchestra.coordinator.request import request_record
from orchestra.flows.decision import OperatorAction, OperatorRequest
from orchestra.settings import Settings
from orchestra.transport.memory import MemoryTransport


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the services keep their data."""
    monkeypatch.setenv("SERVICES_DATA", str(tmp_path))
    return tmp_path


async def until(holds: Callable[[], bool], within: float = 20.0) -> None:
    """Return when it holds. Raises TimeoutError when it does not in time."""
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.01)


async def operate(log: MemoryTransport, coordinator: Coordinator, action: OperatorAction, instance: str) -> None:
    """Ask it of an instance, as ``orchestra instances <action>`` does."""
    names = Names.of(coordinator.name, Settings(env="test"))
    request = OperatorRequest(action, by="ann", reason="the test says so")
    publisher = log.publisher()
    await publisher.start()
    await publisher.publish(
        [
            request_record(
                names,
                coordinator.partitions,
                instance,
                request,
                event_id=f"{action}-{instance}",
                now=datetime.now(UTC),
                source="/test",
            )
        ]
    )
    await publisher.aclose()


def journal(log: MemoryTransport, coordinator: Coordinator) -> str:
    """Everything that the coordinator told so far."""
    return "\n".join((record.value or b"").decode() for record in log.cluster.records(f"{coordinator.name}.journal"))
