"""What does a flow look like, and how far is an instance? ``orchestra graph module:Flow``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeGuard

import typer

from orchestra.errors import DefinitionError

if TYPE_CHECKING:
    from orchestra.flows.picture import Picture
    from orchestra.flows.saga import Flow


class Format(StrEnum):
    """What a picture can be written as."""

    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


_ENDINGS = {
    ".md": Format.MERMAID, ".mmd": Format.MERMAID, ".mermaid": Format.MERMAID,
    ".dot": Format.DOT, ".gv": Format.DOT, ".svg": Format.SVG,
}  # fmt: skip


def graph(
    target: Annotated[str, typer.Argument(help="A Flow or Saga: module:Name.", metavar="MODULE:FLOW")],
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Write a file; its ending says the format. In .md: a fenced block.", dir_okay=False),
    ] = None,
    format: Annotated[  # noqa: A002
        Format | None, typer.Option("--format", help="Default: as the file's name ends, else mermaid.")
    ] = None,
) -> None:
    """Draw a flow as Mermaid, DOT or SVG.

    Shows what follows what, how each step is undone, how long it may take.
    """
    from orchestra.flows.flow_picture import picture_of
    from orchestra.flows.saga import graph_of

    write(picture_of(graph_of(_load(target))), to, format)


def write(picture: Picture, to: Path | None, format: Format | None) -> None:  # noqa: A002
    """Show the picture, or write the file."""
    wanted = format or _format_of(to)
    text = _rendered(picture, wanted)
    if to is None:
        typer.echo(text, nl=False)
        return
    to.write_text(f"```mermaid\n{text}```\n" if to.suffix == ".md" else text, encoding="utf-8")
    typer.echo(f"wrote {to}")


def _format_of(to: Path | None) -> Format:
    if to is None:
        return Format.MERMAID
    if (found := _ENDINGS.get(to.suffix.lower())) is None:
        raise DefinitionError(f"--to {to}: its ending says no format; end it in {', '.join(_ENDINGS)}, or add --format")
    return found


def _rendered(picture: Picture, wanted: Format) -> str:
    from orchestra.drawing.dot import dot
    from orchestra.drawing.mermaid import mermaid
    from orchestra.drawing.svg import svg

    return {Format.MERMAID: mermaid, Format.DOT: dot, Format.SVG: svg}[wanted](picture)


def _load(target: str) -> type[Flow]:
    from orchestra.cli.target import load
    from orchestra.flows.saga import Flow, Saga

    def is_flow(value: object) -> TypeGuard[type[Flow]]:
        return isinstance(value, type) and issubclass(value, Flow) and value not in (Flow, Saga)

    return load(target, is_flow, "a Flow")
