"""How are topics described, created, deleted and trimmed on Kafka?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import aiokafka.errors as kafka_errors
from aiokafka.protocol.admin import (
    CreateTopicsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
    DescribeConfigsRequest,
)

from orchestra.errors import OffsetLostError, TransportError, UnreachableError
from orchestra.settings import Settings
from orchestra.transport.kafka.failures import NO_ERROR, UNKNOWN_TOPIC, failure, is_transient
from orchestra.transport.kafka.network import Network
from orchestra.transport.kafka.places import EARLIEST, LATEST, list_offsets
from orchestra.transport.kafka.topic_ids import TopicIdsRequest, topic_ids
from orchestra.transport.port import Bounds, Partition, TopicSpec, TopicState

_TOPIC_RESOURCE: Final = 2
_ALREADY_EXISTS: Final = 36
_MILLISECONDS: Final = 1000


class KafkaTopics:
    """The port's Topics on Kafka. Any broker of a KRaft cluster takes these requests to the controller."""

    def __init__(self, network: Network, settings: Settings) -> None:
        self._network = network
        self._settings = settings

    async def describe(self, names: Collection[str]) -> dict[str, TopicState]:
        async def attempt() -> dict[str, TopicState]:
            facts = await self._network.learn(names)
            configs = await self._configs(sorted(facts))
            ids = await self._ids(sorted(facts))
            return {
                name: TopicState(name, len(known.leaders), known.replicas, configs[name], ids.get(name, ""))
                for name, known in facts.items()
                if name in configs
            }

        return await self._network.persist(attempt, "describing topics") if names else {}

    async def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        request = DescribeConfigsRequest([(_TOPIC_RESOURCE, name, None) for name in names])
        answer = await self._network.ask_any(request)
        configs: dict[str, dict[str, str]] = {}
        for code, _, _, name, entries in answer.resources:
            if code == NO_ERROR:
                configs[name] = {key: value for key, value, *_ in entries if value is not None}
            elif code != UNKNOWN_TOPIC:  # deleted since the metadata was asked for
                raise failure(code, f"reading the settings of topic {name!r}")
        return configs

    async def _ids(self, names: Sequence[str]) -> dict[str, str]:
        if not names:
            return {}
        try:
            return topic_ids(await self._network.ask_any(TopicIdsRequest(list(names))))
        except (NotImplementedError, kafka_errors.IncompatibleBrokerVersion):
            return {}  # brokers before 2.8 have no topic ids

    async def create(self, specs: Sequence[TopicSpec]) -> None:
        if not specs:
            return

        async def attempt() -> None:
            existing = await self._network.learn([spec.name for spec in specs])
            if missing := [spec for spec in specs if spec.name not in existing]:
                request = CreateTopicsRequest([self._row(spec) for spec in missing], self._timeout_ms, False)
                answer = await self._network.ask_any(request)
                self._check((row[0], row[1], row[2]) for row in answer.topic_errors)

        await self._network.persist(attempt, "creating topics")
        # They are created: a broker that does not know them yet is busy, and will.
        await self._network.require([spec.name for spec in specs], patience=self._network.timeout)

    def _row(self, spec: TopicSpec) -> tuple[Any, ...]:
        partitions = spec.partitions or self._settings.partitions
        return spec.name, partitions, self._settings.replication_factor, [], list(spec.config.items())

    @staticmethod
    def _check(rows: Any) -> None:
        errors: list[TransportError] = []
        for name, code, words in rows:
            if code not in (NO_ERROR, _ALREADY_EXISTS):  # the second: somebody else was quicker
                errors.append(failure(code, f"creating topic {name!r}{f' ({words})' if words else ''}"))
        if errors:
            raise next((error for error in errors if not isinstance(error, UnreachableError)), errors[0])

    async def delete(self, names: Collection[str]) -> None:
        async def attempt() -> None:
            answer = await self._network.ask_any(DeleteTopicsRequest(sorted(names), self._timeout_ms))
            for name, code in answer.topic_error_codes:
                if code not in (NO_ERROR, UNKNOWN_TOPIC):
                    raise failure(code, f"deleting topic {name!r}")
            if still := await self._network.learn(names):
                raise UnreachableError(f"topic {min(still)!r} is not gone yet")

        if names:
            await self._network.persist(attempt, "deleting topics")

    async def bounds(self, partitions: Collection[Partition], *, stable: bool = False) -> dict[Partition, Bounds]:
        starts = await list_offsets(self._network, partitions, EARLIEST)
        ends = await list_offsets(self._network, partitions, LATEST, stable=stable)
        return {partition: Bounds(starts[partition], ends[partition]) for partition in partitions}

    async def delete_records(self, before: Mapping[Partition, int]) -> None:
        left = dict(before)

        async def attempt() -> None:
            if any(self._network.leader(partition) is None for partition in left):
                await self._network.require({partition.topic for partition in left})
            by_leader: dict[int, dict[str, list[tuple[int, int]]]] = {}
            for partition, offset in left.items():
                leader = self._network.leader(partition)
                if leader is None:
                    raise failure(UNKNOWN_TOPIC, f"{partition.topic}[{partition.number}]")
                by_leader.setdefault(leader, {}).setdefault(partition.topic, []).append((partition.number, offset))
            for leader, topics in by_leader.items():
                answer = await self._network.ask(leader, DeleteRecordsRequest(list(topics.items()), self._timeout_ms))
                for row in answer.topics:
                    for number, _low, code, *_tags in row[1]:
                        self._deleted(Partition(row[0], number), code, left)
            if left:
                raise UnreachableError("leaders have moved")

        if left:
            await self._network.persist(attempt, "deleting records")

    def _deleted(self, partition: Partition, code: int, left: dict[Partition, int]) -> None:
        if code == NO_ERROR:
            left.pop(partition, None)
        elif is_transient(code) or code == UNKNOWN_TOPIC:
            self._network.forget(partition)
        else:
            error = failure(code, f"deleting records of {partition.topic}[{partition.number}] before {left[partition]}")
            if isinstance(error, OffsetLostError):
                error.lost[partition] = left[partition]
            raise error

    @property
    def _timeout_ms(self) -> int:
        return int(self._settings.request_timeout * _MILLISECONDS)
