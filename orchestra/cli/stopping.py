"""When is this process to end? At signals, or when its parent says so or is gone."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable

from orchestra.cli.worker_link import ParentLink
from orchestra.health.inquiry import Inquiry
from orchestra.settings import Settings

log = logging.getLogger("orchestra")


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call ``stop`` at every SIGTERM and SIGINT."""

    def on_signal(number: signal.Signals) -> None:
        log.info("%s: draining; a second signal ends at once", number.name)
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)


def obey_parent(stop: Callable[[], None], inquiry: Inquiry, settings: Settings) -> None:
    """Drain when the parent says so, when it is gone, or at a signal, all of which may come at the same time: only the
    parent's word "end" counts as a second signal."""
    is_draining = False

    def drain(why: str) -> None:
        nonlocal is_draining
        if not is_draining:
            is_draining = True
            log.info("%s: draining", why)
            stop()

    def end() -> None:
        drain("asked to end at once")
        stop()

    ParentLink(
        on_drain=drain,
        on_end=end,
        health=inquiry.report,
        last_words=settings.end_timeout,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, drain, number.name)
