"""Which effects does a database remember? ``orchestra ledger list DATABASE``, ``show``, ``prune``."""

from __future__ import annotations

import asyncio
import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestra.cli.columns import show_columns
from orchestra.cli.database import Database, moment_ago, moment_text, opened
from orchestra.errors import OrchestraError

if TYPE_CHECKING:
    from orchestra.service.entry import State
    from orchestra.service.ledger_upkeep import Listed
    from orchestra.service.outcome import Emitted

app = typer.Typer(help="The effects that a service's database remembers.", no_args_is_help=True, rich_markup_mode=None)

_COLOURS = {"done": "green", "barred": "yellow", "expired": "yellow", "open": "red"}


class StateName(StrEnum):
    """How an effect stands, as one types it."""

    DONE = "done"
    BARRED = "barred"
    EXPIRED = "expired"


@app.command("list")
def list_(
    database: Database,
    states: Annotated[list[StateName] | None, typer.Option("--state", help="Only these; may be repeated.")] = None,
    handler: Annotated[str | None, typer.Option(help="Only of this handler.")] = None,
    newer_than: Annotated[str | None, typer.Option(help="Such as 2h, 7d.")] = None,
    older_than: Annotated[str | None, typer.Option(help="Such as 2h, 7d.")] = None,
    most: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="The newest so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: a list of entries, newest first.")] = False,
) -> None:
    """Show the newest entries of the effect ledger: when, how it ended, whose, with which outcome."""
    after, before = moment_ago(newer_than), moment_ago(older_than)
    found = asyncio.run(_list(database, [str(state) for state in states or ()], handler, after, before, most + 1))
    rows = found[:most]
    if as_json:
        typer.echo(json.dumps([described(row) for row in rows], indent=2))
        return
    if not rows:
        typer.echo("no such entries")
        return
    show_columns(
        ("at", "state", "handler", "outcome", "messages", "effect id"), [_cells(row) for row in rows], colours=_COLOURS
    )
    if len(found) > most:
        typer.secho(f"and older ones: --limit shows more than {most}", dim=True)


@app.command("show")
def show(
    database: Database,
    effect_id: Annotated[str, typer.Argument(metavar="EFFECT_ID")],
) -> None:
    """Show one entry, with its outcome and all messages that are sent again on a repeat, as JSON."""
    found = asyncio.run(_show(database, effect_id))
    if found is None:
        raise OrchestraError(f"the ledger has no effect {effect_id!r}")
    typer.echo(json.dumps(described(found), indent=2))


@app.command("prune")
def prune(
    database: Database,
    older_than: Annotated[str, typer.Option(help="30d or longer.")] = "30d",
) -> None:
    """Delete entries older than that, a thousand in each transaction.

    Services that declare `service.ledger(AsyncEngine)` do so by themselves.
    """
    gone = asyncio.run(_prune(database, older_than))
    typer.echo(f"{gone} entries deleted")


async def _list(database: str, states: list[str], handler: str | None, after: Any, before: Any, most: int) -> Any:
    async with opened(database) as engine:
        from orchestra.service.entry import State
        from orchestra.service.ledger_upkeep import listed

        wanted: list[State] = [State(state) for state in states]
        return await listed(engine, states=wanted, handler=handler, after=after, before=before, most=most)


async def _show(database: str, effect_id: str) -> Listed | None:
    async with opened(database) as engine:
        from orchestra.service.ledger_upkeep import listed_one

        return await listed_one(engine, effect_id)


async def _prune(database: str, older_than: str) -> int:
    async with opened(database) as engine:
        from orchestra.service.ledger_upkeep import prune

        return await prune(engine, older_than)


def described(row: Listed) -> dict[str, object]:
    """An entry as JSON shows it."""
    entry = row.entry
    return {
        "effect_id": row.effect_id,
        "state": str(entry.state),
        "handler": row.handler,
        "at": entry.at.isoformat(timespec="milliseconds"),
        "outcome": None if entry.outcome is None else _message(entry.outcome),
        "messages": [_message(message) for message in entry.messages],
    }


def _message(message: Emitted) -> dict[str, object]:
    key = None if message.key is None else message.key.decode("utf-8", "replace")
    return {"type": message.type, "topic": message.topic, "key": key, "data": json.loads(message.data)}


def _cells(row: Listed) -> tuple[object, ...]:
    entry = row.entry
    outcome = None if entry.outcome is None else entry.outcome.type
    return (
        moment_text(entry.at), str(entry.state), row.handler, outcome, len(entry.messages) or None, row.effect_id
    )  # fmt: skip
