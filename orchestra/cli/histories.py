"""Would a version decide as the recorded one did? ``orchestra check module:Flow --histories FILE``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from orchestra.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from orchestra.flows.decision import Definition
    from orchestra.flows.histories import Compared

_NAMED = 5
"""Instances that are named for each kind of divergence; ``--json`` has all."""


def check_histories(definitions: Iterable[Definition], file: Path, *, as_json: bool) -> None:
    """Run the histories in a file through the newest version of their flow. Exit code 1 where one goes another way.

    Raises:
        DefinitionError: the file is not there, or none of its flows is among these.
        DecodeError: it holds what is no journal.
    """
    newest = {one.name: one for one in sorted(definitions, key=lambda each: each.version)}
    found = _compared(newest, file)
    if as_json:
        typer.echo(json.dumps([asdict(one) for each in found.values() for one in each], indent=2, default=str))
    else:
        for flow, compared in found.items():
            _show(newest[flow], compared)
    if any(one.divergence for each in found.values() for one in each):
        raise typer.Exit(1)


def _compared(newest: Mapping[str, Definition], file: Path) -> dict[str, list[Compared]]:
    from orchestra.flows.histories import compare, read_histories

    try:
        histories = read_histories(file.read_text(encoding="utf-8").splitlines())
    except OSError as error:
        raise DefinitionError(f"--histories {file}: {error.strerror}") from None
    found: dict[str, list[Compared]] = {}
    for history in histories:
        if history.flow in newest:
            found.setdefault(history.flow, []).append(compare(history, newest[history.flow]))
    if not found:
        flows = ", ".join(sorted({history.flow for history in histories})) or "none at all"
        raise DefinitionError(f"--histories {file}: it holds histories of {flows}, and not of {', '.join(newest)}")
    return found


def _show(definition: Definition, compared: Sequence[Compared]) -> None:
    diverged = [one for one in compared if one.divergence is not None]
    skipped = [one for one in compared if one.skipped is not None]
    same = len(compared) - len(diverged) - len(skipped)
    mark = typer.style("✗", fg="red") if diverged else typer.style("✓", fg="green")
    inputs = sum(one.inputs for one in compared)
    typer.echo(
        f"{mark} {definition.name} version {definition.version}: {same} of {len(compared)} histories are decided as "
        f"they were ({inputs:,} inputs)"
    )
    for words, instances in _grouped(diverged).items():
        typer.echo(f"  {len(instances)} × {words}\n      {_named(instances)}")
    for one in skipped:
        typer.echo(f"  {typer.style('!', fg='yellow')} {one.instance}: {one.skipped}")


def _grouped(diverged: Sequence[Compared]) -> dict[str, list[str]]:
    """Instances by where they first went another way, the most frequent first."""
    groups: dict[str, list[str]] = {}
    for one in diverged:
        assert one.divergence is not None
        groups.setdefault(f"on {one.divergence.given}: {one.divergence.words}", []).append(one.instance)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def _named(instances: Sequence[str]) -> str:
    more = f" and {len(instances) - _NAMED} more" if len(instances) > _NAMED else ""
    return f"{', '.join(instances[:_NAMED])}{more}"
