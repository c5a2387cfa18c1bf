"""Does a cluster have the topics that an app needs? ``orchestra topics check``, ``create``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from orchestra.cli.cluster import connected, settings_from_environment
from orchestra.errors import TopicError

if TYPE_CHECKING:
    from orchestra.app import App
    from orchestra.settings import Settings
    from orchestra.transport.port import TopicSpec, TopicState
    from orchestra.transport.topic_check import Problem

app = typer.Typer(help="The topics that an app needs.", no_args_is_help=True, rich_markup_mode=None)

Targets = Annotated[
    list[str], typer.Argument(help="A Service, Coordinator or App each: module:name.", metavar="MODULE:NAME")
]
AsJson = Annotated[bool, typer.Option("--json", help="For machines: a list of topics.")]


@app.command()
def check(targets: Targets, as_json: AsJson = False) -> None:
    """Say what is wrong with the topics, and how to mend it. Exit code 5 if anything is."""
    _show_and_judge(*asyncio.run(_look(_app(targets), settings_from_environment(), create=False)), as_json=as_json)


@app.command()
def create(targets: Targets, as_json: AsJson = False) -> None:
    """Create the topics that are missing. One that exists is left as it is. Exit code 5 if any is not as needed."""
    _show_and_judge(*asyncio.run(_look(_app(targets), settings_from_environment(), create=True)), as_json=as_json)


def _app(targets: Sequence[str]) -> App:
    from orchestra.cli.target import load_app

    return load_app(targets)


async def _look(
    app: App, settings: Settings, *, create: bool
) -> tuple[list[TopicSpec], dict[str, TopicState], list[Problem], set[str]]:
    """What is needed, what is there now, what is wrong with it, and what was created."""
    from orchestra.transport.topic_check import check, missing_of
    from orchestra.units import topics_of

    async with connected(settings) as transport:
        needed = topics_of(app, transport, settings)
        names = [spec.name for spec in needed]
        states = await transport.topics.describe(names)
        missing = missing_of(needed, states, partitions=settings.partitions) if create else []
        if missing:
            await transport.topics.create(missing)
            states = await transport.topics.describe(names)
    return needed, states, check(needed, states, partitions=settings.partitions), {spec.name for spec in missing}


def _show_and_judge(
    needed: Sequence[TopicSpec],
    states: dict[str, TopicState],
    problems: Sequence[Problem],
    created: Collection[str],
    *,
    as_json: bool,
) -> None:
    from orchestra.cli.columns import show_columns
    from orchestra.transport.topic_check import explain

    rows = [_row(spec.name, states.get(spec.name), problems, created) for spec in needed]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        header = ("topic", "partitions", "replicas", "cleanup", "state")
        show_columns(header, [[row[name] for name in header] for row in rows])
    if problems:
        raise TopicError(explain(problems, len(needed)))


def _row(
    name: str, state: TopicState | None, problems: Sequence[Problem], created: Collection[str]
) -> dict[str, object]:
    own = [problem for problem in problems if problem.topic == name]
    well = "created" if name in created else "ok"
    return {
        "topic": name,
        "partitions": state.partitions if state else None,
        "replicas": state.replication_factor if state else None,
        "cleanup": state.config.get("cleanup.policy", "delete") if state else None,
        "state": "missing" if state is None else "wrong" if own else well,
        "problems": [{"text": problem.text, "remedy": problem.remedy} for problem in own],
    }
