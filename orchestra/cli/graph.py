"""What does a flow look like? ``orchestra graph module:Flow``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeGuard

import typer

if TYPE_CHECKING:
    from orchestra.flows.saga import Flow


def graph(
    target: Annotated[str, typer.Argument(help="A Flow or Saga: module:Name.", metavar="MODULE:FLOW")],
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Write a file: Mermaid, in a fenced block if it ends in .md.", dir_okay=False),
    ] = None,
) -> None:
    """Draw a flow as Mermaid text.

    Shows what follows what and, dotted, what undoes it.
    """
    from orchestra.flows.diagram import mermaid
    from orchestra.flows.saga import graph_of

    text = mermaid(graph_of(_load(target)))
    if to is None:
        typer.echo(text, nl=False)
        return
    to.write_text(f"```mermaid\n{text}```\n" if to.suffix == ".md" else text, encoding="utf-8")
    typer.echo(f"wrote {to}")


def _load(target: str) -> type[Flow]:
    from orchestra.cli.target import load
    from orchestra.flows.saga import Flow, Saga

    def is_flow(value: object) -> TypeGuard[type[Flow]]:
        return isinstance(value, type) and issubclass(value, Flow) and value not in (Flow, Saga)

    return load(target, is_flow, "a Flow")
