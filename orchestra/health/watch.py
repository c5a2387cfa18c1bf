"""How does a process keep an eye on itself? Facts are taken and judged every few seconds, and whenever somebody asks.

Brokers are asked for the ends of the partitions at every look of its own, which also tells whether they answer. Whoever
asks for ``/live`` or ``/ready`` waits for no broker; ``/lag`` asks them again when the last answer is a second old.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from orchestra.clock import Clock
from orchestra.errors import TransportError, UnreachableError
from orchestra.health.facts import BrokerFacts, ProcessFacts, UnitFacts
from orchestra.health.history import History, remember
from orchestra.health.judge import Health, Limits, judge
from orchestra.transport.port import Partition, Topics

_log = logging.getLogger("orchestra")

EVERY = 5.0
"""Seconds between two looks of its own."""
_AT_FIRST = 0.5
"""The same, until brokers have answered for the first time."""
_FRESH = 1.0
"""So old may the ends be that ``/lag`` is told,"""
_STALE = 2 * EVERY
"""and so old where brokers do not answer at once."""


class Watch:
    """The health of one process.

    Args:
        topics: asked for the ends of partitions.
        look: the units that run, and the names of those that do not yet. Called in the event loop.
        limits: what counts as too long.
        timeout: seconds that brokers have to answer.
        clock: the time.
        on_stalled: told at each look which units' clients are dead, and why.
    """

    def __init__(
        self,
        topics: Topics,
        look: Callable[[], tuple[Sequence[UnitFacts], Sequence[str]]],
        *,
        limits: Limits,
        timeout: float,
        clock: Clock,
        on_stalled: Callable[[Mapping[str, str]], None],
    ) -> None:
        self._topics = topics
        self._look = look
        self._limits = limits
        self._timeout = timeout
        self._clock = clock
        self._on_stalled = on_stalled
        self._brokers = BrokerFacts()
        self._asked = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._history = History()

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            try:
                await self._ask_brokers()
                if stalled := self.health().stalled:
                    self._on_stalled(stalled)
            except Exception:  # a mistake of ours in looking must not end what is looked at
                _log.exception("this process could not look after itself")
            await asyncio.sleep(EVERY if self._brokers.answered is not None else _AT_FIRST)

    def health(self) -> Health:
        """The answers at this moment, with what the brokers said last. Waits for nothing."""
        facts, now = self._facts(), self._clock.elapsed()
        self._history = remember(self._history, facts, now, pause=self._limits.absence)
        return judge(facts, self._history, self._limits, now=now, now_ms=self._clock.now().timestamp() * 1000)

    async def fresh_health(self, timeout: float) -> Health:
        """The answers, with ends of partitions that are at most a second old, where brokers give them within
        ``timeout`` seconds. Where they do not: those of the last look; without them where brokers are away."""
        if self._clock.elapsed() - self._asked > _FRESH:
            await asyncio.wait({self._begin_asking()}, timeout=timeout)
        if self._clock.elapsed() - self._asked > _STALE:
            facts = replace(self._facts(), brokers=replace(self._brokers, ends={}))
            now = self._clock.elapsed()
            return judge(facts, self._history, self._limits, now=now, now_ms=self._clock.now().timestamp() * 1000)
        return self.health()

    def _facts(self) -> ProcessFacts:
        units, starting = self._look()
        return ProcessFacts(tuple(units), tuple(starting), self._brokers)

    # ---- brokers

    def _begin_asking(self) -> asyncio.Task[None]:
        """One question at a time: who comes meanwhile waits for its answer too."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="orchestra-ends")
        return self._asking

    async def _ask_brokers(self) -> None:
        await asyncio.shield(self._begin_asking())

    async def _ask(self) -> None:
        partitions = _partitions(self._look()[0])
        if not partitions:
            return
        try:
            async with asyncio.timeout(self._timeout):
                bounds = await self._topics.bounds(partitions, stable=True)
        except (UnreachableError, TimeoutError) as error:
            self._brokers = replace(self._brokers, error=str(error) or f"no answer within {self._timeout:.0f} s")
        except TransportError as error:  # an answer, though not the one that was hoped for
            self._brokers = BrokerFacts(self._clock.elapsed(), str(error))
        else:
            now = self._asked = self._clock.elapsed()
            self._brokers = BrokerFacts(now, None, {partition: each.end for partition, each in bounds.items()})

    async def aclose(self) -> None:
        """Ask nobody any more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})


def _partitions(units: Sequence[UnitFacts]) -> Collection[Partition]:
    """All that are ours; of a group without any, one that it reads, so that brokers are asked for something."""
    found: set[Partition] = set()
    for unit in units:
        for group in unit.groups:
            ours = {each.partition for each in group.partitions}
            found |= ours or {Partition(topic, 0) for topic in group.topics[:1]}
    return found
