"""How does work end when partitions go away, or the process stops? Finish what runs, commit, forget.

In this order: begin nothing more and drop what is queued; wait for what is being handled, up to the deadline; cancel
the rest; commit. What was dropped or cancelled is read again by whoever has the partition next, and what is still said
about it changes only a share that nobody commits any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from orchestra.service.committing import Committer
from orchestra.service.lanes import Lanes
from orchestra.service.share import Share

_log = logging.getLogger(__name__)

_AFTER_CANCEL = 1.0
"""Seconds for cancelled handlers to clean up."""


async def drain(
    shares: Collection[Share],
    lanes: Lanes,
    committer: Committer,
    *,
    timeout: float,
    hurry: asyncio.Event | None = None,
) -> None:
    """End the work of these shares and commit them. Never raises; ends within ``timeout`` + 1 s + one commit.

    Args:
        timeout: seconds for what is being handled.
        hurry: once set, nothing is waited for any longer.
    """
    lanes.drain(shares)
    await _wait_drained(shares, timeout, hurry)
    if busy := [share for share in shares if share.busy]:
        _log.warning("cancelling %d handlings after %.0f s of draining", sum(share.busy for share in busy), timeout)
        lanes.cancel(busy)
        await _wait_drained(busy, _AFTER_CANCEL, None)
    await committer.commit(shares)


async def _wait_drained(shares: Collection[Share], timeout: float, hurry: asyncio.Event | None) -> None:
    async def all_drained() -> None:
        for share in shares:
            await share.drained.wait()

    async with asyncio.TaskGroup() as group:
        ends = {group.create_task(all_drained())}
        if hurry is not None:
            ends.add(group.create_task(_until_set(hurry)))
        await asyncio.wait(ends, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()


async def _until_set(event: asyncio.Event) -> None:
    await event.wait()
