"""Which events wait in a database to be sent, and which could not be? ``orchestra outbox list DATABASE``, and more."""

from __future__ import annotations

import asyncio
import json
import signal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestra.cli.cluster import connected, settings_from_environment
from orchestra.cli.columns import show_columns
from orchestra.cli.database import Database, moment_text, opened
from orchestra.errors import DefinitionError, OrchestraError

if TYPE_CHECKING:
    from orchestra.outbox.upkeep import Listed
    from orchestra.settings import Settings

app = typer.Typer(
    help="The events that a database's transactions leave to be sent.", no_args_is_help=True, rich_markup_mode=None
)

EventIds = Annotated[list[str] | None, typer.Argument(metavar="[EVENT_ID]...", help="Ids, as `list` shows them.")]


class StandingName(StrEnum):
    """How an event stands, as one types it."""

    WAITING = "waiting"
    FAILED = "failed"
    SENT = "sent"


@app.command("list")
def list_(
    database: Database,
    standing: Annotated[StandingName, typer.Option("--state", help="Sent ones are kept only if asked.")] = (
        StandingName.WAITING
    ),
    topic: Annotated[str | None, typer.Option(help="Only for this topic, as the code names it.")] = None,
    most: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="The oldest so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: a list of events, oldest first.")] = False,
) -> None:
    """Show the oldest events that wait, or that could not be sent, and how many there are."""
    rows, counts, lag = asyncio.run(_list(database, str(standing), topic, most))
    if as_json:
        typer.echo(json.dumps([described(row) for row in rows], indent=2))
        return
    if rows:
        header = ("at", "topic", "type", "key", "event id", "error")
        show_columns(header, [tuple(_cells(row)) for row in rows])
    waiting, failed = (f"{count}{' or more' if count >= 10_000 else ''}" for count in counts.values())
    typer.secho(f"{waiting} waiting, the oldest for {lag:.1f} s; {failed} failed", dim=True)


@app.command("retry")
def retry(
    database: Database,
    event_ids: EventIds = None,
    everything: Annotated[bool, typer.Option("--all", help="All that failed.")] = False,
) -> None:
    """Send again what could not be sent, with the ids that it had."""
    if bool(event_ids) == everything:
        raise DefinitionError("outbox retry: name the events' ids, or --all")
    changed = asyncio.run(_retry(database, None if everything else event_ids))
    _done(changed, "to be sent again")


@app.command("drop")
def drop(
    database: Database,
    event_ids: Annotated[list[str], typer.Argument(metavar="EVENT_ID...", help="Ids, as `list` shows them.")],
) -> None:
    """Delete events that could not be sent, for good."""
    _done(asyncio.run(_drop(database, event_ids)), "deleted")


@app.command("relay")
def relay(
    database: Database,
    keep: Annotated[str | None, typer.Option(help="How long rows stay after they were sent. Default: not.")] = None,
) -> None:
    """Send what is in the outbox, until stopped with Ctrl-C or SIGTERM.

    Services that declare `service.outbox(AsyncEngine)` do so by themselves. Several may run: one sends at a time.
    """
    asyncio.run(_relay(database, keep, settings_from_environment()))


def _done(changed: int, what: str) -> None:
    if not changed:
        raise OrchestraError("no failed event has such an id; `orchestra outbox list --state failed` shows them")
    typer.echo(f"{changed} {what}")


async def _list(database: str, standing: Any, topic: str | None, most: int) -> Any:
    async with opened(database) as engine:
        from orchestra.outbox.upkeep import counts, lag, listed

        return await listed(engine, standing, topic=topic, most=most), await counts(engine), await lag(engine)


async def _retry(database: str, event_ids: list[str] | None) -> int:
    async with opened(database) as engine:
        from orchestra.outbox.upkeep import retry

        return await retry(engine, event_ids)


async def _drop(database: str, event_ids: list[str]) -> int:
    async with opened(database) as engine:
        from orchestra.outbox.upkeep import drop

        return await drop(engine, event_ids)


async def _relay(database: str, keep: str | None, settings: Settings) -> None:
    from orchestra.duration import seconds

    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    kept = None if keep is None else seconds(keep)
    async with opened(database) as engine, connected(settings) as transport:
        from orchestra.outbox.relay import Relay
        from orchestra.outbox.upkeep import counts

        waiting = (await counts(engine))["waiting"]  # and see that there is a table
        publisher = transport.publisher()
        await publisher.start()
        typer.echo(f"sending; {waiting} waiting", err=True)
        running = Relay(engine, publisher, topic=settings.topic, keep=kept)
        await running.run(stopping)
        typer.echo(f"{running.statistics().sent} sent, {running.statistics().failed} failed", err=True)


def described(row: Listed) -> dict[str, object]:
    """An event as JSON shows it."""
    return {
        "event_id": row.event_id,
        "type": row.type,
        "topic": row.topic,
        "key": None if row.key is None else row.key.decode("utf-8", "replace"),
        "at": row.at.isoformat(timespec="milliseconds"),
        "state": row.standing,
        "error": row.error,
    }


def _cells(row: Listed) -> tuple[object, ...]:
    key = None if row.key is None else row.key.decode("utf-8", "replace")
    return moment_text(row.at), row.topic, row.type, key, row.event_id, row.error
