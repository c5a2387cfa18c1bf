"""How is work submitted at an even pace?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TypeVar

from orchestra import Event, Settings, connect

T = TypeVar("T")
E = TypeVar("E", bound=Event)


async def at_pace(items: Sequence[T], per_second: float) -> AsyncGenerator[T]:
    """Each item in its turn. What takes longer than its share is caught up with."""
    begun = time.monotonic()
    for number, item in enumerate(items):
        await asyncio.sleep(max(0.0, begun + number / per_second - time.monotonic()))
        yield item


async def publish(servers: str, events: Sequence[E], per_second: float, note: Callable[[E], None]) -> None:
    """Publish every event at that pace; ``note`` is called just before each leaves."""
    async with connect(Settings(bootstrap_servers=servers), name="demo") as bus:
        async for event in at_pace(events, per_second):
            note(event)
            await bus.publish(event)
