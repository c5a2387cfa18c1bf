"""How does an operator act on instances? ``orchestra instances retry``, and its neighbours."""

from __future__ import annotations

import asyncio
import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from orchestra.cli.cluster import connected, settings_from_environment
from orchestra.cli.columns import one_line
from orchestra.cli.instances import Target, instance_id_of, load_coordinator
from orchestra.errors import InstanceUnknownError

if TYPE_CHECKING:
    from orchestra.coordinator.coordinator import Coordinator
    from orchestra.coordinator.request import Answer
    from orchestra.flows.decision import OperatorAction, OperatorRequest

_WAIT_SECONDS = 10.0

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
    coordinator = load_coordinator(target)
    instances = [instance_id_of(coordinator, one) for one in given]
    put(coordinator, instances, request_of(action, reason, by, step), target)


def request_of(
    action: OperatorAction, reason: str, by: str | None, step: str | None, roles: tuple[str, ...] = ()
) -> OperatorRequest:
    """What the operator asks for."""
    from orchestra.flows.decision import OperatorRequest

    return OperatorRequest(action, by=by or getpass.getuser(), reason=reason, step=step, roles=roles)


def put(coordinator: Coordinator, instances: list[str], request: OperatorRequest, target: str) -> None:
    """Ask the instances, and tell what came of it. Raises OrchestraError when not all of them did it."""
    from orchestra.clock import SystemClock
    from orchestra.coordinator.names import Names
    from orchestra.coordinator.request import ask_instances
    from orchestra.coordinator.state_reader import StateReader

    settings = settings_from_environment()
    names = Names.of(coordinator.name, settings)

    async def ask() -> dict[str, Answer | None]:
        async with connected(settings) as transport:
            reader = StateReader(transport, names)
            for one in instances:
                if await reader.newest(one) is None:
                    raise InstanceUnknownError(
                        f"there is no instance {one!r}; `orchestra instances list {target}` shows which there are",
                        instance=one,
                    )
            publisher = transport.publisher()
            await publisher.start()
            try:
                return await ask_instances(
                    transport,
                    publisher,
                    names,
                    coordinator.partitions,
                    dict.fromkeys(instances, request),
                    source="/cli/instances",
                    now=SystemClock().now(),
                    seconds=_WAIT_SECONDS,
                )
            finally:
                await publisher.aclose()

    answers = asyncio.run(ask())
    for instance, answer in answers.items():
        typer.echo(told(instance, request.action, answer))
    if any(answer is None or answer.outcome == "refused" for answer in answers.values()):
        raise typer.Exit(1)


def told(instance: str, action: str, answer: Answer | None) -> str:
    """What came of a request, in a line."""
    if answer is None:
        return f"{instance}: {action} is stored, and no coordinator has taken it within {_WAIT_SECONDS:g} s; one will"
    words = {"done": f"{action}: done", "refused": "refused", "waits": f"{action} waits, the instance is"}
    text = f"{instance}: {words[answer.outcome]}"
    if answer.outcome == "waits":
        return f"{text} {answer.note}"
    return f"{text}; the instance is {answer.status}. {one_line(answer.note, 400)}"
