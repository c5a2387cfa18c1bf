"""How does a process end though something in it does not?

``asyncio.run`` waits, without a bound, for every task that it has cancelled: one handler that ignores its cancellation
would keep a process that has drained, committed and left its group from ending at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger("orchestra")

_left_behind: list[object] = []
"""Kept to the process's end, so that nothing is said about tasks that are destroyed while they wait."""


def run_to_the_end(main: Coroutine[Any, Any, None], *, patience: float = 1.0) -> None:
    """``asyncio.run``, but what ignores its cancellation for ``patience`` seconds is left behind, and said so.

    Raises:
        Exception: whatever ``main`` raises.
    """
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main)
    finally:
        if clinging := loop.run_until_complete(_end_tasks(patience)):
            names = ", ".join(sorted({task.get_name() for task in clinging}))
            _log.error("left behind, because they ignore their cancellation: %s", names)
            _left_behind.extend((loop, clinging))
        else:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


async def _end_tasks(patience: float) -> set[asyncio.Task[Any]]:
    """Cancel everything. Gives what has not ended then."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    return (await asyncio.wait(tasks, timeout=patience))[1] if tasks else set()
