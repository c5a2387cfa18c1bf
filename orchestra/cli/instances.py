"""Where do the instances of a coordinator stand? ``orchestra instances list``, ``show``."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeGuard

import typer

from orchestra.cli.cluster import connected, settings_from_environment
from orchestra.cli.columns import one_line, show_columns
from orchestra.errors import DefinitionError, OrchestraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestra.coordinator.coordinator import Coordinator
    from orchestra.coordinator.instances import Details, HistoryLine, Summary
    from orchestra.flows.decision import StepView

app = typer.Typer(help="Where the instances of a coordinator stand.", no_args_is_help=True, rich_markup_mode=None)

Target = Annotated[str, typer.Argument(help="A Coordinator, or an App with one: module:name.", metavar="MODULE:NAME")]

_COLOURS = {
    "running": "cyan", "queued": "cyan", "compensating": "yellow", "completed": "green", "compensated": "green",
    "early": "cyan", "parked": "red", "stuck": "red", "halted": "red",
}  # fmt: skip


@app.command("list")
def list_(
    target: Target,
    live: Annotated[bool, typer.Option("--live", help="Only those that have not ended.")] = False,
    status: Annotated[str | None, typer.Option(help="Only those: running, stuck, parked, ...")] = None,
    flow: Annotated[str | None, typer.Option(help="Only those of this flow.")] = None,
    most: Annotated[int, typer.Option("--limit", min=0, help="The most recently changed so many; 0: all.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: a list of all of them.")] = False,
) -> None:
    """List instances and count them by status.

    The most recently changed are shown last.
    """
    from orchestra.coordinator.instances import list_instances
    from orchestra.coordinator.names import Names

    coordinator, settings = load_coordinator(target), settings_from_environment()

    async def collect() -> list[Summary]:
        async with connected(settings) as transport:
            return await list_instances(transport, Names.of(coordinator.name, settings))

    found = [one for one in asyncio.run(collect()) if _is_wanted(one, live, status, flow)]
    if as_json:
        typer.echo(json.dumps([_plain_summary(one) for one in found], indent=2, default=str))
    else:
        _show_list(found, most)


@app.command()
def show(
    target: Target,
    instance: Annotated[
        str, typer.Argument(help="Its id, or its business key where the coordinator has one flow.", metavar="INSTANCE")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one object.")] = False,
) -> None:
    """Show one instance.

    Its steps with times and outcomes, what it waits for, its history. Exit code 1 if there is none.
    """
    from orchestra.coordinator.instances import find_instance, read_history
    from orchestra.coordinator.names import Names

    coordinator, settings = load_coordinator(target), settings_from_environment()
    wanted = instance_id_of(coordinator, instance)

    async def look() -> tuple[Details | None, list[HistoryLine]]:
        async with connected(settings) as transport:
            names = Names.of(coordinator.name, settings)
            details = await find_instance(transport, names, coordinator.flows, wanted)
            return details, await read_history(transport, names, wanted)

    details, history = asyncio.run(look())
    if details is None and not history:
        raise OrchestraError(
            f"there is no instance {wanted!r}; `orchestra instances list {target}` shows which there are"
        )
    if as_json:
        plain = {
            **(_plain_details(details) if details else {"id": wanted}),
            "history": [asdict(line) for line in history],
        }
        typer.echo(json.dumps(plain, indent=2, default=_iso))
    else:
        _show_details(details, wanted)
        _show_history(history)


@app.command()
def history(
    target: Target,
    instance: Annotated[
        str | None, typer.Argument(help="Only this one: its id, or its business key.", metavar="[INSTANCE]")
    ] = None,
) -> None:
    """Write what the journal holds, one entry a line, as JSON.

    Each has the inputs as they came, and what they did: `orchestra check --histories` runs them through a new version.
    """
    from orchestra.coordinator.instances import read_journal
    from orchestra.coordinator.names import Names

    coordinator, settings = load_coordinator(target), settings_from_environment()
    wanted = None if instance is None else instance_id_of(coordinator, instance)

    async def read() -> list[dict[str, object]]:
        async with connected(settings) as transport:
            return await read_journal(transport, Names.of(coordinator.name, settings), wanted)

    for entry in asyncio.run(read()):
        typer.echo(json.dumps(entry))


def load_coordinator(target: str) -> Coordinator:
    from orchestra.app import App
    from orchestra.cli.target import load
    from orchestra.coordinator.coordinator import Coordinator

    def has_one(value: object) -> TypeGuard[App | Coordinator]:
        return isinstance(value, (App, Coordinator))

    found = load(target, has_one, "a Coordinator, or an App with one")
    if isinstance(found, Coordinator):
        return found
    if len(found.coordinators) != 1:
        names = ", ".join(coordinator.name for coordinator in found.coordinators) or "none"
        raise DefinitionError(f"{target} has not one coordinator but these: {names}; name the one that is meant")
    return found.coordinators[0]


def instance_id_of(coordinator: Coordinator, given: str) -> str:
    from orchestra.flows.decision import instance_id

    flows = {definition.name for definition in coordinator.definitions}
    if given.partition("/")[0] in flows:
        return given
    if len(flows) > 1:
        raise DefinitionError(f"{given!r}: write <flow>/<key>, where flow is one of {', '.join(sorted(flows))}")
    return instance_id(flows.pop(), given)


def _is_wanted(one: Summary, live: bool, status: str | None, flow: str | None) -> bool:
    return (
        (one.is_live or not live)
        and status in (None, one.status)
        and (flow is None or one.id.partition("/")[0] == flow)
    )


# ---- for machines


def _plain_summary(one: Summary) -> dict[str, object]:
    return {
        "id": one.id,
        "flow": one.flow,
        "status": one.status,
        "changed": one.changed.isoformat(),
        "due": one.due and one.due.isoformat(),
        "shard": one.shard,
    }


def _plain_details(details: Details) -> dict[str, object]:
    plain = asdict(details)
    del plain["summary"]
    return {**_plain_summary(details.summary), **plain}


def _iso(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


# ---- for people


def _show_list(found: Sequence[Summary], most: int) -> None:
    shown = found[-most:] if most else found
    if shown:
        rows = [(one.id, one.status, _when(one.changed), one.due and _when(one.due), one.shard) for one in shown]
        show_columns(("instance", "status", "changed", "next timer", "shard"), rows, colours=_COLOURS)
        typer.echo("")
    counts = Counter(one.status for one in found)
    told = ", ".join(f"{count} {_painted(status)}" for status, count in counts.most_common())
    cut = f" (the newest {len(shown)} are shown)" if len(shown) < len(found) else ""
    typer.echo(f"{len(found)} instances{': ' if told else ''}{told}{cut}")


def _show_details(details: Details | None, wanted: str) -> None:
    if details is None:
        typer.echo(
            f"{typer.style(wanted, bold=True)}  has ended, and is not remembered any more; the journal still is:"
        )
        return
    one = details.summary
    typer.echo(f"{typer.style(one.id, bold=True)}  {_painted(one.status)}")
    typer.echo(f"  flow       {one.flow or 'unknown to every process so far'}, run {details.run}, shard {one.shard}")
    typer.echo(f"  started    {_when(details.begun)}")
    if details.finished:
        took = (details.finished - details.begun).total_seconds()
        typer.echo(f"  ended      {_when(details.finished)}, after {_seconds(took)}")
    for number, line in enumerate(details.waits_for):
        typer.echo(f"  {'waits for' if number == 0 else '':<9}  {one_line(line, 400)}")
    if details.waiting:
        typer.echo(f"  inputs     {details.waiting} kept until then")
    if details.unsent:
        typer.echo(f"  messages   {details.unsent} decided and not known to be sent")
    typer.echo("")
    if details.steps:
        show_columns(
            ("step", "status", "kind", "started", "took", "tries", "outcome"), list(map(_step_row, details.steps))
        )
    elif details.finished is None:
        typer.echo(f"  {_why_no_steps(details)}")


def _why_no_steps(details: Details) -> str:
    """Why there are no steps to be seen."""
    if details.version is None:
        return "no process has seen its flow yet, so that its steps are not known"
    return f"this program does not have version {details.version} of the flow, so that its steps are not known here"


def _step_row(step: StepView) -> tuple[object, ...]:
    started = step.started_at and datetime.fromisoformat(step.started_at)
    ended = step.ended_at and datetime.fromisoformat(step.ended_at)
    took = _seconds((ended - started).total_seconds()) if started and ended else None
    outcome = " ".join(part for part in (step.outcome, step.note) if part)
    return (step.name, step.status, step.kind, started and _clock(started), took, step.attempts or None, outcome)


def _show_history(history: Sequence[HistoryLine]) -> None:
    if not history:
        return
    typer.echo("")
    begun = history[0].at
    rows = [
        (_clock(line.at), f"+{(line.at - begun).total_seconds():.3f}", line.what, line.step, line.attempt, line.note)
        for line in history
    ]
    show_columns(("at", "s", "what", "step", "try", "note"), rows)


def _painted(status: str) -> str:
    return typer.style(status, fg=_COLOURS.get(status))


def _when(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone():%H:%M:%S.%f}"[:-3]


def _seconds(seconds: float) -> str:
    return (
        f"{seconds:.3f} s"
        if seconds < 100
        else f"{seconds / 60:.1f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )
