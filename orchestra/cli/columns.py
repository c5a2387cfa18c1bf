"""How are rows shown in columns? Plain text that wraps nothing, for terminals and pipes alike."""

from __future__ import annotations

from collections.abc import Sequence

import typer

GAP = "  "


def show_columns(header: Sequence[str], rows: Sequence[Sequence[object]], *, indent: str = "") -> None:
    """Print rows below a header, each column as wide as its widest cell; what is None is shown as "-"."""
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    typer.secho(indent + _line(header, widths), dim=True)
    for row in cells:
        typer.echo(indent + _line(row, widths))


def one_line(text: str, most: int = 160) -> str:
    """Text as one line of at most so many characters, with nothing in it that moves a cursor."""
    line = "".join(character if character.isprintable() else " " for character in text).strip()
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _text(value: object) -> str:
    return "-" if value is None or value == "" else one_line(str(value))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
