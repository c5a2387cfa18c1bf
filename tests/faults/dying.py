"""How does a process kill itself at the n-th record of a chosen stage, as with ``kill -9``?

The stages around the handler are reached by the handler; those of the transport by wrapping what the port calls.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from aiokafka.protocol.commit import OffsetCommitRequest

from orchestra.transport.kafka.consumer import KafkaConsumer
from orchestra.transport.kafka.publisher import KafkaPublisher

STAGES = (
    "before-decode",
    "in-handler",
    "in-effect",
    "after-effect",
    "before-publish",
    "after-publish",
    "before-commit",
)


class Death:
    """Comes once: when ``stage`` is reached for the ``number``-th time. No stage: never."""

    def __init__(self, stage: str, number: int) -> None:
        assert stage in ("", *STAGES), stage
        self._stage = stage
        self._left = number

    @property
    def is_coming(self) -> bool:
        return bool(self._stage)

    def reach(self, stage: str) -> None:
        if stage == self._stage:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def watch_transport(death: Death) -> None:
    """Let every consumer and publisher of this process tell of the stages that it reaches."""
    if not death.is_coming:
        return
    fetch: Any = KafkaConsumer.fetch
    commit: Any = KafkaConsumer.commit
    send: Any = KafkaPublisher.send

    async def watched_fetch(self: Any, **options: Any) -> Any:
        records = await fetch(self, **options)
        for _ in records:
            death.reach("before-decode")
        return records

    async def watched_commit(self: Any, offsets: Any) -> None:
        death.reach("before-commit")
        await commit(self, offsets)

    async def watched_send(self: Any, record: Any) -> Any:
        death.reach("before-publish")
        future = await send(self, record)
        future.add_done_callback(lambda _: death.reach("after-publish"))
        return future

    replaced: Any = KafkaConsumer
    replaced.fetch, replaced.commit = watched_fetch, watched_commit
    publisher: Any = KafkaPublisher
    publisher.send = watched_send


def hold_commits_back(first: int, seconds: float) -> None:
    """From the ``first`` commit on, for that long, brokers store what is committed, and their answers are lost.

    0: nothing is held back.
    """
    from aiokafka.client import AIOKafkaClient

    if not first:
        return
    client: Any = AIOKafkaClient
    send = client.send
    seen = 0
    until: float | None = None

    async def swallowing_send(self: Any, node: Any, request: Any, **options: Any) -> Any:
        nonlocal seen, until
        answer = await send(self, node, request, **options)
        if isinstance(request, OffsetCommitRequest):
            seen += 1
            now = asyncio.get_running_loop().time()
            if seen == first:
                until = now + seconds
            if until is not None and now < until:
                await asyncio.get_running_loop().create_future()  # for ever: only a deadline ends it
        return answer

    client.send = swallowing_send
