"""A broker that answers as a test tells it: no sockets, the real encoding."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any

from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.memory_records import MemoryRecords

from orchestra.transport.kafka.network import Network, TopicFacts
from orchestra.transport.port import Identity, Partition

Answer = int | Exception
"""An error code (0: stored), or what asking raises."""


class ScriptedNetwork(Network):
    """Broker 1 leads every partition of topic "t"; ``script`` answers one batch after the other, then 0 for ever."""

    def __init__(self, *script: Answer, partitions: int = 2) -> None:
        super().__init__({}, name="scripted", timeout=0.5)
        self.script = list(script)
        self.topics = {"t": TopicFacts(dict.fromkeys(range(partitions), 1), replicas=1)}
        self.batches: list[tuple[Partition, Identity, int, list[bytes | None], bytes]] = []
        """(partition, identity, first sequence number, values, bytes) of each batch that came, in order."""
        self.identities = 0
        self.on_ask: Callable[[], None] = lambda: None
        self._ends: dict[Partition, int] = {}

    async def start(self) -> None:
        pass

    async def aclose(self) -> None:
        pass

    @property
    def is_open(self) -> bool:
        return True

    async def learn(self, topics: Collection[str]) -> dict[str, TopicFacts]:
        found = {name: facts for name, facts in self.topics.items() if name in topics}
        self._facts.update({name: TopicFacts(dict(facts.leaders), facts.replicas) for name, facts in found.items()})
        return found

    async def ask_any(self, request: Any) -> Any:
        assert isinstance(request, InitProducerIdRequest)
        self.identities += 1
        return SimpleNamespace(error_code=0, producer_id=self.identities, producer_epoch=0)

    async def ask(self, node: int, request: Any) -> Any:
        self.on_ask()
        rows: list[tuple[str, list[tuple[int, int, int]]]] = []
        for topic, partitions in request._topics:
            rows.append((topic, [self._answer(Partition(topic, number), data) for number, data in partitions]))
        return SimpleNamespace(topics=rows)

    def _answer(self, partition: Partition, data: bytes) -> tuple[int, int, int]:
        batch: Any = MemoryRecords(data).next_batch()
        values = [record.value for record in batch]
        identity = Identity(batch.producer_id, batch.producer_epoch)
        self.batches.append((partition, identity, batch.base_sequence, values, data))
        answer = self.script.pop(0) if self.script else 0
        if isinstance(answer, Exception):
            raise answer
        if answer:
            return partition.number, answer, -1
        offset = self._ends.get(partition, 0)
        self._ends[partition] = offset + len(values)
        return partition.number, 0, offset
