"""How does an attempt get its thread? Before its timeout begins, so that waiting for one burns nothing."""

from __future__ import annotations

import asyncio

from orchestra.service.batch_context import BatchContext
from orchestra.service.context import Context
from orchestra.service.share import Worker
from orchestra.service.threads import Reservation, Threads


async def reserve(threads: Threads, context: Context | BatchContext, worker: Worker) -> Reservation:
    """A thread for an attempt that is about to begin. A worker that only waits for one is not worth waiting for."""
    worker.is_waiting = True
    try:
        reservation = await threads.reserve()
    finally:
        worker.is_waiting = False
    context.enter_thread(asyncio.get_running_loop())
    return reservation
