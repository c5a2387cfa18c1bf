"""How are rows shown in columns? Plain text that wraps nothing, for terminals and pipes alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer

GAP = "  "


def show_columns(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, colours: Mapping[str, str] | None = None
) -> None:
    """Print rows below a header, each column as wide as its widest cell; what is None is left blank.

    ``colours``: of cells that hold just that text; terminals only.
    """
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    typer.secho(_line(header, widths, {}), dim=True)
    for row in cells:
        typer.echo(_line(row, widths, colours or {}))


def one_line(text: str, most: int = 160) -> str:
    """Text as one line of at most so many characters, with nothing in it that moves a cursor."""
    line = "".join(character if character.isprintable() else " " for character in text).strip()
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _text(value: object) -> str:
    return "" if value is None else one_line(str(value))


def _line(cells: Sequence[str], widths: Sequence[int], colours: Mapping[str, str]) -> str:
    last = max((number for number, cell in enumerate(cells) if cell), default=0)
    padded = [
        f"{cell:<{width}}" if number < last else cell
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    painted = [
        typer.style(text, fg=colours[cell]) if cell in colours else text
        for cell, text in zip(cells, padded, strict=True)
    ]
    return GAP.join(painted[: last + 1])
