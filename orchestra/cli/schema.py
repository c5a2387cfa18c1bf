"""How do an operator's files of JSON Schema follow the code? ``orchestra schema export``, ``check``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The JSON Schema of every message, as files.", no_args_is_help=True, rich_markup_mode=None)

Modules = Annotated[list[str], typer.Argument(help="Modules that define messages.", metavar="MODULE")]
Folder = Annotated[Path, typer.Option("--to", help="Where the files are.", file_okay=False)]


@app.command()
def export(modules: Modules, to: Folder = Path("schemas")) -> None:
    """Write the files that are missing or differ. Repeating it changes nothing."""
    from orchestra.cli.target import load_module
    from orchestra.events import schema

    loaded = [load_module(name) for name in modules]
    written = schema.export(loaded, to)
    for path in written:
        typer.echo(f"wrote {path}")
    typer.echo(f"{len(schema.message_types(*loaded))} messages in {to}, {len(written)} written")


@app.command()
def check(
    modules: Modules,
    to: Folder = Path("schemas"),
    as_json: Annotated[
        bool, typer.Option("--json", help="For machines: a list of files that are out of date.")
    ] = False,
) -> None:
    """Say which files no longer agree with the code. Exit code 0 if all do, else 1."""
    from orchestra.cli.target import load_module
    from orchestra.events import schema

    loaded = [load_module(name) for name in modules]
    found = schema.outdated(loaded, to)
    if as_json:
        typer.echo(json.dumps([{"path": str(one.path), "problem": one.problem} for one in found], indent=2))
    elif found:
        for one in found:
            typer.echo(str(one))
        typer.echo(
            f"{len(found)} out of date. `orchestra schema export {' '.join(modules)} --to {to}` writes them anew."
        )
    else:
        typer.echo(f"{len(schema.message_types(*loaded))} messages in {to}, all up to date")
    if found:
        raise typer.Exit(1)
