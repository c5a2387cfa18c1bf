"""Who leads a partition, who coordinates an id, and how is a broker asked? One set of connections.

It stands on ``aiokafka.client.AIOKafkaClient`` and aiokafka's request classes: connections, TLS, SASL and version
negotiation are aiokafka's; what is asked, how often and for how long is ours. Brokers answer the requests of one
connection one after the other, so whoever waits long (a fetch, an acks=all write) has a network of his own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import aiokafka.errors as kafka_errors
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.protocol.metadata import MetadataRequest

from orchestra.errors import ClosedError, TopicError, TransportError, UnreachableError
from orchestra.transport.kafka.failures import NO_ERROR, UNKNOWN_TOPIC, failure, is_transient, translated
from orchestra.transport.port import Partition

_BACKOFF_SECONDS = 0.1
_MISSING_SECONDS = 2.0
"""A topic counts as missing once brokers have said so for that long: they learn of new topics one after the other."""

GROUP: Final[int] = int(CoordinationType.GROUP)
TRANSACTION: Final[int] = int(CoordinationType.TRANSACTION)

T = TypeVar("T")


@dataclass(slots=True)
class TopicFacts:
    """What the metadata says about a topic: leaders by partition (-1: none now), and replicas of the first one."""

    leaders: dict[int, int] = field(default_factory=dict[int, int])
    replicas: int = 0


class Network:
    """Connections to the brokers, and what they know about topics. Safe to share between tasks."""

    def __init__(self, arguments: dict[str, Any], *, name: str, timeout: float) -> None:
        """
        Args:
            arguments: see ``connection.client_arguments``.
            name: the client id, as broker logs show it.
            timeout: the deadline of one call, with all its repetitions, in seconds.
        """
        self.timeout = timeout
        self._arguments: dict[str, Any] = {**arguments, "client_id": name}
        self._client: Any = None
        self._facts: dict[str, TopicFacts] = {}

    async def start(self) -> None:
        """Connect. Raises UnreachableError, AccessDeniedError."""
        self._client = AIOKafkaClient(**self._arguments)
        try:
            async with asyncio.timeout(self.timeout):
                await self._client.bootstrap()
        except BaseException as error:
            await self.aclose()
            if isinstance(error, kafka_errors.KafkaConnectionError | TimeoutError):
                raise UnreachableError(f"no broker answers at {self._arguments['bootstrap_servers']}") from error
            if isinstance(error, Exception):
                raise translated(error, "connecting") from error
            raise

    async def aclose(self) -> None:
        """Close the connections. Idempotent; ends within a second."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1.0):
                    await client.close()

    @property
    def is_open(self) -> bool:
        return self._client is not None

    # ---- asking

    async def ask(self, node: int, request: Any) -> Any:
        """Send a request to a broker and give its answer.

        Raises:
            aiokafka's KafkaError: no connection, no answer in time, a broken connection.
        """
        return await self._open().send(node, request)

    async def ask_any(self, request: Any) -> Any:
        """Send a request to any broker. Raises as :meth:`ask`."""
        client = self._open()
        node = client.get_random_node()
        if node is None:
            raise kafka_errors.NoBrokersAvailable
        return await client.send(node, request)

    async def coordinator(self, kind: int, key: str) -> int:
        """The broker that coordinates a group or a transactional id. Raises aiokafka's KafkaError."""
        return int(await self._open().coordinator_lookup(kind, key))

    def _open(self) -> Any:
        if self._client is None:
            raise ClosedError("the connections are closed")
        return self._client

    async def persist(self, attempt: Callable[[], Coroutine[Any, Any, T]], what: str) -> T:
        """Repeat an attempt while it fails for reasons that pass, within the deadline.

        Raises:
            UnreachableError: the time is up.
            TransportError: any other failure, at once.
        """
        last: BaseException | None = None
        try:
            async with asyncio.timeout(self.timeout):
                while True:
                    try:
                        return await attempt()
                    except (kafka_errors.KafkaError, OSError, TransportError) as error:
                        last = translated(error, what)
                        if not isinstance(last, UnreachableError):
                            raise last from error
                    await asyncio.sleep(_BACKOFF_SECONDS)
        except TimeoutError:
            why = f": {last}" if last else ""
            raise UnreachableError(f"{what}: not within {self.timeout} s{why}") from last

    # ---- topics

    def leader(self, partition: Partition) -> int | None:
        """The broker that leads a partition, as far as is known; None: ask :meth:`learn`."""
        facts = self._facts.get(partition.topic)
        leader = facts.leaders.get(partition.number, -1) if facts else -1
        return None if leader == -1 else leader

    def forget(self, partition: Partition) -> None:
        """The leader that we knew is no longer it."""
        if facts := self._facts.get(partition.topic):
            facts.leaders[partition.number] = -1

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has, as far as is known; 0: ask :meth:`learn`."""
        facts = self._facts.get(topic)
        return len(facts.leaders) if facts else 0

    async def learn(self, topics: Collection[str]) -> dict[str, TopicFacts]:
        """Ask a broker about topics; those that exist, by name. Creates none, whatever the broker's settings.

        Raises:
            aiokafka's KafkaError, or TransportError for what the broker refuses.
        """
        answer = await self.ask_any(MetadataRequest(sorted(topics), allow_auto_topic_creation=False))
        rows, answer.topics = answer.topics, []  # aiokafka gets the brokers' addresses; leaders are kept here
        self._open().cluster.update_metadata(answer)
        found: dict[str, TopicFacts] = {}
        for code, topic, _, partitions in rows:
            if code == NO_ERROR:
                leaders = {number: leader for _, number, leader, *_ in partitions}
                found[topic] = TopicFacts(leaders, replicas=len(partitions[0][3]) if partitions else 0)
            elif code != UNKNOWN_TOPIC and not is_transient(code):
                raise failure(code, f"topic {topic!r}")
        for topic in topics:
            self._facts.pop(topic, None)
        self._facts.update(found)
        return found

    async def require(self, topics: Collection[str], *, patience: float = _MISSING_SECONDS) -> dict[str, TopicFacts]:
        """:meth:`learn`, until all are there and have leaders.

        Args:
            patience: seconds from which on a topic that brokers do not know counts as missing.

        Raises:
            TopicError: one is missing.
            UnreachableError, AccessDeniedError.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def attempt() -> dict[str, TopicFacts]:
            found = await self.learn(topics)
            if missing := sorted(set(topics) - set(found)):
                if loop.time() - began > patience:
                    raise TopicError(f"topic {missing[0]!r} does not exist")
                raise UnreachableError(f"topic {missing[0]!r} is not known (yet)")
            for topic, facts in found.items():
                if -1 in facts.leaders.values():
                    raise UnreachableError(f"a partition of {topic!r} has no leader now")
            return found

        return await self.persist(attempt, "asking about topics")
