"""The memory transport keeps the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest

from orchestra.testing.conformance import Lab, TransportConformance
from orchestra.transport.memory import MemoryCluster, MemoryTransport
from orchestra.transport.memory_line import Valve
from orchestra.transport.memory_writers import MemoryFencedLog
from orchestra.transport.port import FencedLog, Identity, Partition, Transport


class MemoryLab(Lab):
    """A cluster in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._cluster = MemoryCluster()

    def new_transport(self) -> Transport:
        return MemoryTransport(self._cluster, self.settings)

    def unreachable_transport(self) -> Transport:
        cluster = MemoryCluster()
        cluster.go_down()
        return MemoryTransport(cluster, self.settings.model_copy(update={"request_timeout": 0.1}))

    async def crash(self, transport: Transport) -> None:
        cast("MemoryTransport", transport).crash()

    async def compact(self, topic: str) -> None:
        self._cluster.compact(topic)

    async def second_object(self, transport: Transport, partition: Partition, identity: Identity) -> FencedLog:
        return MemoryFencedLog(self._cluster, "somebody", Valve(), partition, identity, timeout=5.0)


class TestMemoryTransport(TransportConformance):
    @pytest.fixture
    async def lab(self) -> AsyncIterator[Lab]:
        async with MemoryLab() as lab:
            yield lab
