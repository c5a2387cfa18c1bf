"""How does an operator run services and coordinators? ``orchestra run module:app``."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from orchestra.cli.cluster import connected, settings_from_environment
from orchestra.cli.failure import exit_code, explain
from orchestra.errors import OrchestraError

if TYPE_CHECKING:
    from orchestra.app import App
    from orchestra.settings import Settings
    from orchestra.supervisor import Supervisor

log = logging.getLogger("orchestra")

Level = Literal["debug", "info", "warning", "error"]


def run(
    targets: Annotated[
        list[str], typer.Argument(help="A Service, Coordinator or App each: module:name.", metavar="MODULE:NAME")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Log one JSON object a line.")] = False,
    level: Annotated[Level, typer.Option("--log-level", help="Log this and what is worse.")] = "info",
    create_topics: Annotated[
        bool | None,
        typer.Option(
            "--create-topics/--no-create-topics",
            help="Create missing topics. Default: ORCHESTRA_CREATE_TOPICS, else yes unless ORCHESTRA_ENV=production.",
        ),
    ] = None,
) -> None:
    """Run services and coordinators until SIGTERM or Ctrl-C.

    The first signal drains: work in flight ends, its offsets are committed. A second one ends at once, and what was in
    flight is done again later. Either way nothing is lost.
    """
    from orchestra.cli.log_lines import set_up

    set_up(as_json=as_json, level=level)
    try:
        _run(targets, create_topics)
    except OrchestraError as error:
        if not as_json:
            raise
        log.critical("%s", explain(error), extra={"code": error.code})
        raise typer.Exit(exit_code(error)) from error


def _run(targets: Sequence[str], create_topics: bool | None) -> None:
    from orchestra.cli.target import load_app

    settings = settings_from_environment()
    if create_topics is not None:
        settings = settings.model_copy(update={"create_topics": create_topics})
    asyncio.run(serve(load_app(targets), settings))


async def serve(app: App, settings: Settings) -> None:
    """Run an app on Kafka until a signal comes. Raises what :meth:`Supervisor.run` raises."""
    from orchestra.supervisor import Supervisor
    from orchestra.units import units_of

    log.info("running %s on %s", ", ".join(part.name for part in app.parts), settings.bootstrap_servers)
    async with connected(settings) as transport:
        supervisor = Supervisor(units_of(app, transport, settings), transport, settings)
        _stop_on_signals(supervisor)
        await supervisor.run()
    log.info("stopped")


def _stop_on_signals(supervisor: Supervisor) -> None:
    def on_signal(number: signal.Signals) -> None:
        log.info("%s: draining; a second signal ends at once", number.name)
        supervisor.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
