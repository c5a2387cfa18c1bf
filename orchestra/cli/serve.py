"""How does an app run in this process? With signals, health endpoints and an eye on the event loop."""

from __future__ import annotations

import gc
import logging
from contextlib import nullcontext

from orchestra.app import App
from orchestra.cli.cluster import connected
from orchestra.cli.stopping import obey_parent, stop_on_signals
from orchestra.cli.worker_link import WORKER_SECONDS
from orchestra.health.inquiry import LOOP_SECONDS, Inquiry
from orchestra.health.loop_watch import LoopWatch
from orchestra.health.server import health_endpoints
from orchestra.settings import Settings
from orchestra.supervisor import Supervisor
from orchestra.units import units_of

log = logging.getLogger("orchestra")


async def serve(app: App, settings: Settings, *, is_worker: bool = False) -> None:
    """Run an app on Kafka until a signal comes. Raises what :meth:`Supervisor.run` raises.

    ``is_worker``: another process started this one, says when to end, and serves the health endpoints.
    """
    log.info("running %s on %s", ", ".join(part.name for part in app.parts), settings.bootstrap_servers)
    with LoopWatch() as loop_watch:
        async with connected(settings) as transport:
            supervisor = Supervisor(units_of(app, transport, settings), transport, settings)
            timeout = WORKER_SECONDS if is_worker else LOOP_SECONDS
            inquiry = Inquiry(supervisor.health, loop_watch, limit=settings.stall_timeout, timeout=timeout)
            if is_worker:
                obey_parent(supervisor.stop, inquiry, settings)
            else:
                stop_on_signals(supervisor.stop)
            spare_the_collector()
            with nullcontext() if is_worker else health_endpoints(settings, inquiry.source):
                await supervisor.run()
    log.info("stopped")


def spare_the_collector() -> None:
    """Let the garbage collector look at new objects alone, and less often: a record makes some twenty, and nearly all
    are gone with it. With Python's own thresholds it took 7 % of a record's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
