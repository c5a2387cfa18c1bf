"""How does an operator run services and coordinators? ``orchestra run module:app``."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from orchestra.cli.cluster import connected, settings_from_environment
from orchestra.cli.failure import exit_code, explain
from orchestra.errors import OrchestraError

if TYPE_CHECKING:
    from orchestra.app import App
    from orchestra.cli.reload import Reloader
    from orchestra.cli.workers import Workers
    from orchestra.settings import Settings

log = logging.getLogger("orchestra")

Level = Literal["debug", "info", "warning", "error"]


def run(
    targets: Annotated[
        list[str], typer.Argument(help="A Service, Coordinator or App each: module:name.", metavar="MODULE:NAME")
    ],
    workers: Annotated[int, typer.Option("-w", "--workers", min=1, max=256, help="How many processes.")] = 1,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start again when a .py file changes (development).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Log one JSON object a line.")] = False,
    level: Annotated[Level, typer.Option("--log-level", help="Log this and what is worse.")] = "info",
    create_topics: Annotated[
        bool | None,
        typer.Option(
            "--create-topics/--no-create-topics",
            help="Create missing topics. Default: ORCHESTRA_CREATE_TOPICS, else yes unless ORCHESTRA_ENV=production.",
        ),
    ] = None,
    as_worker: Annotated[int | None, typer.Option("--as-worker", hidden=True)] = None,
) -> None:
    """Run services and coordinators until SIGTERM or Ctrl-C.

    The first signal drains: work in flight ends, its offsets are committed. A second one ends at once, and what was in
    flight is done again later. Either way nothing is lost.
    """
    from orchestra.cli.log_lines import set_up

    set_up(as_json=as_json, level=level, worker=as_worker)
    try:
        settings = _settings(create_topics)
        if workers > 1 or reload:
            words = _words_of_worker(targets, as_json=as_json, level=level, create_topics=create_topics)
            raise typer.Exit(_run_processes(words, settings, workers=workers, reload=reload))
        _run_here(targets, settings, as_worker=as_worker)
    except OrchestraError as error:
        if not as_json and as_worker is None:
            raise
        log.critical("%s", explain(error), extra={"code": error.code})
        raise typer.Exit(exit_code(error)) from error


def _settings(create_topics: bool | None) -> Settings:
    settings = settings_from_environment()
    return settings if create_topics is None else settings.model_copy(update={"create_topics": create_topics})


# ---- in this process


def _run_here(targets: Sequence[str], settings: Settings, *, as_worker: int | None) -> None:
    from orchestra.cli.target import load_app

    asyncio.run(serve(load_app(targets), settings, is_worker=as_worker is not None))


async def serve(app: App, settings: Settings, *, is_worker: bool = False) -> None:
    """Run an app on Kafka until a signal comes. Raises what :meth:`Supervisor.run` raises.

    ``is_worker``: another process started this one, and says when to end.
    """
    from orchestra.supervisor import Supervisor
    from orchestra.units import units_of

    log.info("running %s on %s", ", ".join(part.name for part in app.parts), settings.bootstrap_servers)
    async with connected(settings) as transport:
        supervisor = Supervisor(units_of(app, transport, settings), transport, settings)
        if is_worker:
            _obey_parent(supervisor.stop, settings)
        else:
            _on_signals(supervisor.stop)
        await supervisor.run()
    log.info("stopped")


def _on_signals(stop: Callable[[], None]) -> None:
    def on_signal(number: signal.Signals) -> None:
        log.info("%s: draining; a second signal ends at once", number.name)
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)


def _obey_parent(stop: Callable[[], None], settings: Settings) -> None:
    """Drain when the parent says so, when it is gone, or at a signal, all of which may come at the same time: only the
    parent's word "end" counts as a second signal."""
    from orchestra.cli.worker_link import ParentLink

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
        on_drain=lambda: drain("the parent asks for it, or is gone"),
        on_end=end,
        health=dict,
        last_words=settings.end_timeout,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, drain, number.name)


# ---- in processes of their own


def _run_processes(words: Sequence[str], settings: Settings, *, workers: int, reload: bool) -> int:
    if reload and workers > 1:
        raise typer.BadParameter("--reload runs one process: leave --workers out")
    if reload and settings.env == "production":
        raise typer.BadParameter("--reload is for development, and ORCHESTRA_ENV is production")
    return asyncio.run(_keep(words, settings, workers=workers, reload=reload))


async def _keep(words: Sequence[str], settings: Settings, *, workers: int, reload: bool) -> int:
    processes = _reloader(words) if reload else _workers(words, settings, workers)
    _on_signals(processes.stop)
    code = await processes.run()
    log.info("stopped")
    return code


def _workers(words: Sequence[str], settings: Settings, count: int) -> Workers:
    from orchestra.cli.worker_link import start_worker
    from orchestra.cli.workers import Workers

    spawn = partial(start_worker, words=words)
    return Workers(count, spawn, restarts=settings.worker_restarts, drain_seconds=settings.end_timeout)


def _reloader(words: Sequence[str]) -> Reloader:
    from orchestra.cli.reload import Reloader, python_changes
    from orchestra.cli.worker_link import start_worker

    return Reloader(partial(start_worker, words=words), python_changes(os.getcwd()))


def _words_of_worker(targets: Sequence[str], *, as_json: bool, level: Level, create_topics: bool | None) -> list[str]:
    words = ["run", *targets, f"--log-level={level}"]
    if as_json:
        words.append("--json")
    if create_topics is not None:
        words.append("--create-topics" if create_topics else "--no-create-topics")
    return words
