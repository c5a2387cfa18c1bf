"""What does a flow, an instance or a whole system look like? ``orchestra graph``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestra.errors import DefinitionError, OrchestraError

if TYPE_CHECKING:
    from orchestra.cli.discovery import Found
    from orchestra.coordinator.coordinator import Coordinator
    from orchestra.coordinator.instances import Details
    from orchestra.flows.decision import Definition
    from orchestra.flows.picture import Picture
    from orchestra.landscape.finding import Finding


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
    targets: Annotated[
        list[str],
        typer.Argument(
            help="A flow: module:Name. Or a whole system: folders, packages, Apps, Services, Coordinators.",
            metavar="MODULE:FLOW | FOLDER...",
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Write a file; its ending says the format. In .md: a fenced block.", dir_okay=False),
    ] = None,
    format: Annotated[  # noqa: A002
        Format | None, typer.Option("--format", help="Default: as the file's name ends, else mermaid.")
    ] = None,
    instance: Annotated[
        str | None, typer.Option(help="Draw how far this instance is: its id, or its business key.", metavar="ID")
    ] = None,
    outside: Annotated[
        list[str] | None,
        typer.Option(help="Types (with *) that others send or react to: no finding of a system.", metavar="PATTERN"),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 where a system has findings.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: the findings of a system.")] = False,
) -> None:
    """Draw a flow, how far an instance of it is, or who publishes and who reacts in a whole system.

    Of a system it also finds what is wrong: events nobody reacts to, commands nobody handles or sends, and circles in
    which handlers set each other off for ever.
    """
    if instance is not None:
        write(_picture_of_instance(targets, instance), to, format)
    elif (definition := _flow_of(targets)) is not None:
        from orchestra.flows.flow_picture import draw

        write(draw(definition), to, format)
    else:
        _system(targets, outside or (), to, format, as_json=as_json, strict=strict)


# ---- a flow, and an instance


def _flow_of(targets: Sequence[str]) -> Definition | None:
    """The flow, if the one target is a flow's class, or a module in which there is nothing else."""
    from orchestra.cli.discovery import discover_flow

    return discover_flow(targets[0]) if len(targets) == 1 else None


def _picture_of_instance(targets: Sequence[str], given: str) -> Picture:
    from orchestra.cli.instances import instance_id_of
    from orchestra.flows.flow_picture import draw
    from orchestra.flows.instance_picture import marked

    coordinator = _coordinator_of(targets)
    wanted = instance_id_of(coordinator, given)
    details = asyncio.run(_details(coordinator, wanted))
    if details is None:
        raise OrchestraError(f"there is no instance {wanted!r} of coordinator {coordinator.name!r}, or none any more")
    definition = coordinator.flows.find(wanted.partition("/")[0], details.version)
    if definition is None:
        raise OrchestraError(
            f"{wanted!r} runs version {details.version} of its flow, which is not here: name a program that has it"
        )
    return marked(draw(definition), details.steps, instance=wanted, status=details.summary.status)


async def _details(coordinator: Coordinator, wanted: str) -> Details | None:
    from orchestra.cli.cluster import connected, settings_from_environment
    from orchestra.coordinator.instances import find_instance
    from orchestra.coordinator.names import Names

    settings = settings_from_environment()
    async with connected(settings) as transport:
        return await find_instance(transport, Names.of(coordinator.name, settings), coordinator.flows, wanted)


def _coordinator_of(targets: Sequence[str]) -> Coordinator:
    """The coordinator that the targets hold; of a flow, the one in its package that advances it."""
    from orchestra.cli.discovery import discover

    definition = _flow_of(targets)
    if definition is None:
        found, name = discover(targets), None
    else:
        package = targets[0].partition(":")[0].rpartition(".")[0]
        found, name = discover([package] if package else targets), definition.name
    fitting = [one for one in found.coordinators if name is None or name in {each.name for each in one.definitions}]
    if len(fitting) != 1:
        have = ", ".join(one.name for one in fitting) or "none"
        raise DefinitionError(
            f"--instance needs the one coordinator that advances it, and found {have}; name it, or an App with it, as "
            "module:name"
        )
    return fitting[0]


# ---- a system


def _system(
    targets: Sequence[str],
    outside: Sequence[str],
    to: Path | None,
    format: Format | None,  # noqa: A002
    *,
    as_json: bool,
    strict: bool,
) -> None:
    from orchestra.cli.discovery import discover
    from orchestra.landscape.finding import find
    from orchestra.landscape.map import map_of
    from orchestra.landscape.survey import survey

    found = discover(targets)
    landscape = survey(found.services, found.definitions)
    findings = find(landscape, outside=outside)
    if not as_json or to is not None:
        write(map_of(landscape, findings, title=" ".join(targets)), to, format, is_told=not as_json)
    if as_json:
        typer.echo(json.dumps(_plain(found, findings), indent=2))
    else:
        _tell(findings, is_aside=to is None)
    if strict and findings:
        raise typer.Exit(1)


def _plain(found: Found, findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "services": sorted(service.name for service in found.services),
        "flows": sorted({definition.name for definition in found.definitions}),
        "findings": [asdict(finding) for finding in findings],
    }


def _tell(findings: Sequence[Finding], *, is_aside: bool) -> None:
    """``is_aside``: the picture itself goes to stdout."""
    for finding in findings:
        typer.secho(f"{finding.kind}: {finding.text}", fg="yellow", err=is_aside)
    typer.echo("1 finding" if len(findings) == 1 else f"{len(findings)} findings", err=is_aside)


# ---- writing


def write(picture: Picture, to: Path | None, format: Format | None, *, is_told: bool = True) -> None:  # noqa: A002
    """Show the picture, or write the file."""
    text = _rendered(picture, format or _format_of(to))
    if to is None:
        typer.echo(text, nl=False)
        return
    to.write_text(f"```mermaid\n{text}```\n" if to.suffix == ".md" else text, encoding="utf-8")
    if is_told:
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
