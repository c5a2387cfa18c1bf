"""Which versions of which flows are there, who is under way on them, and what has changed? ``orchestra flows``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestra.cli.cluster import connected, settings_from_environment
from orchestra.cli.columns import show_columns
from orchestra.cli.instances import load_coordinator
from orchestra.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestra.coordinator.coordinator import Coordinator
    from orchestra.coordinator.versions import Known, VersionCount
    from orchestra.flows.decision import Definition
    from orchestra.flows.difference import Difference

app = typer.Typer(help="Versions of flows, and what has changed.", no_args_is_help=True, rich_markup_mode=None)

_ALWAYS = ("running", "queued", "parked", "stuck")
"""Columns that are shown though all are 0."""


@app.command("list")
def list_(
    target: Annotated[
        str, typer.Argument(help="A Coordinator, or an App with one: module:name.", metavar="MODULE:NAME")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For machines: a list of all versions.")] = False,
) -> None:
    """List the versions of each flow, those that this program has and those that ran before.

    With the instances of each, and what to do about those that wait for a version which is not here.
    """
    from orchestra.coordinator.instances import list_versions
    from orchestra.coordinator.names import Names

    coordinator, settings = load_coordinator(target), settings_from_environment()

    async def collect() -> tuple[list[VersionCount], Known]:
        async with connected(settings) as transport:
            return await list_versions(transport, Names.of(coordinator.name, settings))

    counts, known = asyncio.run(collect())
    rows = _rows(coordinator, counts, known)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _show(rows, coordinator)


@app.command()
def diff(
    targets: Annotated[
        list[str],
        typer.Argument(
            help="Two flows, module:FlowV1 module:Flow; or a Coordinator or App with both, and two versions: "
            "module:app 1 2, or module:app order/1 order/2.",
            metavar="OLD NEW | MODULE:NAME OLD NEW",
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Draw it in a file; its ending says the format, as for graph.", dir_okay=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one object.")] = False,
) -> None:
    """Say what has changed between two versions of a flow, and whether running instances could follow.

    Timeouts, retries and the code of methods are no change: they may be altered under the same version.
    """
    from orchestra.flows.difference import differences, obstacles

    old, new = _two(targets)
    changes, reasons = differences(old.parts, new.parts), obstacles(old.parts, new.parts)
    if as_json:
        typer.echo(json.dumps(_plain(old, new, changes, reasons), indent=2))
    else:
        _tell(old, new, changes, reasons)
    if to is not None:
        _draw(old, new, changes, to)


# ---- list


def _rows(coordinator: Coordinator, counts: Sequence[VersionCount], known: Known) -> list[dict[str, object]]:
    """Every version that is here, that ran, or that an instance is on."""
    here = {(one.name, one.version): one.digest for one in coordinator.definitions}
    found = {(one.flow, one.version): dict(one.counts) for one in counts}
    ran = {(name.rpartition("/")[0], int(name.rpartition("/")[2])): one["digest"] for name, one in known.items()}
    return [
        {
            "flow": flow,
            "version": version,
            "digest": here.get((flow, version or 0)) or ran.get((flow, version or 0)),
            "deployed": (flow, version) in here,
            "taken_over_by": newer.version if (newer := coordinator.flows.successor(flow, version)) else None,
            "instances": found.get((flow, version), {}),
        }
        for flow, version in sorted({*here, *ran, *found}, key=lambda one: (one[0], one[1] or 0))
    ]


def _show(rows: Sequence[dict[str, object]], coordinator: Coordinator) -> None:
    if not rows:
        typer.echo("no flows")
        return
    statuses = list(dict.fromkeys([*_ALWAYS, *(status for row in rows for status in _instances(row))]))
    header = ("flow", "version", "digest", "here", *statuses)
    table = [
        (
            row["flow"],
            row["version"] or "?",
            str(row["digest"] or "")[:12],
            "yes" if row["deployed"] else "no",
            *(_instances(row).get(status, 0) for status in statuses),
        )
        for row in rows
    ]
    show_columns(header, table)
    for row in rows:
        if advice := _advice(row, coordinator):
            typer.echo(f"\n{advice}")


def _instances(row: dict[str, object]) -> dict[str, int]:
    found = row["instances"]
    assert isinstance(found, dict)
    return found


def _advice(row: dict[str, object], coordinator: Coordinator) -> str | None:
    """What to do about instances whose version is not here, or about a version that nobody is on any more."""
    from orchestra.flows.decision import Status

    final = {str(status) for status in Status if status.is_final}
    live = sum(count for status, count in _instances(row).items() if status not in final)
    name = f"{row['flow']} version {row['version']}"
    newest = coordinator.flows.newest(str(row["flow"]))
    if live and not row["deployed"]:
        who = "1 instance waits" if live == 1 else f"{live} instances wait"
        return (
            f"{who} for {name}, which this program does not have. Nothing is lost: inputs are kept until then. Deploy "
            f"the old class again beside the newer one, or let that take them over (migrates=...)."
        )
    if row["deployed"] and not live and newest is not None and newest.version != row["version"]:
        return f"No instance is under way on {name}: its class can go."
    return None


# ---- diff


def _two(targets: Sequence[str]) -> tuple[Definition, Definition]:
    match targets:
        case [old, new]:
            return _definition(old), _definition(new)
        case [target, old, new]:
            return _version_of(target, old), _version_of(target, new)
        case _:
            raise DefinitionError(
                "name two flows, such as services.shop.flow:OrderV1 services.shop.flow:Order; or an app and two "
                "versions, such as services.shop.app:app 1 2"
            )


def _definition(target: str) -> Definition:
    from orchestra.cli.discovery import discover_flow

    if (found := discover_flow(target)) is None:
        raise DefinitionError(f"{target} is no flow: name its class, as module:Flow")
    return found


def _version_of(target: str, wanted: str) -> Definition:
    coordinator = load_coordinator(target)
    flow, _, version = wanted.rpartition("/")
    names = {flow} if flow else {one.name for one in coordinator.definitions}
    found = [one for one in coordinator.definitions if one.name in names and str(one.version) == version]
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{one.name}/{one.version}" for one in coordinator.definitions)
    raise DefinitionError(f"{wanted!r} is not one version of a flow in {target}; there is: {there}")


def _tell(old: Definition, new: Definition, changes: Sequence[Difference], reasons: Sequence[str]) -> None:
    from orchestra.flows.decision import Migrating

    typer.secho(f"{old.name} version {old.version} -> {new.name} version {new.version}", bold=True)
    if not changes:
        typer.echo("  nothing has changed that running instances rely on")
        return
    for change in changes:
        typer.secho(f"  {change}", fg=_COLOURS[change.how])
    typer.echo("")
    if reasons:
        typer.echo(f"Running instances could not follow. They end on version {old.version}, which stays deployed:")
        for reason in reasons:
            typer.echo(f"  {reason}")
    elif not isinstance(new, Migrating):
        typer.echo(
            f"Instances of a state machine end on the version that they began with: {old.version} stays deployed."
        )
    else:
        typer.echo(
            f"Running instances could follow, all but those that are being undone: add migrates=(...,) with the class "
            f"of version {old.version}. Without it they end on version {old.version}, which stays deployed."
        )


_COLOURS = {"added": "green", "removed": "red", "changed": "yellow"}


def _plain(
    old: Definition, new: Definition, changes: Sequence[Difference], reasons: Sequence[str]
) -> dict[str, object]:
    return {
        "old": {"flow": old.name, "version": old.version, "digest": old.digest},
        "new": {"flow": new.name, "version": new.version, "digest": new.digest},
        "changes": [{"part": one.part, "how": one.how, "words": list(one.words)} for one in changes],
        "could_follow": not reasons,
        "obstacles": list(reasons),
    }


def _draw(old: Definition, new: Definition, changes: Sequence[Difference], to: Path) -> None:
    from orchestra.cli.graph import write
    from orchestra.flows.difference_picture import picture_of_difference
    from orchestra.flows.flow_picture import draw

    write(picture_of_difference(draw(old), draw(new), changes), to, None)
