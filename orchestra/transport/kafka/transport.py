"""How does one process use a Kafka cluster? The port on Apache Kafka."""

from __future__ import annotations

import asyncio

from orchestra.errors import ClosedError, FenceBreachedError
from orchestra.settings import Settings
from orchestra.transport.kafka.connection import TokenProvider, client_arguments
from orchestra.transport.kafka.consumer import KafkaConsumer
from orchestra.transport.kafka.fenced_log import KafkaFencedLog, open_fenced_log
from orchestra.transport.kafka.identity import take_identity
from orchestra.transport.kafka.network import Network
from orchestra.transport.kafka.publisher import KafkaPublisher
from orchestra.transport.kafka.quiet import calm_aiokafka
from orchestra.transport.kafka.reader import KafkaReader, open_reader
from orchestra.transport.kafka.topics import KafkaTopics
from orchestra.transport.port import (
    BARRIER_EPOCH,
    AssignmentListener,
    Consumer,
    FencedLog,
    Headers,
    Identity,
    Partition,
    Publisher,
    Reader,
    Subscription,
)

_Part = KafkaConsumer | KafkaPublisher | KafkaFencedLog | KafkaReader


class KafkaTransport:
    """One process's way to the cluster at ``settings.bootstrap_servers``.

    Args:
        settings: where the brokers are, how they are convinced, and every timeout.
        name: the process's name in the brokers' logs.
        token: gives OAUTHBEARER tokens, where that is the SASL mechanism.

    Raises:
        SettingsError: the security settings cannot work.
    """

    def __init__(self, settings: Settings, *, name: str = "orchestra", token: TokenProvider | None = None) -> None:
        self._settings = settings
        self._name = name
        self._arguments = client_arguments(settings, token=token)
        self._network = self._new_network("admin")
        self._topics = KafkaTopics(self._network, settings)
        self._parts: list[_Part] = []

    def _new_network(self, purpose: str) -> Network:
        name = f"{self._name}-{purpose}"
        return Network(self._arguments, name=name, timeout=self._settings.request_timeout)

    @property
    def topics(self) -> KafkaTopics:
        return self._topics

    async def start(self) -> None:
        calm_aiokafka()
        await self._network.start()

    async def aclose(self) -> None:
        parts, self._parts = self._parts, []
        consumers = [part for part in parts if isinstance(part, KafkaConsumer)]
        others = [part for part in parts if not isinstance(part, KafkaConsumer)]
        for together in (consumers, others):  # what a listener does in on_revoked still has somewhere to go
            await asyncio.gather(*(part.aclose() for part in together), return_exceptions=True)
        await self._network.aclose()

    def _keep(self, part: _Part) -> None:
        """Remember a part, to close it with the transport; forget those that are closed."""
        self._parts = [each for each in self._parts if not each.is_closed]
        self._parts.append(part)

    def _check_open(self) -> None:
        if not self._network.is_open:
            raise ClosedError("the transport is not started, or closed")

    def consumer(self, subscription: Subscription, listener: AssignmentListener) -> Consumer:
        self._check_open()
        consumer = KafkaConsumer(self._network, self._arguments, self._settings, subscription, listener)
        self._keep(consumer)
        return consumer

    def publisher(self, *, linger: float = 0.0) -> Publisher:
        self._check_open()
        publisher = KafkaPublisher(self._new_network("publisher"), self._settings, linger=linger)
        self._keep(publisher)
        return publisher

    async def fenced_log(self, transactional_id: str, partition: Partition) -> FencedLog:
        self._check_open()
        await self._network.require([partition.topic])
        identity = await take_identity(self._network, transactional_id)
        log = await self._open_log(partition, identity)
        self._keep(log)
        return log

    async def _open_log(self, partition: Partition, identity: Identity) -> KafkaFencedLog:
        network = self._new_network(f"log-{partition.topic}-{partition.number}")
        return await open_fenced_log(network, partition, identity, delivery_timeout=self._settings.delivery_timeout)

    async def shut_out(self, producer_id: int, partition: Partition, key: bytes, headers: Headers = ()) -> int:
        self._check_open()
        barrier = await self._open_log(partition, Identity(producer_id, BARRIER_EPOCH))
        try:
            return await (await barrier.append(key, None, headers))
        except FenceBreachedError:
            return -1  # acknowledged below the end of the log: an earlier barrier holds
        finally:
            await barrier.aclose()

    async def reader(self, partition: Partition, *, offset: int | None = None) -> Reader:
        self._check_open()
        reader = await open_reader(self._new_network(f"reader-{partition.topic}"), partition, offset)
        self._keep(reader)
        return reader
