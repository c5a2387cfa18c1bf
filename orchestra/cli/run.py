"""How does an operator run services and coordinators? ``orchestra run module:app``."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from orchestra.cli.failure import exit_code, explain
from orchestra.errors import OrchestraError

if TYPE_CHECKING:
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
    health: Annotated[
        str | None,
        typer.Option(
            "--health", metavar="[HOST:]PORT", help="Serve /live, /ready, /lag. Default: ORCHESTRA_HEALTH, else not."
        ),
    ] = None,
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
        settings = _settings(create_topics, health)
        if workers > 1 or reload:
            words = _words_of_worker(targets, as_json=as_json, level=level, create_topics=create_topics)
            raise typer.Exit(_run_processes(words, settings, workers=workers, reload=reload))
        _run_here(targets, settings, is_worker=as_worker is not None)
    except OrchestraError as error:
        if not as_json and as_worker is None:
            raise
        log.critical("%s", explain(error), extra={"code": error.code})
        raise typer.Exit(exit_code(error)) from error


def _settings(create_topics: bool | None, health: str | None) -> Settings:
    """The environment's settings; an option wins over its variable. Raises SettingsError."""
    from orchestra.settings import Settings

    given = {"ORCHESTRA_CREATE_TOPICS": create_topics, "ORCHESTRA_HEALTH": health}
    return Settings.from_environment(
        os.environ | {name: str(value) for name, value in given.items() if value is not None}
    )


def _run_here(targets: Sequence[str], settings: Settings, *, is_worker: bool) -> None:
    from orchestra.cli.ending import run_to_the_end
    from orchestra.cli.serve import serve
    from orchestra.cli.target import load_app

    run_to_the_end(serve(load_app(targets), settings, is_worker=is_worker))


def _run_processes(words: Sequence[str], settings: Settings, *, workers: int, reload: bool) -> int:
    from orchestra.cli.processes import keep_reloading, keep_workers

    if reload and workers > 1:
        raise typer.BadParameter("--reload runs one process: leave --workers out")
    if reload and settings.env == "production":
        raise typer.BadParameter("--reload is for development, and ORCHESTRA_ENV is production")
    return asyncio.run(keep_reloading(words, settings) if reload else keep_workers(workers, words, settings))


def _words_of_worker(targets: Sequence[str], *, as_json: bool, level: Level, create_topics: bool | None) -> list[str]:
    words = ["run", *targets, f"--log-level={level}"]
    if as_json:
        words.append("--json")
    if create_topics is not None:
        words.append("--create-topics" if create_topics else "--no-create-topics")
    return words
