"""How does an operator act on instances? ``orchestra instances retry``, and its neighbours."""

from __future__ import annotations

import asyncio
import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from orchestra.cli.cluster import connected, settings_from_environment
from orchestra.cli.instances import Target, instance_id_of, load_coordinator

if TYPE_CHECKING:
    from orchestra.flows.decision import OperatorAction

Instances = Annotated[
    list[str],
    typer.Argument(help="Ids, or business keys where the coordinator has one flow.", metavar="INSTANCE..."),
]
Instance = Annotated[str, typer.Argument(help="Its id, or its business key.", metavar="INSTANCE")]
Why = Annotated[str, typer.Option("--reason", help="Why: it is kept in the journal.")]
By = Annotated[str | None, typer.Option("--by", help="Who asks. Default: this machine's user.")]
OfStep = Annotated[str, typer.Option("--step", help="Which step.")]
MaybeStep = Annotated[str | None, typer.Option("--step", help="Which step. Default: all that wait for an operator.")]


def retry(target: Target, instances: Instances, reason: Why, step: MaybeStep = None, by: By = None) -> None:
    """Go on from the failed step of a halted flow, or with a compensation that is stuck."""
    _ask(target, instances, "retry", reason, by, step)


def restart(target: Target, instances: Instances, reason: Why, by: By = None) -> None:
    """Begin a halted flow anew from its start event, as another run."""
    _ask(target, instances, "restart", reason, by)


def cancel(target: Target, instances: Instances, reason: Why, by: By = None) -> None:
    """Stop instances under way, and undo what they did."""
    _ask(target, instances, "cancel", reason, by)


def skip(target: Target, instance: Instance, reason: Why, step: OfStep, by: By = None) -> None:
    """Go on without a compensation that is stuck: what it should undo stays."""
    _ask(target, [instance], "skip", reason, by, step)


def resolve(target: Target, instance: Instance, reason: Why, step: OfStep, by: By = None) -> None:
    """Say that a compensation that is stuck was done by hand."""
    _ask(target, [instance], "resolve", reason, by, step)


def _ask(
    target: str, given: list[str], action: OperatorAction, reason: str, by: str | None, step: str | None = None
) -> None:
    from orchestra.clock import SystemClock
    from orchestra.coordinator.names import Names
    from orchestra.coordinator.request import request_record
    from orchestra.flows.decision import OperatorRequest
    from orchestra.ids import new_id

    coordinator, settings = load_coordinator(target), settings_from_environment()
    instances = [instance_id_of(coordinator, one) for one in given]
    request = OperatorRequest(action, by=by or getpass.getuser(), reason=reason, step=step)
    names, now = Names.of(coordinator.name, settings), SystemClock().now()

    records = [
        request_record(names, coordinator.partitions, one, request, event_id=new_id(), now=now, source="/cli/instances")
        for one in instances
    ]

    async def send() -> None:
        async with connected(settings) as transport:
            publisher = transport.publisher()
            await publisher.start()
            try:
                await publisher.publish(records)
            finally:
                await publisher.aclose()

    asyncio.run(send())
    for one in instances:
        typer.echo(f"asked: {action} of {one}")
    typer.secho(f"what came of it: orchestra instances show {target} {instances[0]}", dim=True)
