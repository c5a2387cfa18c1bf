"""How many partitions has a topic that one wants to write to, and is it there at all?"""

from __future__ import annotations

import asyncio
import math
from typing import Final

import aiokafka.errors as kafka_errors

from orchestra.errors import ClosedError, TopicError, TransportError, UnreachableError
from orchestra.transport.kafka.failures import translated
from orchestra.transport.kafka.network import Network

_BACKOFF_SECONDS: Final = 0.05
_MISSING_SECONDS: Final = 1.0
"""A topic counts as missing once brokers have said so for that long, and for that long it is believed."""


class TopicLookup:
    """Asks about topics, once for all who want to know."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._lookups: dict[str, asyncio.Task[None]] = {}
        self._missing: dict[str, float] = {}
        """Topic -> since when brokers say that it does not exist."""
        self._lost: dict[str, float] = {}
        """Topic -> when it was last found missing for good."""
        self._is_open = True

    async def count(self, topic: str, deadline: float) -> int:
        """How many partitions a topic has that is not known yet.

        Args:
            deadline: in loop time.

        Raises:
            TopicError, AccessDeniedError, ClosedError.
            UnreachableError: nobody could say in time.
        """
        loop = asyncio.get_running_loop()
        why = "no broker told its partitions"
        while not (count := self._network.partitions(topic)):
            if loop.time() - self._lost.get(topic, -math.inf) < _MISSING_SECONDS:
                raise TopicError(f"topic {topic!r} does not exist")
            if loop.time() >= deadline:
                raise UnreachableError(f"{topic}: not sent: {why}")
            lookup = self._lookup(topic)
            await asyncio.wait([lookup], timeout=max(0.0, deadline - loop.time()))
            self._check_open()
            if lookup.done() and not lookup.cancelled() and (error := lookup.exception()) is not None:
                if isinstance(error, TransportError) and not isinstance(error, UnreachableError):
                    raise type(error)(str(error)) from error  # each gets one of his own
                why = str(error)
        self._check_open()
        return count

    def found(self, topic: str) -> None:
        """A broker knows it."""
        self._missing.pop(topic, None)
        self._lost.pop(topic, None)

    def not_found(self, topic: str) -> bool:
        """A broker does not know it. Whether it counts as missing by now."""
        now = asyncio.get_running_loop().time()
        if now - self._missing.setdefault(topic, now) <= _MISSING_SECONDS:
            return False
        del self._missing[topic]
        self._lost[topic] = now
        return True

    def _lookup(self, topic: str) -> asyncio.Task[None]:
        lookup = self._lookups.get(topic)
        if lookup is None:
            lookup = self._lookups[topic] = asyncio.create_task(self._look_up(topic))
            lookup.add_done_callback(lambda ended: self._ended(topic, ended))
        return lookup

    def _ended(self, topic: str, lookup: asyncio.Task[None]) -> None:
        del self._lookups[topic]
        if not lookup.cancelled():
            lookup.exception()  # whoever waited may have given up: no warning about it

    async def _look_up(self, topic: str) -> None:
        """Return when it is known. Raises TopicError, or, not too often, any other TransportError."""
        while True:
            try:
                if topic in await self._network.learn([topic]):
                    self.found(topic)
                    return
            except (kafka_errors.KafkaError, OSError, TransportError) as error:
                await asyncio.sleep(_BACKOFF_SECONDS)
                raise translated(error, f"topic {topic!r}") from error
            if self.not_found(topic):
                raise TopicError(f"topic {topic!r} does not exist")
            await asyncio.sleep(_BACKOFF_SECONDS)

    def _check_open(self) -> None:
        if not self._is_open:
            raise ClosedError("this publisher was closed meanwhile")

    async def aclose(self) -> None:
        self._is_open = False
        lookups = list(self._lookups.values())
        for lookup in lookups:
            lookup.cancel()
        if lookups:
            await asyncio.wait(lookups)
