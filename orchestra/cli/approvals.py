"""Which decisions are waited for, and how does a person take one? ``orchestra approvals list|approve|reject``."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from orchestra.cli.cluster import connected, settings_from_environment
from orchestra.cli.columns import one_line, show_columns
from orchestra.cli.instances import Target, instance_id_of, load_coordinator
from orchestra.cli.operate import By, Instances, Why, put, request_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestra.coordinator.approvals import WaitingApproval

app = typer.Typer(help="Decisions that people have to take.", no_args_is_help=True, rich_markup_mode=None)

Roles = Annotated[
    list[str], typer.Option("--role", help="What you are: the role that is asked, as the list shows it. Repeatable.")
]
Step = Annotated[str | None, typer.Option("--step", help="Which decision, where the instance waits for several.")]


@app.command("list")
def list_(
    target: Target,
    role: Annotated[str | None, typer.Option(help="Only what this role may decide.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: a list of all of them.")] = False,
) -> None:
    """List the decisions that instances wait for, the oldest first.

    Who may take each, since when it waits and until when, and what it is about: the event that started the instance.
    """
    from orchestra.coordinator.approvals import list_approvals
    from orchestra.coordinator.names import Names

    coordinator, settings = load_coordinator(target), settings_from_environment()

    async def collect() -> list[WaitingApproval]:
        async with connected(settings) as transport:
            return await list_approvals(transport, Names.of(coordinator.name, settings), coordinator.flows)

    found = [one for one in asyncio.run(collect()) if role is None or role in one.roles]
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=2, default=str))
    else:
        show(found)


@app.command()
def approve(target: Target, instances: Instances, reason: Why, roles: Roles, step: Step = None, by: By = None) -> None:
    """Say yes. The first decision counts; who, when and why are kept in the journal."""
    coordinator = load_coordinator(target)
    request = request_of("approve", reason, by, step, tuple(roles))
    put(coordinator, [instance_id_of(coordinator, one) for one in instances], request, target)


@app.command()
def reject(target: Target, instances: Instances, reason: Why, roles: Roles, step: Step = None, by: By = None) -> None:
    """Say no. The first decision counts; who, when and why are kept in the journal."""
    coordinator = load_coordinator(target)
    request = request_of("reject", reason, by, step, tuple(roles))
    put(coordinator, [instance_id_of(coordinator, one) for one in instances], request, target)


def show(found: Sequence[WaitingApproval]) -> None:
    """The list for a person."""
    if not found:
        typer.echo("nothing waits for a decision")
        return
    rows = [
        (
            one.instance,
            one.step,
            " or ".join(one.roles),
            f"{one.since.astimezone():%Y-%m-%d %H:%M:%S}",
            "for ever" if one.until is None else f"{one.until.astimezone():%Y-%m-%d %H:%M:%S}",
            f"{'(parked) ' if one.is_parked else ''}{one_line(one.about, 80)}",
        )
        for one in found
    ]
    show_columns(("instance", "decision", "role", "since", "until", "about"), rows)
