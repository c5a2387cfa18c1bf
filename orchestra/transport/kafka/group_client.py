"""How is aiokafka's group consumer made, told what to tell us, and ended?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener

from orchestra.settings import Settings
from orchestra.transport.kafka.assignment import SharingAssignor
from orchestra.transport.port import Subscription

_Told = Callable[[Collection[Any]], Awaitable[None]]


def new_group_client(arguments: Mapping[str, Any], settings: Settings, subscription: Subscription) -> AIOKafkaConsumer:
    """A consumer that commits nothing by itself, jumps nowhere, and belongs to the group once it is subscribed."""
    milliseconds = 1000
    given: dict[str, Any] = {
        **arguments,
        "client_id": f"orchestra-{subscription.group}",
        "group_id": subscription.group,
        "enable_auto_commit": False,
        # never a silent jump: every partition is placed explicitly, and a lost place is an error
        "auto_offset_reset": "none",
        "isolation_level": "read_committed",
        "session_timeout_ms": int(settings.session_timeout * milliseconds),
        "heartbeat_interval_ms": int(settings.heartbeat_interval * milliseconds),
        "rebalance_timeout_ms": int(settings.rebalance_timeout * milliseconds),
        "max_partition_fetch_bytes": subscription.batch_bytes,
        "partition_assignment_strategy": (SharingAssignor(subscription.together),),
    }
    return AIOKafkaConsumer(**given)


class GroupListener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no type stubs
    """aiokafka's shape for the two calls."""

    def __init__(
        self,
        assigned: _Told,
        revoked: _Told,
    ) -> None:
        self._assigned = assigned
        self._revoked = revoked

    async def on_partitions_assigned(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, assigned: Collection[Any]
    ) -> None:
        await self._assigned(assigned)

    async def on_partitions_revoked(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, revoked: Collection[Any]
    ) -> None:
        await self._revoked(revoked)


async def stop_group_client(client: Any, *, timeout: float) -> None:
    """aiokafka's ``stop`` may hang while brokers are away, and may raise a stray CancelledError: neither reaches us."""
    stopping = asyncio.create_task(client.stop())
    await asyncio.wait({stopping}, timeout=timeout)
    if stopping.done() and not stopping.cancelled() and stopping.exception() is None:
        return
    stopping.cancel()
    await asyncio.wait({stopping}, timeout=1.0)
    for part in (client._fetcher, client._client):  # what a stop that failed half way has left running
        if part is not None:
            closing = asyncio.create_task(part.close())
            await asyncio.wait({closing}, timeout=1.0)
            closing.cancel()
