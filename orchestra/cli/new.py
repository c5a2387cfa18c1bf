"""How does a new service begin? ``orchestra new --pattern saga my-service`` writes one that runs, with its test."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orchestra.errors import DefinitionError

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_FILES = Path(__file__).parent / "scaffold"


class Pattern(StrEnum):
    """What kind of process it is; docs/how-to/choose-a-pattern.md helps to choose."""

    SEQUENTIAL = "sequential"
    PARALLEL = "parallel"
    SAGA = "saga"
    STATE_MACHINE = "state-machine"
    EVENT_DRIVEN = "event-driven"


_WHAT = {
    Pattern.SEQUENTIAL: "A sequential flow: it halts at a step that fails, and an operator retries that.",
    Pattern.PARALLEL: "A flow of parallel checks: the first that fails ends it.",
    Pattern.SAGA: "A saga: all or nothing. When a step fails, what was done is undone.",
    Pattern.STATE_MACHINE: "A state machine: events and time move it from state to state.",
    Pattern.EVENT_DRIVEN: "Choreography: services that react to events and know nothing of each other. No flow.",
}


def new(
    name: Annotated[str, typer.Argument(help="Of the service, and of its folder: my-service.", metavar="NAME")],
    pattern: Annotated[Pattern, typer.Option("--pattern", "-p", help="What kind of process.")] = Pattern.SAGA,
    into: Annotated[Path, typer.Option("--into", help="Where the folder is made.", file_okay=False)] = Path(),
) -> None:
    """Write a service that runs, with its test.

    A folder NAME with messages, flow, handlers, app, test and a README. Nothing is overwritten.
    """
    if not _NAME.fullmatch(name) or len(name) > 60:
        raise DefinitionError(f"{name!r}: use lower-case letters, digits and '-', such as my-service")
    folder, package = into / name, name.replace("-", "_")
    if folder.exists():
        raise DefinitionError(f"{folder} exists; choose another name, or another place with --into")
    (folder / package).mkdir(parents=True)
    files = {"README.md": _FILES / "README.md.txt"}
    for template in sorted((_FILES / pattern).iterdir()):
        file = template.name.removesuffix(".txt")
        files[file if file.startswith("test_") else f"{package}/{file}"] = template
    for file, template in files.items():
        text = template.read_text(encoding="utf-8").format(name=name, package=package, what=_WHAT[pattern])
        (folder / file).write_text(_for(pattern, text), encoding="utf-8")
    (folder / package / "__init__.py").write_text("", encoding="utf-8")
    typer.echo(f"{folder}: {_WHAT[pattern]}")
    for file in files:
        typer.echo(f"  {folder / file}")
    typer.echo(f"\nNext: cd {folder} && python -m pytest, then README.md")


def _for(pattern: Pattern, text: str) -> str:
    """Choreography has no flow to show."""
    if pattern is not Pattern.EVENT_DRIVEN:
        return text
    left_out = ("orchestra instances", ".flow:Order", "# where it stands")
    lines = [line for line in text.splitlines() if not any(part in line for part in left_out)]
    return "\n".join(lines).replace("`flow.py` what follows what, ", "") + "\n"
